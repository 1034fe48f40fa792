"""A review that is taken back counts nowhere, the log only grows, and the review before it counts again."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import ConfigError
from lrmil.reviews.lines import line_of
from lrmil.reviews.log import Review, append_review, latest_reviews, read_reviews
from lrmil.reviews.several import read_logs
from lrmil.reviews.withdrawals import standing, withdrawal_of
from support.paths import FORMATS
from support.reviewing import histories
from support.reviews import entry

FIRST = entry(time="2026-01-01T00:00:00+00:00")
SECOND = entry(time="2026-01-01T00:01:00+00:00", decision="override", human_label="no", reviewer="")


def test_the_review_before_counts_again_and_the_log_only_grows(tmp_path: Path) -> None:
    log = tmp_path / "log"
    append_review(log, FIRST)
    append_review(log, SECOND)
    before = log.read_bytes()
    append_review(log, withdrawal_of(SECOND))
    assert log.read_bytes().startswith(before) and b"lrmil.review/2" in log.read_bytes()
    found = read_reviews(log)
    assert not found.unreadable and len(found.reviews) == 3
    assert latest_reviews(found.reviews) == {FIRST.key: FIRST}
    assert [said.review for said in read_logs(log).entries] == [FIRST]
    append_review(log, SECOND)  # decided again within the second
    assert latest_reviews(read_reviews(log).reviews) == {FIRST.key: SECOND}


def test_copies_in_other_logs_are_taken_back_too(tmp_path: Path) -> None:
    logs = [tmp_path / "copied-before", tmp_path / "log"]
    for log in logs:
        append_review(log, FIRST)
        append_review(log, SECOND)
    append_review(logs[0], entry(slide_fingerprint="f2", slide_id="b"))  # it went on too
    append_review(logs[1], withdrawal_of(SECOND))
    said = [one.review for one in read_logs(logs).entries]
    assert said.count(FIRST) == 2 and SECOND not in said


@given(st.lists(histories(), max_size=8), st.data())
def test_only_the_reviews_that_are_named_are_lost(history: list[Review], data: st.DataObject) -> None:
    reviews = [one for one in history if one.event == "review"]
    if not reviews:
        assert standing(history) == history
        return
    gone = data.draw(st.sampled_from(reviews))
    about = ("slide_id", "slide_fingerprint", "bundle_sha256", "reviewer", "decision", "human_label", "time", "event")
    alike = [one for one in history if all(getattr(one, name) == getattr(gone, name) for name in about)]
    assert standing([*history, withdrawal_of(gone)]) == [one for one in history if one not in alike]
    assert standing([withdrawal_of(gone), *history]) == history, "what comes later stands"


def test_a_withdrawal_names_a_review() -> None:
    for changes in ({"withdraws": ""}, {"event": "review"}, {"withdraws": "yesterday"}):
        with pytest.raises(ConfigError, match="withdrawal"):
            entry(**{"event": "withdraw", "withdraws": FIRST.time, **changes})
    with pytest.raises(ConfigError, match="decision"):
        withdrawal_of(entry(event="read", decision=None))


def test_the_sample_of_the_format_is_read() -> None:
    found = read_reviews(FORMATS / "review-2" / "reviews.jsonl")
    assert [one.event for one in found.reviews] == ["review", "review", "withdraw"] and not found.unreadable
    (latest,) = latest_reviews(found.reviews).values()
    assert latest == found.reviews[0] and latest.decision == "agree"
    assert "withdraws" not in line_of(latest)
