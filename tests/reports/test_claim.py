"""CLAIM has 44 items since its update of 2024, and all facts that checklists name exist."""

from lrmil.models.card import ModelCard
from lrmil.reports.checklist import Checklist
from lrmil.reports.checklist_facts import checklist_facts
from lrmil.reports.claim import CLAIM
from lrmil.reports.tripod_ai import TRIPOD_AI
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.classification import Classification


def test_every_item_is_there_once_and_in_order() -> None:
    numbers = [item.number for items in CLAIM.sections.values() for item in items]
    assert numbers == [str(number) for number in range(1, 45)] and "2024" in CLAIM.source


def named(of: Checklist) -> set[str]:
    return {fact for items in of.sections.values() for item in items for fact in item.facts}


def test_facts_that_items_name_are_those_of_a_card_that_states_all() -> None:
    """A name with a slip of the pen would never be filled."""
    figures = {"auroc": 0.9, "auroc_ci": [0.8, 0.95], "auroc_by_fold": {"fold-0": 0.9}, "confusion": [[4, 1], [0, 5]]}
    minus = {"lr_undistilled": {"difference": 0.02, "interval": [-0.01, 0.05]}}
    arms = dict.fromkeys(("lr_student", "lr_undistilled", "hr_teacher"), figures)
    terms = {"name": "resnet50", "licence": "MIT", "inherits": None, "gated": None, "hub_id": "", "revision": ""}
    settings = {"encoder": "resnet50", "mil": {"balance": "auto"}, "folds": 5, "finish": {"epochs": 5, "patches": 16}}
    card = ModelCard(
        Classification(("no", "yes")),
        2.0,
        256,
        {"slides": 9, "cases": 9, "date": "2026-01-02", "settings": settings, "settings_sha256": "ab" * 32},
        {**arms, "student_minus": minus, "calibration": {"after": figures}},
        "MIT",
        "ab" * 32,
        terms={role: {**terms, "random": False} for role in ("teacher", "start")},
        calibration=Calibration(slopes=(1.0, 1.0), offsets=(0.0, 0.0), slides=20),
    )
    assert named(CLAIM) | named(TRIPOD_AI) <= checklist_facts(card).keys()
