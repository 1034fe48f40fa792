"""`lrmil predict`: a table and files of each slide, and a bad one does not stop the others."""

import json
from pathlib import Path

import pytest

from lrmil.prediction.options import PredictOptions
from lrmil.prediction.table import PredictionRow
from support.cli import CPU, RunCli, stand_in, table, write_checksums, write_outline
from support.runs import stamp_of


def test_predict_goes_on_after_bad_files(run_cli: RunCli, cmu: Path, shared: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    broken = sorted((shared / "data/slides/errors").iterdir())
    code, text, err = run_cli("predict", *broken, cmu, "--model", model, "--out", out, *CPU)
    rows = {row["slide_id"]: row for row in table(out / "predictions.csv")}
    assert code == 1 and "3 of 4 failed" in err and "not a diagnosis" in text
    columns = ["slide_id", "status", "label", "prob_no", "prob_yes", "mpp", "mpp_source", "n_patches"]
    assert list(rows[cmu.stem]) == [
        *columns,
        "failed_patches",
        "seconds",
        "reason",
        "checksum",
        "notes",
        "model",
        "message",
    ]
    assert rows[cmu.stem]["status"] == "ok" and rows[cmu.stem]["mpp"] == "0.499"
    assert all(rows[path.stem]["status"] == "failed" and rows[path.stem]["message"] for path in broken)
    for ending in (".attention.ome.zarr/zarr.json", ".geojson", ".png"):
        assert (out / f"{cmu.stem}{ending}").is_file()
    before = stamp_of(out / f"{cmu.stem}.json")
    code, text, _ = run_cli("predict", cmu, "--model", model, "--out", out, "--json", *CPU)
    (row,) = json.loads(text)
    assert code == 0 and row["slide_id"] == cmu.stem and sum(row["probabilities"].values()) == pytest.approx(1)
    assert stamp_of(out / f"{cmu.stem}.json") == before
    code, _, err = run_cli("predict", cmu, "--model", model, "--out", tmp_path / "o2", "--tissue", out, *CPU)
    assert code == 1 and f"{cmu.stem}.tissue.ome.zarr" in err


def test_magnification_stands_for_a_resolution(run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path) -> None:
    slide = cohort / "slides/demo-001.ome.tif"
    options = ["--model", model, "--out", tmp_path / "out", "--json", *CPU]
    code, out, _ = run_cli("predict", slide, *options, "--mpp", "20x")
    (row,) = json.loads(out)
    assert code == 0 and (row["mpp"], row["mpp_source"]) == (0.5, "override")


def test_every_option_arrives(
    run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [PredictionRow("demo-001", "uncertain", "yes", {"no": 0.375, "yes": 0.625}, n_patches=9, notes=("read so",))]
    calls = stand_in(monkeypatch, "lrmil.prediction.batch.predict_slides", rows)
    slide = cohort / "slides/demo-001.ome.tif"
    mask, checksums = write_outline(tmp_path / "masks", "demo-001"), write_checksums(tmp_path / "sums.txt", slide)
    numbers = ["--batch-size", 3, "--threads", 5, "--uncertain-below", 0.75, "--device", "cuda:7", "--subtract-bounds"]
    about = ["--mpp", "0.6", "--use-objective-power", "--checksums", checksums, "--tissue", mask.parent]
    code, out, _ = run_cli("predict", slide, "--model", model, "--out", tmp_path / "out", *numbers, *about)
    assert code == 0, "an uncertain answer is no failure"
    assert all(word in out for word in ("demo-001", "uncertain", "yes", "0.625", "9 of 9", "read so"))
    (call,) = calls
    assert call["options"] == PredictOptions(
        device="cuda:7", batch_size=3, threads=5, uncertain_below=0.75, subtract_bounds=True
    )
    (source,) = call["slides"]
    assert (source.path, source.mpp, source.objective_power) == (slide, 0.6, True) and source.checksums
    assert call["out"] == tmp_path / "out" and list(call["tissue"]) == ["demo-001"]
    assert set(call["inputs"]) == {model, checksums, mask}


def test_patients_are_answered_beside_their_slides(run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path) -> None:
    slides = [cohort / f"slides/demo-00{number}.ome.tif" for number in range(3)]
    (tmp_path / "cut.ome.tif").write_bytes(slides[0].read_bytes()[:20_000])
    cases, out = tmp_path / "cases.csv", tmp_path / "out"
    cases.write_text("slide;patient\ndemo-000.ome.tif;p\ndemo-001;p\ncut;p\nelsewhere;q\n")
    arguments = ["predict", *slides, tmp_path / "cut.ome.tif", "--model", model, "--cases", cases, "--out", out, *CPU]
    code, text, err = run_cli(*arguments)
    assert code == 1 and "cases.csv has no case of 'demo-002'" in err and "1 of 4 failed" in err
    assert text.index("patient") < text.index("seconds") and "2 of 3" in text and "1 of 3 slides failed" in text
    rows = {row["case_id"]: row for row in table(out / "patients.csv")}
    assert rows.keys() == {"p", "demo-002"} and rows["p"]["slides"] == "cut; demo-000; demo-001"
    assert (rows["p"]["status"], rows["p"]["n_slides"], rows["p"]["failed_slides"]) == ("ok", "3", "1")
    of_slides = {row["slide_id"]: row for row in table(out / "predictions.csv")}
    assert rows["demo-002"]["prob_yes"] == of_slides["demo-002"]["prob_yes"] and rows["p"]["rule"] == "mean"
    before = stamp_of(out / "demo-000.json"), (out / "patients.csv").read_bytes()
    code, text, _ = run_cli(*arguments, "--json")
    found = json.loads(text)
    assert (stamp_of(out / "demo-000.json"), (out / "patients.csv").read_bytes()) == before, "it resumes"
    assert [one["case_id"] for one in found["patients"]] == ["demo-002", "p"] and len(found["slides"]) == 4
    odds = [one["probabilities"]["yes"] / one["probabilities"]["no"] for one in found["slides"] if one["probabilities"]]
    of_patient = found["patients"][1]["probabilities"]
    assert of_patient["yes"] / of_patient["no"] == pytest.approx((odds[0] * odds[1]) ** 0.5)


def test_a_table_of_cases_that_cannot_be_used_stops_before_any_slide(
    run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path
) -> None:
    slide, out = cohort / "slides/demo-000.ome.tif", tmp_path / "out"
    (tmp_path / "cases.csv").write_text("slide_id,age\ndemo-000,50\n")
    arguments = ["predict", slide, "--model", model, "--cases", tmp_path / "cases.csv", "--out", out, *CPU]
    code, _, err = run_cli(*arguments)
    assert code == 1 and "case_id" in err and not out.exists()
    code, _, err = run_cli(*arguments, "--case-column", "age")
    assert code == 0 and table(out / "patients.csv")[0]["case_id"] == "50"
    (out / "patients.csv").write_text("mine")
    (out / "predictions.csv").unlink()
    code, _, err = run_cli(*arguments, "--case-column", "age")
    assert code == 1 and "patients.csv" in " ".join(err.split()) and not (out / "predictions.csv").exists()


def test_regions_of_each_slide(run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path) -> None:
    slides, out = [cohort / f"slides/demo-00{number}.ome.tif" for number in range(2)], tmp_path / "out"
    regions = write_outline(tmp_path / "regions", "demo-001")
    arguments = ["predict", *slides, "--model", model, "--out", out, "--regions", regions.parent, *CPU]
    code, text, err = run_cli(*arguments)
    without, found = table(out / "predictions.csv")
    assert code == 1 and "1 of 2 failed" in err
    assert (without["status"], without["reason"]) == ("failed", "tissue") and "demo-000.geojson" in without["message"]
    assert "inside 1 region" in found["notes"] and "inside 1 region" in text
    assert json.loads((out / "demo-001.json").read_text())["prediction"]["regions"]["inside"] == 1
    stamp = stamp_of(out / "demo-001.json")
    run_cli(*arguments)
    assert stamp_of(out / "demo-001.json") == stamp
    regions.write_text(regions.read_text().replace("900", "890"))
    run_cli(*arguments)
    assert stamp_of(out / "demo-001.json") != stamp
    code, _, err = run_cli(*[*arguments[:-4], "--out", regions.parent, "--regions", regions.parent, *CPU])
    assert code == 1 and json.loads(regions.read_text())["features"]
