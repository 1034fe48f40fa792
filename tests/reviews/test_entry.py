"""An entry of the log states what a person can have said, or is not made."""

from dataclasses import asdict, replace

import pytest

from lrmil.errors import ConfigError
from lrmil.reviews.entry import MAX_NOTE, is_utc, now, plain_of
from support.reviews import entry


@pytest.mark.parametrize(
    "changes",
    [
        {"decision": "agree", "human_label": "no"},
        {"decision": "override", "human_label": "yes"},
        {"decision": "override", "human_label": ""},
        {"decision": "uncertain", "human_label": "yes"},
        {"decision": None},
        {"event": "read"},
        {"event": "read", "decision": None, "human_label": ""},
        {"event": "glance"},
        {"output_label": "maybe"},
        {"output_probabilities": {"no": -1.0, "yes": 2.0}},
        {"output_probabilities": {"no": float("nan"), "yes": 1.0}},
        {"seconds_viewed": float("inf")},
        {"seconds_viewed": -1.0},
        {"note": "x" * (MAX_NOTE + 1)},
        {"reviewer": "\ud800"},
        {"time": "2026-01-31T12:00:00+01:00"},
        {"task": "weather"},
    ],
    ids=str,
)
def test_what_contradicts_itself_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match="Expected"):
        entry(**changes)


def test_what_a_person_can_say_is_made() -> None:
    assert entry(decision="override", human_label="no").key == ("f1", "b1")
    assert entry(decision="uncertain", human_label="").human_label == ""
    assert entry(event="read", decision=None, human_label="no", human_first=True).human_first
    assert is_utc(now()) and not is_utc("yesterday")


def test_later_changes_of_what_was_passed_change_nothing() -> None:
    chances = {"no": 0.25, "yes": 0.75}
    made = entry(output_probabilities=chances)
    chances["yes"] = 0.0
    assert made.output_probabilities == {"no": 0.25, "yes": 0.75} and replace(made, note="n").note == "n"


def test_a_classification_is_not_named_in_the_file() -> None:
    plain = plain_of(entry())
    assert "task" not in plain and plain == {
        name: value for name, value in asdict(entry()).items() if name in plain
    } | {"time": plain["time"]}
