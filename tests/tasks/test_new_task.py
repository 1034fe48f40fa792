"""A task of one file, which only tests know, goes from labels to a score; no room below or above is told of it."""

import csv
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from lrmil.cohorts.cohort import CohortReport, TableOptions, validate_cohort
from lrmil.cohorts.splits import make_folds
from lrmil.configs import FitConfig, MILConfig, Stage2Config
from lrmil.errors import ConfigError
from lrmil.io.ownership import is_metrics, is_out_of_fold_table, is_prediction_table, is_review_table
from lrmil.models.bundle import load_bundle
from lrmil.models.heads.head import predict_bag
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.evaluation import evaluate_steps
from lrmil.prediction.files import read_prediction
from lrmil.prediction.options import PredictOptions
from lrmil.prediction.table import PredictionRow, table_of
from lrmil.reports.run_report import write_report
from lrmil.reviews.log import Review, append_review, read_reviews
from lrmil.reviews.table import write_review_table
from lrmil.runs.arms import ARMS
from lrmil.runs.plan_file import read_table_options
from lrmil.runs.train import train
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from lrmil.tasks import choice
from lrmil.tasks.task import Task
from lrmil.training.bags import Bag, BagStore
from lrmil.training.loop import FitRun
from lrmil.training.slide_stage import train_mil
from support.amount_task import Amount
from support.runs import tiny_config, write_bag

