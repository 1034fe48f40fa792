"""The rules of the folds in sentences, equal ones together; nothing is claimed of earlier versions."""

import pytest

from lrmil.reports.case_rule_words import EARLIER, case_rule_words
from lrmil.tasks.case_rule import RULE_WORDS


def test_folds_with_one_rule_and_reason_share_a_sentence() -> None:
    chosen = {"rule": "max", "reason": "of this", "cases": 3, "losses": {}}
    text = case_rule_words({"case_rule": {"fold-0": chosen, "fold-1": {**chosen, "rule": "mean"}, "final": chosen}})
    assert f"In fold-0, final it is the {RULE_WORDS['max']}, because of this." in text
    assert f"In fold-1 it is the {RULE_WORDS['mean']}, because of this." in text
    assert case_rule_words({}) == EARLIER


def test_an_unknown_rule_is_damage() -> None:
    with pytest.raises(KeyError):
        case_rule_words({"case_rule": {"fold-0": {"rule": "median", "reason": ""}}})
