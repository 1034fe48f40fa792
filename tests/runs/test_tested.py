"""Whether the figures are those of the shipped model: as its provenance states, or where a run's own figures tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.models.card import ModelCard
from lrmil.reports.model_facts import model_facts
from lrmil.runs.tested import TESTED, Measurement, measurement_of
from lrmil.tasks.classification import Classification

TASK = Classification(("no", "yes"))


def figures(tested: int, trained: tuple[str, ...] | None) -> dict[str, object]:
    student = {"n_slides": 40, "n_cases": 31, "auroc_by_fold": {f"fold-{n}": 0.9 for n in range(tested)}}
    return {"lr_student": student} | ({} if trained is None else {"evidence": {fold: {} for fold in trained}})


def test_folds_with_a_model_of_their_own_are_siblings() -> None:
    found = measurement_of({}, figures(3, ("fold-0", "fold-1", "fold-2", "final")), TASK)
    assert found == Measurement(this_model=False, models=3, slides=40, cases=31)
    assert "3 sibling models" in found.sentence and "--test-fraction" in found.sentence


def test_the_only_trained_fold_is_the_model_that_was_tested() -> None:
    found = measurement_of({}, figures(1, ("fold-0",)), TASK)
    assert found == Measurement(this_model=True, models=1, slides=40, cases=31)
    assert "This very model was tested on 40 slides of 31 cases" in found.sentence


def test_figures_of_earlier_versions_tell_it_only_where_it_is_certain() -> None:
    assert measurement_of({}, figures(1, None), TASK) is None  # another model may have been trained on all slides
    several = measurement_of({}, figures(2, None), TASK)
    assert several is not None and not several.this_model


def test_what_the_provenance_states_goes_first() -> None:
    stated = {"this_model": False, "models": 5, "slides": 90, "cases": 70}
    found = measurement_of({TESTED: stated}, figures(1, ("fold-0",)), TASK)
    assert found == Measurement(this_model=False, models=5, slides=90, cases=70)
    card = ModelCard(TASK, 2.0, 256, {TESTED: stated}, {}, "MIT", "ab" * 32)
    assert "5 sibling models" in model_facts(card)["Tested"]


@pytest.mark.parametrize("strange", [3, None, {}, {"this_model": "yes", "models": 1, "slides": 1, "cases": 1}])
def test_a_strange_statement_is_not_recorded(strange: object) -> None:
    card = ModelCard(TASK, 2.0, 256, {TESTED: strange}, figures(1, ("fold-0",)), "MIT", "ab" * 32)
    assert model_facts(card)["Tested"] == "not recorded"


@given(st.dictionaries(st.sampled_from(["lr_student", "evidence"]), st.none() | st.integers() | st.text(max_size=3)))
def test_strange_figures_stop_nothing(strange: dict[str, object]) -> None:
    assert measurement_of({}, strange, TASK) is None