OPTIONS = TableOptions(task="amount")
CPU = PredictOptions(device="cpu")


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The one line that a new task needs beside its file."""
    monkeypatch.setattr(choice, "TASKS", (*choice.TASKS, Amount))


def cohort_of(folder: Path, labels: list[str], **options: str) -> CohortReport:
    (folder / "slides").mkdir(exist_ok=True)
    for number in range(len(labels)):
        (folder / "slides" / f"s{number:02}.svs").touch()
    rows = "".join(f"s{number:02},p{number:02},{label}\n" for number, label in enumerate(labels))
    (folder / "labels.csv").write_text(f"slide_id,case_id,label\n{rows}")
    return validate_cohort(folder / "slides", folder / "labels.csv", options=TableOptions(task="amount", **options))


def bags(folder: Path, amounts: list[float]) -> list[Bag]:
    """Slides whose first channel tells the amount."""
    made = []
    for number, amount in enumerate(amounts):
        rng = np.random.default_rng(number)
        index = np.argwhere(np.ones((3, 3), bool)).astype(np.int32)
        values = rng.normal(0, 0.1, size=(len(index), 4))
        values[:, 0] += amount
        path = write_bag(folder / f"s{number:02}.zarr", index, values)
        made.append(Bag(path.stem, path, amount, np.array([amount - 3.0], np.float32), np.zeros(9, np.float32)))
    return made


@pytest.mark.parametrize("distil", [False, True])
def test_it_goes_from_labels_to_a_score(tmp_path: Path, distil: bool) -> None:
    labels = [f"{0.5 * (number % 12):g}" for number in range(20)]
    cohort = cohort_of(tmp_path, labels).cohort
    assert cohort is not None and cohort.task == Amount(float(np.mean([float(label) for label in labels])))
    fold = make_folds(cohort, folds=4, val_fraction=0.25, seed=0)[0]
    made = {bag.slide_id: bag for bag in bags(tmp_path, [float(cohort.targets[f"s{n:02}"]) for n in range(20)])}  # type: ignore[arg-type]
    fit = last(
        train_mil(
            ("mil",),
            [made[slide_id] for slide_id in fold.train],
            [made[slide_id] for slide_id in fold.val],
            FitRun(0, tmp_path / "checkpoint.safetensors", "key", torch.device("cpu")),
            task=cohort.task,
            config=MILConfig(hidden_dim=4, dropout=0, slides_per_step=2, fit=FitConfig(epochs=40, learning_rate=0.05)),
            stage2=Stage2Config(lambda_bag=0.5) if distil else None,
        )
    )
    store = BagStore(torch.device("cpu"))
    outputs = [predict_bag(fit.module, store.embeddings(made[slide_id])) for slide_id in fold.test]  # type: ignore[arg-type]
    values = np.stack([cohort.task.values(output.logits) for output in outputs])
    targets = [cohort.targets[slide_id] for slide_id in fold.test]
    assert np.abs(values[:, 0] - np.array(targets)).max() < 0.5
    summary = cohort.task.summarise(targets, values, [cohort.by_id[i].case_id for i in fold.test])
    assert summary["closeness"] == cohort.task.score(targets, values) and summary["n_slides"] == len(fold.test)
    answer = cohort.task.answer(values[0])
    text = table_of(
        [PredictionRow(fold.test[0], answer.status, answer.label, answer.values), PredictionRow("b", "failed")],
        cohort.task,
    )
    first, failed = csv.DictReader(text.splitlines())
    assert first["value_mm"] == f"{values[0, 0]:.6f}" and first["label"] == f"{values[0, 0]:.2f} mm"
    assert failed["value_mm"] == "" and not any(name.startswith("prob_") for name in first)


def test_a_task_without_classes_has_no_logits_to_balance(tmp_path: Path) -> None:
    run = FitRun(0, tmp_path / "checkpoint", "key", torch.device("cpu"))
    config = MILConfig(balance="logits")
    with pytest.raises(ConfigError, match="balance"):
        last(train_mil(("mil",), bags(tmp_path, [1.0, 2.0]), [], run, task=Amount(3.0), config=config))


def test_a_cell_that_is_no_label_is_a_problem_of_its_row(tmp_path: Path) -> None:
    report = cohort_of(tmp_path, ["1", "2", "much", "3", "inf", "5", "6"])
    errors = [problem for problem in report.problems if problem.severity == "error"]
    assert [(problem.row, problem.column) for problem in errors] == [(4, "label"), (6, "label")]
    assert all("a number" in problem.message and "class" not in problem.message for problem in errors)


@pytest.mark.parametrize(
    ("labels", "options", "expected"),
    [
        (["1", "-2", "3", "4", "5"], {}, "amounts of 0 or more"),
        (["1", "2", "3", "4", "5"], {"positive": "1"}, "no positive class"),
        (["1", "2", "3"], {}, "at least 5 cases for 5 folds"),
    ],
)
def test_the_task_says_what_is_wrong_with_labels(
    tmp_path: Path, labels: list[str], options: dict[str, str], expected: str
) -> None:
    errors = [problem for problem in cohort_of(tmp_path, labels, **options).problems if problem.severity == "error"]
    assert len(errors) == 1 and expected in errors[0].message


def test_all_labels_are_one_group_where_folds_are_drawn(tmp_path: Path) -> None:
    """Twenty labels of one case each are no classes of too few cases."""
    report = cohort_of(tmp_path, [f"{number}" for number in range(25)])
    assert report.ok and report.cohort is not None and set(report.cohort.cases.values()) == {("",)}
    folds = make_folds(report.cohort, folds=5, val_fraction=0.2, seed=0)
    assert [len(fold.test) for fold in folds] == [5] * 5 and all(len(fold.val) == 4 for fold in folds)


def said(**changes: object) -> Review:
    values: dict[str, object] = {
        "event": "review",
        "slide_id": "a",
        "slide_fingerprint": "f1",
        "bundle_sha256": "b1",
        "output_label": "2.50 mm",
        "output_probabilities": {"mm": 2.5},
        "output_status": "ok",
        "decision": "agree",
        "human_label": "2.50 mm",
        "task": "amount",
    }
    return Review(**(values | changes))  # type: ignore[arg-type]


def test_a_person_s_word_on_it_is_kept_and_put_into_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reviews = (said(), said(output_probabilities={"b": 0.25, "a": 0.75}, output_label="a", human_label="a", task=""))
    for review in reviews:
        append_review(tmp_path / "log", review)
    assert read_reviews(tmp_path / "log") == (reviews, ())
    write_review_table(tmp_path / "table.csv", reviews)
    with (tmp_path / "table.csv").open(newline="") as file:
        amount, classes = csv.DictReader(file)
    assert (amount["value_mm"], amount["prob_a"], classes["value_mm"], classes["prob_a"]) == (
        "2.500000",
        "",
        "",
        "0.750000",
    )
    assert is_review_table(tmp_path / "table.csv")
    for changes in ({"task": "other"}, {"output_probabilities": {"mm": float("inf")}}, {"task": ""}):
        with pytest.raises(ConfigError):
            said(**changes)
    monkeypatch.setattr(choice, "TASKS", choice.TASKS[:1])  # a version that does not know the task
    assert read_reviews(tmp_path / "log") == (reviews[1:], (1,))


@pytest.mark.long
def test_a_whole_run_predicts_writes_and_evaluates_it(cohort: Path, tmp_path: Path) -> None:
    with (cohort / "labels.csv").open() as file:
        rows = list(csv.DictReader(file))
    for number, row in enumerate(rows):
        row["label"] = f"{1 + number % 3}.5"
    labels = tmp_path / "labels.csv"
    with labels.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    run = train(cohort / "slides", labels, tmp_path / "run", tiny_config(), device="cpu", options=OPTIONS)
    assert read_table_options(run.folder) == OPTIONS
    figures = json.loads((run.folder / "metrics.json").read_text())
    assert figures["task"] == "amount" and "classes" not in figures
    assert all(0 < figures[arm]["closeness"] <= 1 and "closeness_by_fold" in figures[arm] for arm in ARMS)
    artefact = json.loads((run.folder / "fold-0/teacher/artefact.json").read_text())  # a mean is part of what it is
    assert artefact["inputs"]["task"] == {"task": "amount", "mean": figures["mean"]}
    table = (run.folder / "predictions.csv").read_text().splitlines()
    assert table[0] == "slide_id,case_id,fold,arm,label,value_mm"
    assert is_metrics(run.folder / "metrics.json") and is_out_of_fold_table(run.folder / "predictions.csv")
    assert train(cohort / "slides", labels, run.folder, tiny_config(), device="cpu", options=OPTIONS) == run

    page = write_report(run.folder, examples=2).read_text()
    assert (
        "reached Closeness" in page
        and "probabilities are worth" not in page
        and "wrong" not in page.split("</style>")[1]
    )
    assert "Amounts have no curves." in page and "3 arms were compared" in page
    words = re.sub(r"<style>.*?</style>|<[^>]*>", "", page, flags=re.DOTALL)  # what a reader sees
    found = re.search(
        r".{40}(AUROC|correct|wrong|class|probab).{40}", words[words.index("report of a run") :], re.DOTALL
    )
    assert found is None or found[0] == ""

    bundle = load_bundle(run.model)
    task: Task = bundle.task
    assert isinstance(task, Amount) and task.mean == pytest.approx(np.mean([float(row["label"]) for row in rows]))
    source = SlideSource("demo-000", cohort / "slides/demo-000.ome.tif")
    (row,) = last(predict_slides([source], bundle, tmp_path / "out", CPU))
    assert last(predict_slides([source], bundle, tmp_path / "out", CPU)) == [row]  # read back
    assert row.status == "ok" and row.label == f"{row.probabilities['mm']:.2f} mm"
    assert is_prediction_table(tmp_path / "out/predictions.csv")
    saved = read_prediction(tmp_path / "out", "demo-000", task=task)
    assert saved is not None and saved.task == task and saved.probabilities == row.probabilities
    found = last(evaluate_steps(cohort / "slides", labels, bundle, tmp_path / "all", CPU, part="all"))
    assert found.classified == len(rows) and not found.failed and 0 < float(str(found.metrics["closeness"])) <= 1
