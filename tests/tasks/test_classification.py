"""Classification: class names are read, predicted, stated in files, and faulty ones are refused."""

import math

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from lrmil import metrics
from lrmil.errors import ConfigError
from lrmil.losses import bag_loss
from lrmil.tasks.choice import TASKS, is_value_column, task_in, task_named
from lrmil.tasks.classification import Classification
from lrmil.tasks.task import Task, columns

THREE = Classification(("low", "mid", "high"))
LOGITS = st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3)


@given(LOGITS, st.integers(0, 2))
def test_values_and_loss_are_softmax_and_cross_entropy(logits: list[float], target: int) -> None:
    raised = [math.exp(logit - max(logits)) for logit in logits]
    shares = [value / sum(raised) for value in raised]
    found = THREE.values(np.array(logits, np.float32))
    assert found.dtype == np.float64 and found.tolist() == pytest.approx(shares, abs=1e-12)
    expected = math.log(sum(raised)) + max(logits) - logits[target]
    batch = torch.stack([torch.tensor(logits), torch.zeros(3)])
    assert THREE.loss(batch, [target, 0]).tolist() == pytest.approx([expected, math.log(3)], abs=1e-4)


@given(LOGITS, LOGITS, st.floats(0.5, 4))
def test_distillation_is_the_loss_between_bags(student: list[float], teacher: list[float], temperature: float) -> None:
    one, other = torch.tensor(student), torch.tensor(teacher)
    assert torch.equal(THREE.distillation(one, other, temperature), bag_loss(one, other, temperature))


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=3), st.floats(0, 1))
@example([1, 2, 1], 0.5)
def test_the_answer_is_the_most_probable_class(counts: list[int], threshold: float) -> None:
    values = np.array(counts) / sum(counts)
    answer = THREE.answer(values, uncertain_below=threshold)
    assert list(answer.values) == list(THREE.classes) and list(answer.values.values()) == values.tolist()
    assert answer.values[answer.label] == max(values)
    assert answer.status == ("ok" if max(values) >= threshold else "uncertain")
    assert THREE.answer_problem(answer.label, answer.values) == ""


@pytest.mark.parametrize(
    ("label", "values", "problem"),
    [
        ("a", {"a": 1.0}, "two classes"),
        ("a", {"a": 1.2, "b": -0.2}, "from 0 to 1"),
        ("a", {"a": 0.9, "b": 0.2}, "sum to 1"),
        ("b", {"a": 0.9, "b": 0.1}, "its probabilities say"),
        ("c", {"a": 0.9, "b": 0.1}, "its probabilities say"),
        ("a", {"a": 0.9, "b": 0.1}, ""),
        ("a", {"a": 1.0000005, "b": 0.0}, ""),
    ],
)
def test_an_answer_that_was_edited_is_told(label: str, values: dict[str, float], problem: str) -> None:
    found = Classification.answer_problem(label, values)
    assert problem in found and bool(found) == bool(problem)


def test_validation_ranks_where_it_can_and_else_takes_the_loss() -> None:
    values = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.3, 0.4], [0.5, 0.25, 0.25]])
    loss = -np.mean([math.log(0.7), math.log(0.8), math.log(0.4), math.log(0.25)])
    found = THREE.validate([0, 1, 2, 1], values)
    assert found.loss == pytest.approx(loss) and found.score == metrics.auroc([0, 1, 2, 1], values)
    assert THREE.validate([0, 1, 1, 1], values).score == -THREE.validate([0, 1, 1, 1], values).loss
    assert THREE.validate([2], np.array([[1.0, 0.0, 0.0]])).loss == pytest.approx(-math.log(1e-12))


def test_curves_are_of_each_class_or_of_the_positive_one() -> None:
    values = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1], [0.3, 0.6, 0.1]])
    curves = THREE.curves([0, 1, 1], values)
    assert list(curves) == ["low", "mid", "high"] and curves["high"] == {}
    points = metrics.roc([0, 1, 1], values, 1)
    assert points is not None and curves["mid"]["true_positive_rate"] == points.true_positive_rate.tolist()
    assert list(Classification(("no", "yes")).curves([0, 1], values[:2, :2])) == ["yes"]


@given(st.lists(st.text(min_size=1).filter(str.strip), min_size=2, max_size=5, unique=True))
def test_what_files_state_is_read_back(classes: list[str]) -> None:
    task = Classification(tuple(classes))
    assert task_in(task.to_dict()) == task and task.to_dict() == {"classes": classes}
    assert all(map(is_value_column, columns(task, task.names)))
    assert [task.target(name) for name in classes] == list(range(len(classes))) and task.outputs == len(classes)


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"classes": None},
        {"classes": "ab"},
        {"classes": ["a"]},
        {"classes": ["a", "a"]},
        {"classes": ["a", " "]},
        {"classes": ["a", 1]},
        {"classes": ["a", "b" * 1001]},
        {"classes": [str(n) for n in range(1001)]},
        {"classes": ["a", "b"], "task": "survival"},
        {"classes": ["a", "b"], "task": None},
        {"classes": ["a", "b"], "task": ["classification"]},
    ],
)
def test_a_document_of_another_task_or_without_classes_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Got"):
        task_in(document)


