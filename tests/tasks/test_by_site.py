"""Figures by site are those of its slides alone, and sites that lack a class say what is not defined."""

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, balanced_accuracy_score, brier_score_loss, roc_auc_score

from lrmil.calibration import calibration_error
from lrmil.tasks.by_site import figures_by_site, site_name
from lrmil.tasks.classification import Classification

TASK = Classification(("no", "yes"))


@pytest.fixture
def cohort() -> tuple[list[int], np.ndarray, list[str], list[str | None]]:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 2, 60).tolist()
    yes = np.clip(0.5 + 0.3 * (np.array(targets) - 0.5) + rng.normal(0, 0.2, 60), 0.01, 0.99)
    sites: list[str | None] = [("South", "North", None)[n % 3] for n in range(60)]
    return targets, np.stack([1 - yes, yes], axis=1), [f"p{n // 6}" for n in range(60)], sites


def test_each_slide_is_answered_at_its_own_operating_point(
    cohort: tuple[list[int], np.ndarray, list[str], list[str | None]],
) -> None:
    targets, values, cases, sites = cohort
    points = [0.1 if row % 2 else 0.9 for row in range(60)]
    for one in figures_by_site(TASK, targets, values, cases, sites, points):
        rows = [row for row in range(60) if sites[row] == one["site"]]
        right = [(values[row, 1] >= points[row]) == targets[row] for row in rows]
        assert one["accuracy"] == pytest.approx(sum(right) / 20)


def test_each_site_has_the_figures_of_its_slides(
    cohort: tuple[list[int], np.ndarray, list[str], list[str | None]],
) -> None:
    targets, values, cases, sites = cohort
    found = figures_by_site(TASK, targets, values, cases, sites)
    assert [one["site"] for one in found] == ["North", "South", None]
    for one in found:
        rows = [row for row in range(60) if sites[row] == one["site"]]
        truth, yes = np.array(targets)[rows], values[rows, 1]
        said = (yes > 0.5).astype(int)
        assert (one["n_slides"], one["n_cases"]) == (20, len({cases[row] for row in rows}))
        assert one["auroc"] == pytest.approx(roc_auc_score(truth, yes))
        assert one["accuracy"] == pytest.approx(accuracy_score(truth, said))
        assert one["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(truth, said))
        assert one["brier"] == pytest.approx(brier_score_loss(truth, yes))
        assert one["ece"] == calibration_error(truth, values[rows])
        means = one["means"]
        assert isinstance(means, dict) and means["yes"]["predicted"] == pytest.approx(sum(yes) / len(yes))
        assert means["yes"]["observed"] == pytest.approx(sum(truth) / len(truth)) and one["undefined"] == {}


def test_the_order_of_the_slides_changes_nothing(
    cohort: tuple[list[int], np.ndarray, list[str], list[str | None]],
) -> None:
    targets, values, cases, sites = cohort
    turned = figures_by_site(TASK, targets[::-1], values[::-1], cases[::-1], sites[::-1])
    for one, other in zip(figures_by_site(TASK, targets, values, cases, sites), turned, strict=True):
        assert (one["site"], one["accuracy"], one["auroc"]) == (other["site"], other["accuracy"], other["auroc"])


def test_a_site_of_one_class_says_what_is_not_defined() -> None:
    values = np.array([[0.2, 0.8], [0.4, 0.6]])
    (one,) = figures_by_site(TASK, [1, 1], values, ["a", "b"], ["North", "North"])
    assert one["auroc"] is None and one["balanced_accuracy"] is None and one["accuracy"] == 1
    assert set(one["undefined"]) == {"auroc", "auroc_ci", "balanced_accuracy"}  # type: ignore[call-overload]
    assert one["means"] == {
        "no": {"predicted": pytest.approx(0.3), "observed": 0},
        "yes": {"predicted": pytest.approx(0.7), "observed": 1},
    }


def test_slides_without_a_site_are_named() -> None:
    assert (site_name(None), site_name("North")) == ("no site", "North")
