"""`lrmil evaluate`: metrics of what could be read."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from lrmil.cli.parser import build_parser
from lrmil.cohorts.cohort import TableOptions
from lrmil.cohorts.measured import PARTS, Part
from lrmil.models.learned_from import SEEN
from lrmil.prediction.evaluation import Evaluation, Seen
from lrmil.prediction.options import PredictOptions
from support.cli import CPU, RunCli, stand_in, table, write_checksums
from support.models import rewrite
from support.runs import TinyRun


def evaluated(
    place: Path, tiny_run: TinyRun, rows: dict[str, str], header: str = "slide_id,case_id,label"
) -> list[object]:
    """Arguments of the command for slides of the run: name -> the rest of its row."""
    (place / "slides").mkdir()
    for name in rows:
        shutil.copy(tiny_run.slides / f"{name}.ome.tif", place / "slides")
    lines = [header, *(f"{name},{rest}" for name, rest in rows.items())]
    (place / "labels.csv").write_text("\n".join(lines) + "\n")
    return ["evaluate", place / "slides", place / "labels.csv", "--model", tiny_run.folder / "model", *CPU]


@pytest.mark.parametrize("count", [1, 3])
def test_slides_of_one_class_alone_are_measured_as_far_as_they_go(
    run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path, count: int
) -> None:
    rows = {f"demo-00{number}": f"p{number // 2},positive" for number in range(count)}
    arguments = evaluated(tmp_path, tiny_run, rows)
    code, out, err = run_cli(*arguments, "--json")
    assert code == 0, err
    found = json.loads(out)
    of, (negative, positive) = found["metrics"], found["metrics"]["confusion"]
    assert negative == [0, 0] and sum(positive) == count
    assert of["recall"] == {"negative": None, "positive": positive[1] / count}
    assert of["accuracy"] == positive[1] / count and of["brier"] is not None
    assert of["auroc"] is None and set(of["auroc_by_class"].values()) == {None}
    undefined = {"auroc", "auroc_ci", "balanced_accuracy", "recall", "auroc_by_class"}
    assert of["undefined"].keys() == undefined and "'negative'" in of["undefined"]["auroc"]
    code, out, _ = run_cli(*arguments)
    lines = out.splitlines()
    assert code == 0 and f"accuracy: {of['accuracy']:.3f}" in lines
    assert f"confusion, positive: negative {positive[0]}, positive {positive[1]}" in lines
    for line in lines:
        assert "not defined" not in line or line.endswith(")"), "a reason follows"
    if count == 3:
        assert of["by_case"]["undefined"].keys() == undefined
        places = [next(row for row, line in enumerate(lines) if line.startswith(of)) for of in ("by_case acc", "acc")]
        assert places == sorted(places) and found["case_rule"] == "mean"


def test_the_test_slides_of_a_table_are_measured_and_that_is_said(
    run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path
) -> None:
    rows = {"demo-000": "p0,strange,train", "demo-001": "p1,negative,test", "demo-002": "p2,positive,test"}
    arguments = evaluated(tmp_path, tiny_run, rows, "slide_id,case_id,label,split")
    code, out, err = run_cli(*arguments, "--json")
    assert code == 0 and "the test part of the table, 2 of 3." in " ".join(err.split())
    part = {"name": "test", "slides": 2, "table_slides": 3, "splits": {"test": 2}}
    assert json.loads(out)["part"] == part and json.loads(out)["metrics"]["n_slides"] == 2
    saved = json.loads((tmp_path / "labels.predictions/evaluation.json").read_text())
    assert saved["part"] == part
    predicted = (tmp_path / "labels.predictions/predictions.csv").read_text()
    assert "demo-001" in predicted and "demo-000" not in predicted
    code, out, _ = run_cli(*arguments, "--part", "test")
    assert code == 0 and "Measured slides: the test part of the table, 2 of 3." in out.splitlines()
    code, _, err = run_cli(*arguments, "--part", "all")
    assert code == 1 and "strange" in err, "labels of other parts need not be those of the model"
    text = (tmp_path / "labels.csv").read_text().replace("strange", "negative")
    (tmp_path / "labels.csv").write_text(text)
    code, out, _ = run_cli(*arguments, "--part", "all")
    assert code == 0 and "Measured slides: the whole table, 3 (1 train, 2 test)." in out.splitlines()
    code, _, err = run_cli(*arguments, "--part", "val")
    assert code == 1 and "'val'" in err and "1 train, 2 test" in err


def test_a_part_of_a_table_without_splits_is_refused(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    arguments = evaluated(tmp_path, tiny_run, {"demo-000": "p0,negative"})
    code, _, err = run_cli(*arguments, "--part", "test")
    assert code == 1 and "no column 'split'" in err and not (tmp_path / "labels.predictions").exists()
    assert run_cli(*arguments, "--part", "holdout")[0] == 2


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
    assert found["part"] == {"name": "all", "slides": 3, "table_slides": 3, "splits": {}}
    assert found["metrics"]["n_slides"] == 2 and found["metrics"]["auroc"] in (0.0, 0.5, 1.0)
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["metrics"] == found["metrics"]
    text = (tmp_path / "labels.csv").read_text().replace("positive", "strange")
    (tmp_path / "labels.csv").write_text(text)
    code, _, err = run_cli(*arguments)
    assert code == 1 and "strange" in err and "negative, positive" in err


def test_every_option_arrives(
    run_cli: RunCli, model: Path, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answer = Evaluation({"auroc": 0.625, "auroc_ci": None}, {"demo-002": "torn"}, 11, Part("val", 12, 30, {"val": 12}))
    calls = stand_in(monkeypatch, "lrmil.prediction.evaluation.evaluate_steps", answer)
    slides, labels = cohort / "slides", tmp_path / "labels.csv"
    labels.write_bytes((cohort / "labels.csv").read_bytes())
    (tmp_path / "mpp.csv").write_text("slide_id,mpp\ndemo-003,0.6\n")
    checksums = write_checksums(tmp_path / "sums.txt", slides / "demo-001.ome.tif")
    columns = ["--slide-column", "a", "--case-column", "b", "--label-column", "c", "--skip-missing"]
    about = ["--mpp-table", tmp_path / "mpp.csv", "--use-objective-power", "--checksums", checksums]
    numbers = ["--batch-size", 3, "--threads", 5, "--device", "cuda:7"]
    code, out, err = run_cli("evaluate", slides, labels, "--model", model, *columns, *about, *numbers, "--part", "val")
    assert code == 1 and "1 of 12 failed" in err
    assert all(line in out.splitlines() for line in ("auroc: 0.625", "auroc_ci: not defined", "Failed: demo-002: torn"))
    assert "Measured slides: the val part of the table, 12 of 30. Without 1 that failed." in out.splitlines()
    (call,) = calls
    assert (call["slides"], call["labels"], call["out"]) == (slides, labels, tmp_path / "labels.predictions")
    assert call["options"] == PredictOptions(device="cuda:7", batch_size=3, threads=5)
    assert call["part"] == "val"
    assert call["mpp"] == {"demo-003": 0.6} and call["objective_power"] is True
    assert [slide_id for slide_id, stated in call["checksums"].items() if stated] == ["demo-001"]
    assert set(call["inputs"]) == {model, labels, tmp_path / "mpp.csv", checksums}
    assert call["table"] == TableOptions(slide_column="a", case_column="b", label_column="c", skip_missing=True)


@pytest.mark.parametrize("part", PARTS)
def test_every_part_can_be_asked_for(part: str) -> None:
    assert build_parser().parse_args(["evaluate", "s", "l.csv", "--model", "m", "--part", part]).part == part


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
    (tmp_path / "slides/torn.ome.tif").write_bytes(b"torn")  # not measured, so its case is not counted
    lines.append(f"torn,{train[1]['case_id']},{train[1]['label']}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    arguments = ["evaluate", tmp_path / "slides", tmp_path / "labels.csv", "--out", tmp_path / "out", *CPU]
    code, out, _ = run_cli(*arguments, "--model", tiny_run.folder / "model")
    assert code == 1 and "learned from 2 of these 4 slides and from 2 of these 3 cases" in out
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["learned_from"] == {"slides": 2, "cases": 2}
    seen = [row["slide_id"] for row in table(tmp_path / "out/predictions.csv") if SEEN in row["notes"]]
    assert sorted(seen) == sorted(f"new-{row['slide_id']}" for row in (train[0], val[0]))

    old = Path(shutil.copytree(tiny_run.folder / "model", tmp_path / "old"))
    rewrite(old, lambda document: document.pop("learned_from"))
    code, out, _ = run_cli(*arguments, "--model", old, "--json")
    assert code == 1 and json.loads(out)["learned_from"] is None
    assert not any(SEEN in row["notes"] for row in table(tmp_path / "out/predictions.csv"))


def test_no_metrics_stand_beside_predictions_that_they_are_not_of(
    run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path
) -> None:
    """An evaluation that fails leaves none of an earlier one; a file of another origin is not touched."""
    arguments = [*evaluated(tmp_path, tiny_run, {"demo-000": "p0,negative"}), "--out", tmp_path / "out"]
    saved = tmp_path / "out/evaluation.json"
    assert run_cli(*arguments)[0] == 0 and saved.exists()
    (tmp_path / "labels.csv").write_text("slide_id,label\ndemo-000,strange\n")
    assert run_cli(*arguments)[0] == 1 and saved.exists(), "nothing was predicted anew"
    (tmp_path / "labels.csv").write_text("slide_id,label\ndemo-000,negative\n")
    (tmp_path / "slides/demo-000.ome.tif").write_bytes(b"torn")
    assert run_cli(*arguments)[0] == 1 and not saved.exists()
    saved.write_text('{"mine": 1}')
    code, _, err = run_cli(*arguments)
    assert code == 1 and "evaluation.json" in err and saved.read_text() == '{"mine": 1}'


@pytest.mark.parametrize(
    ("seen", "remarked"), [(None, False), (Seen(0, 0), False), (Seen(0, 2), True), (Seen(1, 0), True)]
)
def test_a_case_that_the_model_has_seen_is_remarked_without_a_slide_of_it(seen: Seen | None, remarked: bool) -> None:
    found = Evaluation({"n_cases": 3}, {}, 4, Part("all", 4, 4, {}), learned_from=seen)
    assert bool(found.remark) is remarked
