"""`lrmil case`, `lrmil reviews` and `lrmil card`: one slide with what a person said of it."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.models.bundle import load_bundle
from lrmil.prediction.inference import predict
from lrmil.reviews.log import Review, append_review
from lrmil.slides.opening import open_slide
from support.cli import CPU, RunCli, stand_in, table, write_checksums, write_outline


def test_a_case_with_its_review_and_the_model_s_card(run_cli: RunCli, cmu: Path, model: Path, tmp_path: Path) -> None:
    out, log = tmp_path / "case", tmp_path / "reviews.jsonl"
    code, text, _ = run_cli("case", cmu, "--model", model, "--out", out, *CPU)
    assert code == 0 and "not a diagnosis" in text and str(out / f"{cmu.stem}.html") in text
    (row,) = table(out / f"{cmu.stem}.csv")
    assert row["decision"] == ""
    bundle, fingerprint = load_bundle(model), open_slide(cmu).fingerprint
    said = Review(
        event="review",
        slide_id=cmu.stem,
        slide_fingerprint=fingerprint,
        bundle_sha256=bundle.sha256,
        output_label=row["label"],
        output_probabilities={name: float(row[f"prob_{name}"]) for name in bundle.classes},
        output_status="ok",
        decision="agree",
        human_label=row["label"],
        note="seen",
    )
    append_review(log, said)
    code, _, _ = run_cli("case", cmu, "--model", model, "--out", out, "--reviews", log, "--top", "2", *CPU)
    assert code == 0 and table(out / f"{cmu.stem}.csv")[0]["note"] == "seen"
    code, text, _ = run_cli("reviews", log, "--json")
    assert code == 0 and [one["note"] for one in json.loads(text)["reviews"]] == ["seen"]
    code, text, _ = run_cli("reviews", log)
    assert code == 0 and "agree" in text and "seen" in text
    with log.open("ab") as file:
        file.write(b'{"torn')
    code, text, err = run_cli("reviews", log, "--csv", tmp_path / "reviews.csv")
    assert code == 0 and text.strip() == str(tmp_path / "reviews.csv") and err.split()[-1] == "2", "the torn line"
    (said_again,) = table(tmp_path / "reviews.csv")
    assert said_again["note"] == "seen" and said_again["prob_yes"] == row["prob_yes"]
    other = tmp_path / "other.jsonl"
    append_review(other, replace(said, bundle_sha256="another model"))
    code, _, err = run_cli("case", cmu, "--model", model, "--out", out, "--reviews", other, *CPU)
    assert code == 0 and cmu.stem in err and table(out / f"{cmu.stem}.csv")[0]["note"] == ""
    code, text, _ = run_cli("card", model, "--json")
    assert code == 0 and json.loads(text)["sha256"] == bundle.sha256
    code, text, _ = run_cli("card", model)
    assert code == 0 and "no, yes" in text and bundle.sha256 in text


def test_every_option_arrives(
    run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide, bundle = cohort / "slides/demo-001.ome.tif", load_bundle(model)
    predicted = stand_in(monkeypatch, "lrmil.prediction.inference.predict_steps", predict(slide, bundle, "cpu"))
    written = stand_in(monkeypatch, "lrmil.reports.case_page.write_case", tmp_path / "page.html")
    checked = stand_in(monkeypatch, "lrmil.reports.case_page.require_case_writable", None)
    mask, checksums = write_outline(tmp_path / "masks", "demo-001"), write_checksums(tmp_path / "sums.txt", slide)
    about = ["--mpp", "0.6", "--use-objective-power", "--checksums", checksums, "--tissue", mask]
    numbers = ["--threads", 5, "--device", "cuda:7", "--top", 3, "--subtract-bounds"]
    code, out, _ = run_cli("case", slide, "--model", model, "--out", tmp_path / "case", *numbers, *about)
    assert code == 0 and str(tmp_path / "page.html") in out
    (call,) = predicted
    assert (call["device"], call["threads"], call["slide"].mpp) == ("cuda:7", 5, 0.6) and call["tissue"] is not None
    (wrote,), (check,) = written, checked
    assert (wrote["k"], wrote["subtract_bounds"], wrote["folder"]) == (3, True, tmp_path / "case")
    assert (check["source"].objective_power, bool(check["source"].checksums)) == (True, True)
    assert set(wrote["inputs"]) == set(check["inputs"]) == {model, checksums, mask}


def test_the_page_names_the_regions(run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path) -> None:
    slide, regions = cohort / "slides/demo-001.ome.tif", write_outline(tmp_path / "regions", "demo-001")
    code, _, _ = run_cli("case", slide, "--model", model, "--out", tmp_path / "case", "--regions", regions, *CPU)
    page = (tmp_path / "case/demo-001.html").read_text()
    assert code == 0 and "</b> (inside 1 region)" in page and "mm² (inside 1 region)" in page
    assert "inside 1 region" in table(tmp_path / "case/demo-001.csv")[0]["notes"]


def test_what_lies_in_the_way_is_told_before_the_slide_is_read(
    run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in(monkeypatch, "lrmil.prediction.inference.predict_steps", None)
    (tmp_path / "demo-001.html").write_text("mine")
    slide = cohort / "slides/demo-001.ome.tif"
    code, _, err = run_cli("case", slide, "--model", model, "--out", tmp_path, *CPU)
    assert code == 1 and "demo-001.html" in err and not calls
    assert (tmp_path / "demo-001.html").read_text() == "mine"
