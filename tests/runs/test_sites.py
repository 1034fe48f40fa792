"""A run with a drawn test part, sites and scanners: what its files, its model, its audit and its evaluation say."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from lrmil.cohorts.splits import read_splits
from lrmil.errors import FormatError
from lrmil.models.bundle import load_bundle
from lrmil.prediction.evaluation import evaluate_steps
from lrmil.reports.model_facts import model_facts
from lrmil.reports.run_report import write_report
from lrmil.runs.audit import audit_run
from lrmil.runs.changes import read_changes
from lrmil.runs.sites import read_sites
from lrmil.runs.train import train
from lrmil.slides.scanner import Scanner
from lrmil.steps import last
from support.runs import ON_CPU, TinyRun, tiny_config

pytestmark = pytest.mark.long

SITES = ("North Hospital", "South Hospital")
GT450 = {"make": "Aperio", "model": "GT450"}


def write_labels(labels: Path, out: Path, *, split: dict[str, str] | None = None, site: str = "") -> Path:
    """Write a table with sites, with the test part of `split` if there is one."""
    with labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [["slide_id", "case_id", "label", "site", *(["split"] if split else [])]]
    for n, row in enumerate(rows):
        own = site or SITES[n // 2 % 2]
        lines.append([row["slide_id"], row["case_id"], row["label"], own, *([split[row["slide_id"]]] if split else [])])
    with out.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return out


def state_scanner(shared: Path, scanner: dict[str, str]) -> None:
    """Let the features of a run state a scanner, as those of slides do that state one."""
    for path in shared.rglob("*.zarr/zarr.json"):
        document = json.loads(path.read_text())
        document["attributes"]["scanner"] = scanner
        path.write_text(json.dumps(document))


@pytest.fixture(scope="module")
def sited(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    """A finished run with a third of the cases as test part; its slides are of two sites and one scanner."""
    root = tmp_path_factory.mktemp("sited")
    shutil.copytree(tiny_run.folder / "shared", root / "run/shared")
    state_scanner(root / "run/shared", GT450)
    labels = write_labels(tiny_run.labels, root / "labels.csv")
    train(tiny_run.slides, labels, root / "run", tiny_config(test_fraction=0.34), device="cpu")
    return TinyRun(root / "run", tiny_run.slides, labels)


@pytest.fixture
def copied(sited: TinyRun, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sited.folder, tmp_path / "run"))


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_the_shipped_model_is_the_one_that_was_tested(sited: TinyRun) -> None:
    (fold,) = read_splits(sited.folder / "splits.csv")
    bundle = load_bundle(sited.folder / "model")
    assert len(fold.test) == 4 and bundle.training["slides"] == len(fold.train)
    assert "This very model was tested on 4 slides" in model_facts(bundle.card)["Tested"]
    assert "This very model was tested on 4 slides" in write_report(sited.folder).read_text()


def test_a_table_with_the_same_test_part_trains_the_same_model(sited: TinyRun, tmp_path: Path) -> None:
    (fold,) = read_splits(sited.folder / "splits.csv")
    parts = {slide_id: "test" if slide_id in fold.test else "train" for slide_id in fold.train + fold.val + fold.test}
    shutil.copytree(sited.folder / "shared", tmp_path / "run/shared")
    labels = write_labels(sited.labels, tmp_path / "labels.csv", split=parts)
    train(sited.slides, labels, tmp_path / "run", tiny_config(), device="cpu")
    for name in ("splits.csv", "predictions.csv", "model/mil.safetensors"):
        assert (tmp_path / "run" / name).read_bytes() == (sited.folder / name).read_bytes()
    ours, theirs = (json.loads((run / "metrics.json").read_text()) for run in (tmp_path / "run", sited.folder))
    assert ours["by_site"] == theirs["by_site"] and ours["evidence"] == theirs["evidence"]


def test_the_figures_by_site_cover_the_test_slides(sited: TinyRun) -> None:
    (fold,) = read_splits(sited.folder / "splits.csv")
    figures = json.loads((sited.folder / "metrics.json").read_text())
    found = figures["by_site"]["sites"]
    sites = read_sites(sited.folder)
    assert {one["site"]: one["n_slides"] for one in found} == {
        site: sum(sites[slide_id] == site for slide_id in fold.test) for site in {sites[one] for one in fold.test}
    }
    assert not figures["by_site"]["calibrated"]
    write_report(sited.folder)
    assert "By site" in (sited.folder / "report.html").read_text()
    assert json.loads((sited.folder / "report.json").read_text())["figures"]["by_site"] == figures["by_site"]


def test_the_model_keeps_hashes_of_sites_and_the_scanner_by_name(sited: TinyRun) -> None:
    text = (sited.folder / "model/bundle.json").read_text() + (sited.folder / "steps.jsonl").read_text()
    assert not any(site in text for site in SITES)
    origins = load_bundle(sited.folder / "model").origins
    assert origins is not None and origins.scanners == (Scanner("Aperio", "GT450"),)
    assert not any(map(origins.lacks_site, SITES)) and origins.lacks_site("West Hospital")


def test_an_audit_passes_and_finds_what_was_changed(sited: TinyRun, copied: Path) -> None:
    assert audit_run(sited.folder).findings == ()
    sites = json.loads((copied / "sites.json").read_text())["sites"]
    edit(copied / "sites.json", sites=dict.fromkeys(sites, "East"))
    said = [finding.message for finding in audit_run(copied).findings]
    assert any("by_site" in one for one in said) and any("other sites or scanners" in one for one in said)


def test_an_audit_finds_a_model_that_says_it_was_tested_otherwise(copied: Path) -> None:
    document = json.loads((copied / "model/bundle.json").read_text())
    document["training"]["tested"]["slides"] += 100
    (copied / "model/bundle.json").write_text(json.dumps(document))
    assert any("not tested as it says" in finding.message for finding in audit_run(copied).findings)


def test_the_same_call_changes_nothing_and_folds_are_drawn_when_it_is_turned_off(sited: TinyRun, copied: Path) -> None:
    before = (copied / "model/bundle.json").read_bytes()
    train(sited.slides, sited.labels, copied, tiny_config(test_fraction=0.34), device="cpu")
    assert (copied / "model/bundle.json").read_bytes() == before and not (copied / "earlier-1").exists()
    train(sited.slides, sited.labels, copied, tiny_config(folds=2, stage1__fit__steps=2), device="cpu")
    said = " ".join(sentence for entry in read_changes(copied) for sentence in entry["changes"])  # type: ignore[attr-defined]
    assert "test_fraction 0.34 -> 0.0" in said and "Folds are redrawn" in said
    assert len(read_splits(copied / "splits.csv")) == 3 and (copied / "earlier-1/model").is_dir()
    assert "2 sibling models" in model_facts(load_bundle(copied / "model").card)["Tested"]


def test_an_evaluation_has_the_figures_by_site_and_says_which_are_new(sited: TinyRun, tmp_path: Path) -> None:
    labels = write_labels(sited.labels, tmp_path / "labels.csv", site="West Hospital")
    bundle = load_bundle(sited.folder / "model")
    result = last(evaluate_steps(sited.slides, labels, bundle, tmp_path / "out", ON_CPU))
    assert result.by_site is not None and [one["site"] for one in result.by_site] == ["West Hospital"]
    assert result.by_site[0]["auroc"] == result.metrics["auroc"]
    assert result.unseen == ("12 of these 12 slides are of 1 site that no training slide is of.",)
    written = json.loads((tmp_path / "out/evaluation.json").read_text())
    assert written["by_site"] == result.by_site and written["unseen"] == list(result.unseen)


def test_damaged_sites_are_named(copied: Path) -> None:
    (copied / "sites.json").write_text('{"format": "lrmil.sites/1", "sites": {"a": 3}}')
    with pytest.raises(FormatError, match="sites"):
        read_sites(copied)


def test_runs_without_sites_have_no_such_file(tiny_run: TinyRun) -> None:
    assert read_sites(tiny_run.folder) == {} and not (tiny_run.folder / "sites.json").exists()
    assert "by_site" not in json.loads((tiny_run.folder / "metrics.json").read_text())
