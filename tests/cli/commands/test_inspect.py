"""`lrmil inspect`: facts of slides, and a bad one does not stop the others."""

import json
import shutil
from pathlib import Path

import pytest

from lrmil.slides.source import SlideSource
from support.cli import RunCli, stand_in, write_outline


def test_inspect(run_cli: RunCli, cmu: Path) -> None:
    code, out, _ = run_cli("inspect", cmu, "--json", "--at", "5x", "--patch-size", "128")
    (facts,) = json.loads(out)
    assert code == 0 and facts["status"] == "ok" and facts["path"] == str(cmu)
    assert (facts["width"], facts["height"], facts["mpp"]) == (2220, 2967, 0.499)
    assert facts["mpp_source"] == "aperio MPP" and facts["reader"] == "tifffile" and facts["tissue_mm2"] > 0.3
    assert facts["lr_patches"].endswith("of 128 px at 2 um/px") and int(facts["lr_patches"].split()[0]) > 5
    assert int(facts["hr_patches"].split()[0]) > 4 * int(facts["lr_patches"].split()[0])
    code, out, _ = run_cli("inspect", cmu)
    assert code == 0 and "mpp_source: aperio MPP" in out


def test_inspect_goes_on_after_bad_files(run_cli: RunCli, cmu: Path, shared: Path) -> None:
    broken = sorted((shared / "data/slides/errors").iterdir())
    code, out, err = run_cli("inspect", *broken, cmu, "--json")
    facts = {Path(facts["path"]).name: facts for facts in json.loads(out)}
    assert code == 1 and "3 of 4 failed" in err
    assert facts[cmu.name]["status"] == "ok" and len(facts) == 4
    for path in broken:
        failed = facts[path.name]
        assert (
            failed["status"] == "failed"
            and failed["reason"] in ("file", "resolution")
            and "\n" not in failed["message"]
        )


def test_every_option_arrives(run_cli: RunCli, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = stand_in(monkeypatch, "lrmil.patches.inspection.inspect_slide", {"mpp": 0.6})
    slide, mask = cohort / "slides/demo-001.ome.tif", write_outline(tmp_path / "masks", "demo-001")
    options = ["--at", "8x", "--patch-size", 96, "--mpp", "0.6", "--tissue", mask.parent]
    code, out, err = run_cli("inspect", slide, cohort / "slides/demo-002.ome.tif", *options)
    assert code == 0 and "mpp: 0.600" in out and "demo-002" in err, "it has no mask"
    assert [(call["lr"], call["size"], call["mask"] is not None) for call in calls] == [
        (1.25, 96, True),
        (1.25, 96, False),
    ]
    assert calls[0]["source"] == SlideSource("demo-001", slide, 0.6)


def test_slides_of_one_name_are_all_inspected(run_cli: RunCli, cohort: Path, tmp_path: Path) -> None:
    """Nothing is written, so nothing is written twice."""
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(cohort / "slides/demo-001.ome.tif", tmp_path / folder)
    code, out, _ = run_cli("inspect", tmp_path, "--json")
    assert code == 0 and [one["status"] for one in json.loads(out)] == ["ok", "ok"]
