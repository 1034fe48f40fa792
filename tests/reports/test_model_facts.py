"""What a model's maker wrote is shown as it is; what is missing or strange is said, and stops nothing."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.models.card import ModelCard
from lrmil.models.heads.kinds import HeadKind, Members
from lrmil.reports.model_facts import model_facts
from lrmil.tasks.classification import Classification

FIGURES = {"auroc": 0.91249, "auroc_ci": [0.85, 0.97], "balanced_accuracy": 0.84, "n_slides": 40, "n_cases": 31}
TRAINING = {
    "head": {"head": "mean", "inner_folds": 4, "losses": {"mean": {"hr_teacher": 0.5}}},
    "slides": 120,
    "cases": 98,
    "date": "2026-01-02",
    "version": "0.1.0",
    "settings": {"encoder": "resnet50", "student_encoder": None},
    "remark": "a remark",
}
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def card(training: dict[str, object], metrics: dict[str, object]) -> ModelCard:
    return ModelCard(Classification(("no", "yes")), 2.0, 256, training, metrics, "MIT", "ab" * 32)


def test_every_part_of_the_card_is_said() -> None:
    facts = model_facts(card(dict(TRAINING), {"hr_teacher": FIGURES, "lr_student": {**FIGURES, "auroc": None}}))
    assert facts["Classes"] == "no, yes" and facts["Reads"] == "256 px patches at 2 um/px"
    assert facts["Trained on"] == "120 slides of 98 cases" and facts["Trained"] == "on 2026-01-02, with version 0.1.0"
    assert facts["Networks"] == "resnet50" and facts["Licence"] == "MIT" and facts["Hash"] == "ab" * 32
    interval = "(95 % interval by patient 0.850 to 0.970), balanced accuracy 0.840; 40 slides of 31 cases"
    assert facts["Test, HR teacher"] == f"AUROC 0.912 {interval}"
    assert facts["Test, LR student"] == f"AUROC not defined {interval}"
    assert facts["Test, LR undistilled (baseline)"] == "not recorded"


def test_calibration_and_differences_are_said_where_the_maker_stated_them() -> None:
    known = {**FIGURES, "brier": 0.12, "ece": None}
    minus = {"lr_undistilled": {"difference": 0.02, "interval": [-0.01, 0.05]}}
    facts = model_facts(card({}, {"lr_student": known, "student_minus": minus}))
    assert "balanced accuracy 0.840, Brier score 0.120, ECE not defined; 40 slides" in facts["Test, LR student"]
    assert "student minus baseline: +0.020" in facts["Test, difference"]
    assert "Test, difference" not in model_facts(card({}, {"lr_student": FIGURES, "student_minus": 3}))


def test_what_stage_1_reached_is_said() -> None:
    match = {"r2": 0.62, "cosine": 0.81, "rank": 33.04}
    fold = {"patches": 40, "distilled": match, "start": {"r2": -3.0, "cosine": 0.1, "rank": None}, "target_rank": 45.0}
    facts = model_facts(card({}, {"stage1": {**fold, "by_fold": {"fold-0": fold}}}))
    assert (
        facts["Stage 1, student"] == "R2 0.620, cosine 0.810, effective rank 33.040" and "Stage 1, remark" not in facts
    )
    assert facts["Stage 1, start"] == "R2 -3.000, cosine 0.100, effective rank not defined"
    poor = fold | {"distilled": match | {"r2": 0.31}}
    assert "fell short" in model_facts(card({}, {"stage1": {**poor, "by_fold": {}}}))["Stage 1, remark"]
    assert model_facts(card({}, {"stage1": {"distilled": match}}))["Stage 1"] == "not recorded"


def test_the_head_is_said_and_why_a_training_chose_it() -> None:
    assert model_facts(card({}, {}))["MIL head"] == "abmil"
    ensemble = HeadKind(head="ensemble", members=Members(head="mean", count=5))
    losses = {head: {"hr_teacher": loss, "lr_undistilled": loss} for head, loss in (("abmil", 0.5), ("mean", 0.25))}
    training = {"head": {"head": "mean", "inner_folds": 4, "reason": "", "losses": losses}}
    facts = model_facts(replace(card(training, {}), head=ensemble))
    assert facts["MIL head"] == "mean, 5 members; loss on slides of 4 inner folds: abmil 0.500, mean 0.250"
    without = {"head": {"head": "abmil", "reason": "inner_folds is 0"}}
    assert model_facts(card(without, {}))["MIL head"] == "abmil; nothing was compared: inner_folds is 0"
    for strange in (3, "mean", {"head": "auto"}, {"head": "mean", "losses": {"mean": {}}}):
        assert model_facts(card({"head": strange}, {}))["MIL head"] == "abmil"


def test_folders_are_cut_off() -> None:
    facts = model_facts(card({"remark": "made from /home/someone/cohort"}, {}))
    assert facts["Remark"] == "made from cohort"


def test_an_empty_card_makes_nothing_up() -> None:
    facts = model_facts(card({}, {}))
    assert list(facts) == [
        "Classes",
        "Reads",
        "MIL head",
        "Answer for a patient",
        "Trained on",
        *(name for name in facts if "Test" in name),
        "Calibration",
        "Stage 1",
        "Licence",
        "Terms of teacher and start",
        "Hash",
    ]
    assert [facts[name] for name in facts if name.startswith("T")] == ["not recorded"] * 6


@pytest.mark.parametrize("figures", [3, "0.9", [], {}, {"auroc": "high", "auroc_ci": [None, {}]}, {"auroc_ci": 1}])
def test_strange_figures_are_not_defined(figures: object) -> None:
    said = model_facts(card({}, {"lr_student": figures}))["Test, LR student"]
    assert said == "not recorded" or said.startswith("AUROC not defined")


@given(
    st.dictionaries(st.sampled_from(sorted(TRAINING)), json_values),
    st.dictionaries(
        st.sampled_from(["hr_teacher", "lr_student", "stage1"]),
        json_values | st.fixed_dictionaries({}, optional=dict.fromkeys(FIGURES, json_values)),
    ),
)
def test_whatever_the_maker_wrote_becomes_text(training: dict[str, object], metrics: dict[str, object]) -> None:
    facts = model_facts(card(training, metrics))
    assert all(isinstance(value, str) for value in facts.values()) and facts["Classes"] == "no, yes"


@pytest.mark.parametrize(
    ("schedule", "said"),
    [
        ("selected", "8 slides of 7 cases, selected on 4 more"),
        ("fixed", "8 slides of 7 cases; the MIL also on 4 validation slides"),
        (None, "8 slides of 7 cases"),
        (["fixed"], "8 slides of 7 cases"),
    ],
)
def test_what_became_of_the_validation_slides_is_said(schedule: object, said: str) -> None:
    training = {"slides": 8, "cases": 7, "validation_slides": 4, "schedule": schedule}
    assert model_facts(card(training, {}))["Trained on"] == said


@pytest.mark.parametrize(("keep", "by"), [(1.0, " by a linear map"), (0.0, ""), (None, "")])
def test_what_stage_1_is_measured_by_is_said(keep: float | None, by: str) -> None:
    match = {"r2": 0.62, "cosine": 0.81, "rank": 33.0}
    fold = {"patches": 40, "distilled": match, "start": match, "target_rank": 45.0}
    training = {"settings": {"stage1": {"lambda_keep": keep}}}
    facts = model_facts(card(training, {"stage1": {**fold, "by_fold": {}}}))
    assert {name for name in facts if name.startswith("Stage 1")} == {f"Stage 1, student{by}", f"Stage 1, start{by}"}


@pytest.mark.parametrize(("epochs", "said"), [(1, "1 epoch on 16 patches"), (2, "2 epochs on 16 patches")])
def test_epochs_of_a_finish_are_counted(epochs: int, said: str) -> None:
    training = {"settings": {"finish": {"epochs": epochs, "patches": 16}}}
    assert model_facts(card(training, {}))["End-to-end finish"].startswith(said)
