"""The rule of a fold is chosen on answers of slides that its MIL has not seen, where there are enough cases."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lrmil.configs import TrainConfig
from lrmil.errors import ConfigError, FormatError
from lrmil.runs.calibration import read_calibration
from lrmil.runs.case_rules import MIN_CASES, MIN_OF_CLASS, FoldRule, case_rule_of, require_case_rule, rules_by_case
from lrmil.runs.fold_task import FoldTask
from lrmil.tasks.case_rule import pool_probabilities
from lrmil.tasks.classification import Classification
from support.folds import make_fold


def values(rng: np.random.Generator, label: int, arm: str) -> NDArray[np.float64]:
    return rng.normal(size=(1, 3))


@pytest.fixture(scope="module")
def fold(tmp_path_factory: pytest.TempPathFactory) -> FoldTask:
    return make_fold(tmp_path_factory.mktemp("fold"), values, cases=2)


def cohort(fold: FoldTask, run: Path, logits: dict[str, list[float]], **settings: object) -> FoldTask:
    """A fold of cases p0, p1, ..., positive where odd, whose slides were answered with log odds of the positive class.

    Name of a case -> log odds of its slides.
    """
    case_of = {f"{case}-{number}": case for case, odds in logits.items() for number in range(len(odds))}
    labels = {slide_id: int(case[1:]) % 2 for slide_id, case in case_of.items()}
    answers = {f"{case}-{number}": [0.0, one] for case, odds in logits.items() for number, one in enumerate(odds)}
    (run / "fold-0/calibration").mkdir(parents=True)
    document = {"logits": answers, "folds": 3, "reason": ""}
    (run / "fold-0/calibration/answers.json").write_text(json.dumps(document))
    strata = {slide_id: f"class {label}" for slide_id, label in labels.items()}
    config = replace(fold.config, **settings)  # type: ignore[arg-type]
    return replace(fold, run=run, cases=case_of, labels=labels, strata=strata, config=config)


def one_positive_slide(cases: int = 2 * MIN_CASES) -> dict[str, list[float]]:
    """Cases of five slides; a positive one shows it in one of them alone."""
    rng = np.random.default_rng(0)
    found = {}
    for number in range(cases):
        odds = rng.normal(-2, 0.5, size=5)
        if number % 2:
            odds[rng.integers(5)] = rng.normal(2, 0.5)
        found[f"p{number}"] = odds.tolist()
    return found


def every_slide(cases: int = 2 * MIN_CASES) -> dict[str, list[float]]:
    """Cases of five slides that all show the class, with noise: their mean is the best guess."""
    rng = np.random.default_rng(1)
    return {f"p{number}": rng.normal(0.6 if number % 2 else -0.6, 1.5, size=5).tolist() for number in range(cases)}


def test_the_rule_follows_where_the_class_shows(fold: FoldTask, tmp_path: Path) -> None:
    alone = case_rule_of(cohort(fold, tmp_path / "alone", one_positive_slide()))
    all_show = case_rule_of(cohort(fold, tmp_path / "all", every_slide()))
    assert alone.rule == "max" and all_show.rule == "mean"
    for found in (alone, all_show):
        assert found.cases == 2 * MIN_CASES and found.losses.keys() == {"mean", "max", "noisy-or"}
        assert found.losses[found.rule] == min(found.losses.values())
        assert found.to_dict()["rule"] == found.rule and "lowest loss on 40 cases" in found.reason


def test_the_losses_are_the_log_losses_of_calibrated_cases(fold: FoldTask, tmp_path: Path) -> None:
    logits = every_slide()
    task = cohort(fold, tmp_path, logits)
    fitted = read_calibration(task).calibration
    assert fitted is not None
    for rule, loss in case_rule_of(task).losses.items():
        naive = 0.0
        for case, odds in logits.items():
            positive = [1 / (1 + math.exp(-fitted.slopes[1] * one - fitted.offsets[1])) for one in odds]
            pooled = pool_probabilities(np.array([[1 - one, one] for one in positive]), rule)  # type: ignore[arg-type]
            naive -= math.log(pooled[int(case[1:]) % 2]) / len(logits)
        assert loss == pytest.approx(naive, rel=1e-6)


def test_cases_of_one_slide_or_of_two_labels_have_no_say(fold: FoldTask, tmp_path: Path) -> None:
    logits = one_positive_slide(MIN_CASES)
    logits |= {f"p{number}": [0.1] for number in range(100, 140)}
    task = cohort(fold, tmp_path, logits)
    found = case_rule_of(task)
    assert found.cases == MIN_CASES and found.rule == "max"
    mixed = replace(task, labels={**task.labels, "p1-0": 0})
    few = case_rule_of(mixed)
    assert few.rule == "mean" and not few.losses and "there are 10 of class 0, 9 of class 1" in few.reason


def test_too_few_cases_of_a_class_have_the_mean(fold: FoldTask, tmp_path: Path) -> None:
    logits = one_positive_slide(100)
    positive = [case for case in logits if int(case[1:]) % 2]
    for case in positive[MIN_OF_CLASS - 1 :]:
        del logits[case]
    found = case_rule_of(cohort(fold, tmp_path, logits))
    assert found.rule == "mean" and "50 of class 0, 4 of class 1" in found.reason


def test_without_a_calibration_it_is_the_mean(fold: FoldTask, tmp_path: Path) -> None:
    upside_down = {case: [-one for one in odds] for case, odds in every_slide().items()}
    found = case_rule_of(cohort(fold, tmp_path / "down", upside_down))
    assert found == FoldRule("mean", f"nothing is calibrated: {read_reason(fold, tmp_path / 'down')}")
    nothing = case_rule_of(cohort(fold, tmp_path / "nothing", {}))
    assert nothing.rule == "mean" and nothing.reason.startswith("nothing is calibrated")


def read_reason(fold: FoldTask, run: Path) -> str:
    answers = json.loads((run / "fold-0/calibration/answers.json").read_text())["logits"]
    labels = {slide_id: int(slide_id[1:].split("-")[0]) % 2 for slide_id in answers}
    return read_calibration(replace(fold, run=run, labels=labels)).reason


def test_a_rule_that_is_set_needs_no_answers(fold: FoldTask, tmp_path: Path) -> None:
    task = replace(fold, run=tmp_path, config=replace(fold.config, case_rule="noisy-or"))
    assert case_rule_of(task) == FoldRule("noisy-or", "the settings say so")
    three = replace(fold, run=tmp_path, predicts=Classification(("a", "b", "c")))
    assert case_rule_of(three).rule == "mean" and "no other rule" in case_rule_of(three).reason
    with pytest.raises(FormatError):
        case_rule_of(replace(fold, run=tmp_path))


def test_a_rule_for_two_classes_is_refused_for_three() -> None:
    for rule in ("max", "noisy-or"):
        with pytest.raises(ConfigError, match="case_rule among auto, mean for a, b, c"):
            require_case_rule(TrainConfig(case_rule=rule), Classification(("a", "b", "c")))  # type: ignore[arg-type]
    for rule in ("auto", "mean"):
        require_case_rule(TrainConfig(case_rule=rule), Classification(("a", "b", "c")))  # type: ignore[arg-type]


def test_each_case_has_the_rule_of_its_fold() -> None:
    rules = {"fold-0": FoldRule("max", ""), "fold-1": FoldRule("mean", ""), "final": FoldRule("noisy-or", "")}
    tested = [("fold-0", "a"), ("fold-0", "b"), ("fold-1", "c")]
    assert rules_by_case(rules, tested, {"a": "p", "b": "p", "c": "q"}) == {"p": "max", "q": "mean"}