def test_a_task_is_chosen_by_name() -> None:
    assert task_named("") is task_named("classification") is TASKS[0] is Classification
    with pytest.raises(ConfigError, match="classification"):
        task_named("survival")
    task: Task = THREE
    assert task.unknown_labels(["mid", "low"]) == ""
    assert "huge" in task.unknown_labels(["mid", "huge"]) and "low, mid, high" in task.unknown_labels(["huge"])


@pytest.mark.parametrize(
    ("classes", "values", "brief", "said"),
    [
        (("no", "yes"), [0.75, 0.25], "0.250", "Probability of yes"),
        (("a", "b", "c"), [0.2, 0.7, 0.1], "b 0.700", "Most probable class and its probability"),
    ],
)
def test_a_cell_holds_the_positive_class_or_the_most_probable_one(
    classes: tuple[str, ...], values: list[float], brief: str, said: str
) -> None:
    task = Classification(classes)
    assert task.brief(values) == brief and task.wording.brief == said
    assert (task.wording.remark == " (positive: yes)") == (len(classes) == 2) == (not task.wording.score_note)
    shown = task.shown(dict(zip(classes, values, strict=True)))
    assert [(one.name, one.share) for one in shown] == list(zip(classes, values, strict=True))
    assert [one.text for one in shown] == [f"{100 * value:.1f} %" for value in values]


def test_labels_make_the_classes_and_each_class_is_a_group_of_its_own() -> None:
    assert Classification.of_labels(["tumour", "normal", "tumour"]) == Classification(("normal", "tumour"))
    assert Classification.of_labels(["tumour", "normal"], "normal") == Classification(("tumour", "normal"))
    assert tuple(map(THREE.stratum, THREE.classes)) == THREE.strata == THREE.classes


def test_an_answer_is_wrong_where_it_is_another_class() -> None:
    assert Classification.is_wrong("no", "yes") and not Classification.is_wrong("yes", "yes")


@pytest.mark.parametrize(
    ("intervals", "parts"),
    [
        ([[0.4, 0.9], [0.5, 0.8]], []),
        ([[0.4, 0.9], [1.0, 1.0]], ["no width"]),
        ([[0.75, 0.75], [0.9, 1.0]], ["no width"]),
        ([None, [0.5, 0.8]], ["not defined"]),
        ([None, [1.0, 1.0]], ["no width", "not defined"]),
    ],
)
def test_intervals_are_remarked_on(intervals: list[list[float] | None], parts: list[str]) -> None:
    remarks = Classification.remarks([{"auroc_ci": interval} for interval in intervals])
    assert len(remarks) == len(parts) and all(part in remark for part, remark in zip(parts, remarks, strict=True))


def test_figures_that_are_shown_are_those_that_are_measured() -> None:
    values = np.array([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]])
    task = Classification(("no", "yes"))
    summary = task.summarise([0, 1, 0, 1], values, ["p", "q", "r", "r"])
    assert (summary["n_slides"], summary["n_cases"]) == (4, 3)
    named = {*task.figures, *task.details, *task.by_name, *task.counts}
    assert named | {"undefined", "n_slides", "n_cases", "by_case", "by_case_reason"} == summary.keys()
    assert all(summary[name].keys() == set(task.names) for name in task.by_name)  # type: ignore[attr-defined]
    assert summary["by_case"] is None and task.details.keys() <= summary.keys()
    assert summary[task.score_name] == task.score([0, 1, 0, 1], values) and next(iter(task.figures)) == task.score_name


def test_a_difference_has_the_interval_of_the_metrics() -> None:
    values, others = np.array([[0.7, 0.3], [0.2, 0.8], [0.6, 0.4], [0.4, 0.6]]), np.full((4, 2), 0.5)
    task, cases = Classification(("no", "yes")), ["p", "q", "r", "s"]
    assert task.difference_interval([0, 1, 0, 1], values, others, cases) == metrics.auroc_interval(
        [0, 1, 0, 1], values, cases, minus=others
    )
    assert task.difference_interval([0, 1, 0, 1], values, others, ["p", "q", "p", "q"]) is None


def test_a_linear_head_needs_every_class() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(12, 3)) + 4 * np.repeat(np.eye(3), 4, axis=0)
    targets = [0] * 4 + [1] * 4 + [2] * 4
    values = THREE.linear_values(embeddings, targets, embeddings)
    assert values.argmax(axis=1).tolist() == targets and THREE.linear_problem(targets) == ""
    assert "no slide of high to" in THREE.linear_problem(targets[:8])
    assert "no slide of low, mid to" in THREE.linear_problem([2])
