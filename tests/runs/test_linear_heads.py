"""Linear heads of a run: fitted to the slides that the arms learned from, measured like the arms, damaged ones told."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from lrmil.cohorts.cohort import validate_cohort
from lrmil.cohorts.splits import read_splits
from lrmil.errors import FormatError
from lrmil.features.store import read_features
from lrmil.runs.arms import ARMS, features_of
from lrmil.runs.linear_heads import below_linear_head, read_linear_heads
from lrmil.runs.train import train_steps
from lrmil.summary import summarise
from lrmil.tasks.classification import Classification
from lrmil.tasks.linear_head import linear_probabilities
from support.runs import TinyRun, stamp_of, tiny_config

HEADS = "fold-0/linear_heads/values.json"


@pytest.mark.long
@pytest.mark.parametrize("arm", ARMS)
def test_it_is_fitted_to_mean_patches_and_measured_like_its_arm(tiny_run: TinyRun, arm: str) -> None:
    (fold,) = read_splits(tiny_run.folder / "splits.csv")
    cohort = validate_cohort(tiny_run.slides, tiny_run.labels).cohort
    assert cohort is not None

    def mean(slide_id: str) -> list[float]:
        patches = read_features(features_of(tiny_run.folder, fold.name, slide_id, arm, teacher="region")).embeddings
        return [float(sum(map(float, patches[:, d])) / len(patches)) for d in range(patches.shape[1])]

    learned = [*fold.train, *fold.val]
    targets = [cohort.targets[slide_id] for slide_id in learned]
    expected = linear_probabilities(np.array([*map(mean, learned)]), targets, np.array([*map(mean, fold.test)]))
    found = read_linear_heads(tiny_run.folder / fold.name, fold.test)[arm]
    np.testing.assert_allclose(found, expected, atol=1e-6)  # type: ignore[arg-type]
    stated = json.loads((tiny_run.folder / "metrics.json").read_text())[arm]["linear_head"]
    cases = [cohort.by_id[slide_id].case_id for slide_id in fold.test]
    truth = [cohort.targets[slide_id] for slide_id in fold.test]
    assert stated == json.loads(json.dumps(summarise(truth, found, cases, cohort.classes)))  # type: ignore[arg-type]


@pytest.mark.long
@pytest.mark.parametrize(
    "damage",
    [
        lambda found: found.pop("lr_student"),
        lambda found: found["lr_student"].popitem(),
        lambda found: found["lr_student"].update({next(iter(found["lr_student"])): [0.5]}),
        lambda found: found["lr_student"].update({next(iter(found["lr_student"])): [0.5, "much"]}),
        lambda found: found["lr_student"].update({next(iter(found["lr_student"])): None}),
    ],
)
def test_values_that_someone_damaged_are_told(tiny_run: TinyRun, tmp_path: Path, damage: object) -> None:
    fold = tmp_path / "fold-0"
    shutil.copytree(tiny_run.folder / "fold-0/linear_heads", fold / "linear_heads")
    document = json.loads((tmp_path / HEADS).read_text())
    slide_ids = list(document["lr_student"])
    damage(document)  # type: ignore[operator]
    (tmp_path / HEADS).write_text(json.dumps(document))
    with pytest.raises(FormatError, match="linear_heads"):
        read_linear_heads(fold, slide_ids)


def test_a_head_that_cannot_be_fitted_is_none(tmp_path: Path) -> None:
    (tmp_path / HEADS).parent.mkdir(parents=True)
    (tmp_path / HEADS).write_text(json.dumps(dict.fromkeys(ARMS)))
    assert read_linear_heads(tmp_path / "fold-0", ["a"]) == dict.fromkeys(ARMS)


@pytest.mark.parametrize(
    ("own", "head", "found"),
    [
        (0.8, {"auroc": 0.815}, 0.815),
        (0.8, {"auroc": 0.809}, None),
        (0.8, {"auroc": 0.7}, None),
        (0.8, {"auroc": None}, None),
        (None, {"auroc": 0.9}, None),
        (0.8, None, None),
    ],
)
def test_an_arm_loses_to_its_head_by_more_than_a_hundredth(
    own: float | None, head: dict[str, float | None] | None, found: float | None
) -> None:
    assert below_linear_head({"lr_student": {"auroc": own, "linear_head": head}}, "lr_student", "auroc") == found
    assert below_linear_head({"lr_student": {"auroc": own}}, "lr_student", "auroc") is None, "earlier versions"


def go_on(tiny_run: TinyRun, run: Path) -> list[str]:
    """Train again; the messages about linear heads."""
    steps = train_steps(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
    return [step.message for step in steps if step.job == ("fold-0", "linear heads") and step.message]


@pytest.mark.long
def test_its_constants_are_among_the_inputs(tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    before = stamp_of(run / HEADS)
    assert not go_on(tiny_run, run) and stamp_of(run / HEADS) == before
    for name in ("INVERSE_PENALTY", "MAX_ITERATIONS"):
        monkeypatch.setattr(f"lrmil.tasks.linear_head.{name}", 7)
        (said,) = go_on(tiny_run, run)
        assert "linear head" in said and stamp_of(run / HEADS) != before
        before = stamp_of(run / HEADS)


@pytest.mark.long
def test_why_none_can_be_fitted_is_among_the_figures(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    monkeypatch.setattr(Classification, "linear_problem", lambda *_: "there is no slide of a class to learn from")
    go_on(tiny_run, run)
    figures = json.loads((run / "metrics.json").read_text())
    for arm in ARMS:
        assert figures[arm]["linear_head"] is None
        assert figures[arm]["linear_head_reason"] == "in fold-0, there is no slide of a class to learn from"
    assert json.loads((run / HEADS).read_text()) == dict.fromkeys(ARMS)
