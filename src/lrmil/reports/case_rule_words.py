"""Say by which rule the slides of a patient were answered as one, and why."""

from collections.abc import Mapping
from typing import Any

from lrmil.runs.case_rules import NAME as CASE_RULE
from lrmil.tasks.case_rule import RULE_WORDS

EARLIER = "By patient: what an arm says of the slides of a patient is averaged first."


def case_rule_words(figures: Mapping[str, Any]) -> str:
    """Return sentences on the rule of each fold of a run.

    Parameters
    ----------
    figures
        Content of metrics.json; earlier versions averaged probabilities, and state no rule.
    """
    if CASE_RULE not in figures:
        return EARLIER
    folds: dict[tuple[str, str], list[str]] = {}
    for fold, chosen in figures[CASE_RULE].items():
        folds.setdefault((RULE_WORDS[chosen["rule"]], str(chosen["reason"])), []).append(fold)
    return "By patient: one answer is made of the slides of a patient. " + " ".join(
        f"In {', '.join(names)} it is the {words}, because {reason}." for (words, reason), names in folds.items()
    )
