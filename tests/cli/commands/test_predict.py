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
