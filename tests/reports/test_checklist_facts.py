"""Facts for checklists: those that a card states, and none that it does not."""

from dataclasses import replace

import pytest

from lrmil.models.card import ModelCard
from lrmil.reports.checklist_facts import checklist_facts
from lrmil.reports.model_facts import model_facts
from lrmil.tasks.classification import Classification

BARE = ModelCard(Classification(("no", "yes")), 2.0, 256, {}, {}, "MIT", "ab" * 32)
OWN = {"Settings", "Rare classes", "Evaluation", "Intervals", "Test slides by class", "Partitions"}


def test_a_bare_card_has_no_fact_that_it_does_not_state() -> None:
    facts = checklist_facts(BARE)
    assert not OWN & facts.keys() and "not recorded" not in facts.values()
    assert facts["Output"] == "class probabilities: no, yes" and facts["Licence"] == "MIT"
    assert {name: facts[name] for name in facts if name != "Output"}.items() <= model_facts(BARE).items()


def test_what_a_training_states_is_said() -> None:
    settings = {"folds": 5, "seed": 0, "mil": {"head": "abmil", "balance": "auto"}, "stage1": {"fit": {"steps": 3000}}}
    student = {"auroc_by_fold": {"fold-0": 0.9, "fold-1": None}, "auroc_ci": [0.8, 0.9], "confusion": [[3, 1], [0, 6]]}
    training = {"settings": settings, "settings_sha256": "cd" * 32}
    facts = checklist_facts(replace(BARE, training=training, metrics={"lr_student": student}))
    assert facts["Settings"] == "folds = 5, seed = 0, stage1.fit.steps = 3000, mil.head = abmil"
    assert facts["Rare classes"] == "mil.balance = auto" and "2 folds" in facts["Evaluation"]
    assert (
        facts["Test slides by class"] == "no 4, yes 6"
        and "case" in facts["Partitions"]
        and "95 %" in facts["Intervals"]
    )
    one = {**student, "auroc_by_fold": {"fold-0": 0.9}, "auroc_ci": None}
    facts = checklist_facts(replace(BARE, metrics={"lr_student": one}))
    assert "one split" in facts["Evaluation"] and not {"Intervals", "Partitions", "Settings"} & facts.keys()


@pytest.mark.parametrize("odd", [None, 3, "x", [], {}, [["a"]], [[1, 2]], [[1, True], [0, 1]]], ids=str)
def test_what_has_another_form_is_left_out(odd: object) -> None:
    student = {"auroc_by_fold": odd, "auroc_ci": None, "confusion": odd}
    facts = checklist_facts(replace(BARE, training={"settings": odd}, metrics={"lr_student": student}))
    assert not OWN & facts.keys()
    assert not OWN & checklist_facts(replace(BARE, metrics={"lr_student": odd})).keys()
