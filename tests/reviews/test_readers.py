"""Who said what: readers over several logs, answers before the output, and what became of them."""

from statistics import quantiles

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.reviews.log import Review
from lrmil.reviews.readers import (
    Reader,
    Seconds,
    Switches,
    first_answers,
    newest_reviews,
    reader_of,
    seconds_of,
    switches_of,
    without_repeats,
)
from lrmil.reviews.several import Said
from support.reviewing import logs_of
from support.reviews import entry


def said(*reviews: Review, log: str = "log") -> list[Said]:
    return [Said(log, line, review) for line, review in enumerate(reviews)]


def answer(minute: int, label: str, **changes: object) -> Review:
    values = {"event": "read", "decision": None, "human_label": label, "human_first": True, "reviewer": "r"}
    return entry(time=f"2026-01-01T00:{minute:02}:00+00:00", **(values | changes))


def review(minute: int, label: str, **changes: object) -> Review:
    decision = {"yes": "agree", "": "uncertain"}.get(label, "override")
    values = {"decision": decision, "human_label": label, "human_first": True, "reviewer": "r"}
    return entry(time=f"2026-01-01T00:{minute:02}:00+00:00", **(values | changes))


def test_a_name_is_one_reader_and_no_name_is_one_in_each_log() -> None:
    named, unnamed = entry(reviewer="r"), entry()
    assert reader_of(Said("x", 0, named)) == reader_of(Said("y", 0, named)) == Reader("r")
    assert reader_of(Said("x", 0, unnamed)) != reader_of(Said("y", 0, unnamed))
    assert Reader("r").title == "r" and Reader("", "y").title == "unnamed in y"


def test_logs_that_go_on_from_one_have_its_entries_once() -> None:
    base, one, other = review(1, "yes", reviewer=""), review(2, "no", reviewer=""), review(3, "no", reviewer="")
    entries = without_repeats([*said(base, one, log="x"), *said(base, other, log="y")])
    assert [(found.log, found.review) for found in entries] == [("x", base), ("x", one), ("y", other)]


@given(logs_of(6, 6))
def test_newest_reviews_are_those_of_a_plain_loop(logs: list[list[Review]]) -> None:
    entries = [one for number, log in enumerate(logs) for one in said(*log, log=str(number))]
    expected: dict[object, Said] = {}
    for one in sorted(entries, key=lambda one: (one.review.time, one.line, one.log)):
        if one.review.event == "review":
            slide = one.review.slide_fingerprint or f"named {one.review.slide_id}"
            expected[slide, one.review.bundle_sha256, one.review.reviewer or one.log] = one
    assert sorted(newest_reviews(entries)) == sorted(expected.values(), key=lambda one: (one.log, one.line))


def test_the_first_answer_counts_and_only_one_given_unseen() -> None:
    entries = said(answer(3, "no"), answer(2, "yes"), answer(1, "no", human_first=False), answer(0, "no", reviewer="s"))
    found = first_answers(entries)
    assert {(reader.name, one.review.human_label) for (_, reader), one in found.items()} == {("r", "yes"), ("s", "no")}


@pytest.mark.parametrize(
    ("before", "after", "expected"),  # the model says yes
    [
        ("no", "no", Switches(1, 0, 0, 0, 0, 0.0, 0)),
        ("no", "yes", Switches(1, 1, 1, 0, 0, 1.0, 0)),
        ("yes", "no", Switches(1, 1, 0, 1, 0, 1.0, 0)),
        ("yes", "yes", Switches(1, 0, 0, 0, 0, 0.0, 0)),
        ("no", "maybe", Switches(1, 1, 0, 0, 0, 1.0, 0)),
        ("no", "", Switches(1, 0, 0, 0, 1, 0.0, 0)),
    ],
)
def test_what_became_of_an_answer(before: str, after: str, expected: Switches) -> None:
    entries = said(answer(1, before), review(2, after))
    assert switches_of(newest_reviews(entries), first_answers(entries)) == expected


def test_an_answer_that_is_not_there_or_of_another_is_not_made_up() -> None:
    entries = said(
        review(2, "no"),
        answer(3, "yes"),  # after the review
        answer(1, "yes", slide_fingerprint="f2"),
        answer(1, "yes", reviewer="s"),
        review(4, "no", slide_fingerprint="f3", human_first=False),
    )
    assert switches_of(newest_reviews(entries), first_answers(entries)) == Switches(0, 0, 0, 0, 0, None, 1)


@given(st.lists(st.none() | st.floats(0, 1e6), max_size=8))
def test_seconds_are_quartiles_of_those_that_are_measured(seconds: list[float | None]) -> None:
    found = seconds_of(said(*(review(1, "yes", seconds_viewed=one) for one in seconds)))
    known = [one for one in seconds if one is not None]
    if not known:
        assert found == Seconds(0, None, None, None)
    elif len(known) == 1:
        assert found == Seconds(1, *known * 3)
    else:
        assert (found.lower, found.median, found.upper) == pytest.approx(quantiles(known, n=4, method="inclusive"))
