"""`lrmil evaluate`: metrics of what could be read."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from lrmil.cohorts.cohort import TableOptions
from lrmil.models.learned_from import SEEN
from lrmil.prediction.evaluation import Evaluation
from lrmil.prediction.options import PredictOptions
from support.cli import CPU, RunCli, stand_in, table, write_checksums
from support.models import rewrite
from support.runs import TinyRun


def test_evaluate(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    rows = tiny_run.labels.read_text().splitlines()
    for name in ("demo-008", "demo-009", "demo-010"):
        shutil.copy(tiny_run.slides / f"{name}.ome.tif", slides)
    (slides / "demo-010.ome.tif").write_bytes(b"torn")
    kept = ("slide_id", "demo-008", "demo-009", "demo-010")
    wanted = [",".join(row.split(",")[:3]) for row in rows if row.startswith(kept)]
    (tmp_path / "labels.csv").write_text("\n".join(wanted) + "\n")
    arguments = ["evaluate", slides, tmp_path / "labels.csv", "--model", tiny_run.folder / "model", *CPU]
    code, out, err = run_cli(*arguments, "--out", tmp_path / "out", "--json")
    assert out, err
    found = json.loads(out)
    assert code == 1 and list(found["failed"]) == ["demo-010"]
    assert found["metrics"]["n_slides"] == 2 and found["metrics"]["auroc"] in (0.0, 0.5, 1.0)
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["metrics"] == found["metrics"]
    text = (tmp_path / "labels.csv").read_text().replace("positive", "strange")
    (tmp_path / "labels.csv").write_text(text)
    code, _, err = run_cli(*arguments)
    assert code == 1 and "strange" in err and "negative, positive" in err


def test_every_option_arrives(
    run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Evaluation({"auroc": 0.625, "auroc_ci": None}, {"demo-002": "torn"}, 11)
    calls = stand_in(monkeypatch, "lrmil.prediction.evaluation.evaluate_steps", answer)
    slides, labels = cohort / "slides", tmp_path / "labels.csv"
    labels.write_bytes((cohort / "labels.csv").read_bytes())
    (tmp_path / "mpp.csv").write_text("slide_id,mpp\ndemo-003,0.6\n")
    checksums = write_checksums(tmp_path / "sums.txt", slides / "demo-001.ome.tif")
    columns = ["--slide-column", "a", "--case-column", "b", "--label-column", "c", "--skip-missing"]
    about = ["--mpp-table", tmp_path / "mpp.csv", "--use-objective-power", "--checksums", checksums]
    numbers = ["--batch-size", 3, "--threads", 5, "--device", "cuda:7"]
    code, out, err = run_cli("evaluate", slides, labels, "--model", model, *columns, *about, *numbers)
    assert code == 1 and "1 of 12 failed" in err
    assert all(line in out.splitlines() for line in ("auroc: 0.625", "auroc_ci: not defined", "Failed: demo-002: torn"))
    (call,) = calls
    assert (call["slides"], call["labels"], call["out"]) == (slides, labels, tmp_path / "labels.predictions")
    assert call["options"] == PredictOptions(device="cuda:7", batch_size=3, threads=5)
    assert call["mpp"] == {"demo-003": 0.6} and call["objective_power"] is True
    assert [slide_id for slide_id, stated in call["checksums"].items() if stated] == ["demo-001"]
    assert set(call["inputs"]) == {model, labels, tmp_path / "mpp.csv", checksums}
    assert call["table"] == TableOptions(slide_column="a", case_column="b", label_column="c", skip_missing=True)


def test_slides_that_the_model_has_seen_are_counted(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    """Of four, one that it learned from, one that it was selected on, one new, and one of the case of the first."""
    with tiny_run.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    train, val, test = ([row for row in rows if row["split"] == part] for part in ("train", "val", "test"))
    (tmp_path / "slides").mkdir()
    lines = ["slide_id,case_id,label"]
    for row, case in ((train[0], None), (val[0], None), (test[0], None), (test[-1], train[0]["case_id"])):
        shutil.copy(tiny_run.slides / f"{row['slide_id']}.ome.tif", tmp_path / f"slides/new-{row['slide_id']}.ome.tif")
        lines.append(f"new-{row['slide_id']},{case or row['case_id']},{row['label']}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    arguments = ["evaluate", tmp_path / "slides", tmp_path / "labels.csv", "--out", tmp_path / "out", *CPU]
    code, out, _ = run_cli(*arguments, "--model", tiny_run.folder / "model")
    assert code == 0 and "learned from 2 of these 4 slides and from 2 of these 3 cases" in out
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["learned_from"] == {"slides": 2, "cases": 2}
    seen = [row["slide_id"] for row in table(tmp_path / "out/predictions.csv") if SEEN in row["notes"]]
    assert sorted(seen) == sorted(f"new-{row['slide_id']}" for row in (train[0], val[0]))

    old = Path(shutil.copytree(tiny_run.folder / "model", tmp_path / "old"))
    rewrite(old, lambda document: document.pop("learned_from"))
    code, out, _ = run_cli(*arguments, "--model", old, "--json")
    assert code == 0 and json.loads(out)["learned_from"] is None
    assert not any(SEEN in row["notes"] for row in table(tmp_path / "out/predictions.csv"))
