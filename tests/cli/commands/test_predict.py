"""`lrmil predict`: a table and files of each slide, and a bad one does not stop the others."""

import json
from pathlib import Path

import pytest

from support.cli import CPU, RunCli, table
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
