"""Every reason that an answer can have is said in words."""

from lrmil.models import familiarity
from lrmil.prediction.doubts import doubts_in_words, status_in_words, threshold_in_words
from lrmil.tasks import decision
from lrmil.tasks.classification import Classification

TASK = Classification(("no", "yes"))


def test_every_reason_has_words() -> None:
    reasons = [decision.LOW, decision.SEVERAL, decision.NONE, decision.RISK, *familiarity.WORDS]
    words = [doubts_in_words([reason], TASK) for reason in reasons]
    assert len(set(words)) == len(reasons) and not set(words) & set(reasons)
    assert doubts_in_words(reasons[:2], TASK) == f"{words[0]}; {words[1]}" and doubts_in_words([], TASK) == ""


def test_a_reason_of_a_later_version_is_given_as_it_is() -> None:
    assert doubts_in_words(["moonlight", decision.RISK], TASK) == "moonlight; such answers are wrong too often"


def test_an_uncertain_answer_of_an_earlier_version_has_no_reasons_and_no_colon() -> None:
    assert status_in_words("uncertain", [], TASK) == "uncertain" and status_in_words("ok", [], TASK) == "ok"
    assert status_in_words("uncertain", [decision.RISK], TASK) == "uncertain: such answers are wrong too often"


def test_the_positive_class_is_named_with_its_threshold() -> None:
    assert threshold_in_words(0.4123, TASK) == "'yes' is the answer from a probability of 41.2 % on"
    assert threshold_in_words(0.0, TASK) and threshold_in_words(None, TASK) == ""
