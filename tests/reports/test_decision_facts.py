"""How a model decides is said in words, whatever the maker of the model wrote of its figures."""

from dataclasses import replace

import pytest

from lrmil.models.familiarity import Familiarity, View
from lrmil.operating_point import choose_operating_point
from lrmil.reports.decision_facts import decision_facts, decision_sentences
from lrmil.tasks.classification import Classification
from lrmil.tasks.decision import Decision, PredictionSets, RiskLimit

TASK = Classification(("no", "yes"))
POINT = choose_operating_point("costs=4:1", [0.1, 0.3, 0.6, 0.9], [False, False, True, True])
SETS = PredictionSets(coverage=0.9, limits=(0.2, 0.3), by_class=True, slides=(15, 15))
RISK = RiskLimit(max_risk=0.1, limit=0.8, answered=24, errors=1, slides=30)
COUNTS = {"slides": 9, "uncertain": 2, "reasons": {"risk": 2}, "wrong": 3, "wrong_answered": 1, "in_set": None}


def test_every_part_is_said() -> None:
    decision = Decision(operating_point=POINT, sets=SETS, risk=RISK)
    facts = decision_facts(decision, TASK, {"calibration": {"abstention": COUNTS}})
    assert facts["Operating point"] == (
        "yes from a probability of 0.200 on (costs=4:1); on 4 slides that the attention network had not seen, "
        "sensitivity 1.000 (0.342 to 1.000), specificity 0.500 (0.095 to 0.905)"
    )
    assert facts["Uncertain where"] == (
        "not exactly one class is plausible (sets that cover 90% in each class), or the answer is less sure than "
        "0.800, from where on at most 10% are wrong (1 of 24 were)"
    )
    assert facts["Test, abstention"].startswith("Uncertain: 2 of 9 slides; of the other 7, 1 is answered wrong.")


def test_a_run_says_it_of_each_fold() -> None:
    decision = Decision(operating_point=POINT).to_dict()
    by_fold = {"fold-0": {"decision": decision}, "fold-1": {"decision": None}, "final": {"decision": decision}}
    metrics = {"calibration": {"by_fold": by_fold, "abstention": COUNTS}}
    found = decision_sentences(metrics, TASK)
    assert [line.split(" from")[0] for line in found[:2]] == [
        f"{fold}: operating point yes" for fold in ("fold-0", "final")
    ]
    assert found[2].startswith("Uncertain: 2 of 9") and found[3] == "Why: such answers are wrong too often (2)."
    assert decision_sentences({}, TASK) == decision_sentences({"calibration": {"by_fold": {}}}, TASK) == []


def test_what_a_model_knows_of_slides_is_said() -> None:
    view = View(mean=(0.0,), precision=((1.0,),), limit=1)
    known = Familiarity(colours=view, tissue=view, fewest_patches=7, slides=30)
    (said,) = decision_facts(Decision(), TASK, {}, known).values()
    assert said == (
        "a slide is unlike the 30 that it learned from in colours or tissue, has fewer than 7 patches, or more than 5% "
        "of them could not be read"
    )


def test_what_a_model_does_not_have_is_not_said() -> None:
    assert decision_facts(Decision(), TASK, {}) == {}
    pooled = replace(SETS, by_class=False)
    assert "cover 90% over all classes" in decision_facts(Decision(sets=pooled), TASK, {})["Uncertain where"]


@pytest.mark.parametrize("stated", [None, 3, {}, {"abstention": None}, {"abstention": {**COUNTS, "wrong": "many"}}])
def test_strange_figures_are_left_out(stated: object) -> None:
    assert decision_facts(Decision(), TASK, {"calibration": stated}) == {}
