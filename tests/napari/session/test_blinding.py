"""The read-first rule by itself: no path shows an output that the reader asked to have hidden."""

from typing import Literal, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_lrmil.session.blinding import (
    Blinding,
    decide,
    may_see,
    reveal,
    set_read_first,
    show_slide,
    was_read_first,
)
from support.reviews import entry

Action = Literal["show", "close", "on", "off", "record", "change reader", "reveal"]
SLIDES = st.sampled_from(["a", "b", "c"])
NOBODY: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    ("read_first", "recorded", "expected"),
    [(False, set(), True), (False, {"a"}, True), (True, {"a"}, True), (True, {"b"}, False), (True, set(), False)],
)
def test_a_reader_sees_what_they_have_a_record_of_or_did_not_ask_to_hide(
    read_first: bool, recorded: set[str], expected: bool
) -> None:
    assert may_see("a", recorded, read_first=read_first) is expected
    shown = show_slide(Blinding(read_first=read_first), "a", recorded, complete=True, now=1.0)
    assert shown.revealed is expected and shown.seen is expected


def test_without_a_slide_nothing_is_hidden() -> None:
    hidden = show_slide(Blinding(read_first=True), "a", NOBODY, complete=True, now=1.0)
    assert not hidden.revealed
    closed = show_slide(hidden, None, NOBODY, complete=False, now=2.0)
    assert closed.revealed and not closed.seen and closed.seen_slides == NOBODY


def test_a_slide_without_a_hash_is_hidden_as_any_other() -> None:
    assert not show_slide(Blinding(read_first=True), "", NOBODY, complete=True, now=1.0).revealed


def test_the_time_of_viewing_begins_with_each_slide_its_end_and_its_reveal() -> None:
    shown = show_slide(Blinding(), "a", NOBODY, complete=False, now=1.0)
    assert shown.changed_at == 1.0
    shown = show_slide(shown, "a", NOBODY, complete=False, now=2.0)
    assert shown.changed_at == 1.0, "another part of the same prediction"
    shown = show_slide(shown, "a", NOBODY, complete=True, now=3.0)
    assert shown.changed_at == 3.0
    hidden = set_read_first(shown, NOBODY, read_first=True, now=4.0)
    assert not hidden.revealed and hidden.changed_at == 4.0
    assert reveal(hidden, now=5.0).changed_at == 5.0 and reveal(shown, now=5.0) == shown


def test_what_was_seen_once_stays_seen() -> None:
    seen = show_slide(Blinding(), "a", NOBODY, complete=True, now=1.0)
    hidden = set_read_first(seen, NOBODY, read_first=True, now=2.0)
    other = show_slide(hidden, "b", NOBODY, complete=True, now=3.0)
    assert not other.seen and not other.revealed
    again = show_slide(other, "a", NOBODY, complete=True, now=4.0)
    assert again.seen and not again.revealed


READ = {"event": "read", "decision": None, "human_first": True, "slide_fingerprint": "a", "reviewer": "AB"}


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, True),
        ({"human_first": False}, False),
        ({"event": "review", "decision": "agree"}, False),
        ({"reviewer": "CD"}, False),
        ({"slide_fingerprint": "b"}, False),
    ],
    ids=str,
)
def test_a_label_counts_as_read_first_for_its_slide_and_its_reader(change: dict[str, object], expected: bool) -> None:
    others = [entry(reviewer="AB"), entry(**READ | {"reviewer": ""})]
    assert was_read_first("a", "AB", [*others, entry(**READ | change)]) is expected
    assert not was_read_first("a", "AB", others)


@given(st.lists(st.tuples(st.sampled_from(get_args(Action)), SLIDES, st.booleans()), max_size=30))
def test_in_any_order_of_actions_only_a_record_or_the_reader_lifts_the_rule(
    actions: list[tuple[Action, str, bool]],
) -> None:
    state, reader, records = Blinding(), "one", {"one": set[str](), "two": set[str]()}
    lifted, ever_visible = False, set[str]()
    for now, (action, slide, complete) in enumerate(actions):
        if action == "show":
            state = show_slide(state, slide, records[reader], complete=complete, now=now)
        elif action == "close":
            state = show_slide(state, None, records[reader], complete=False, now=now)
        elif action in ("on", "off"):
            state = set_read_first(state, records[reader], read_first=action == "on", now=now)
        elif action == "record":
            records[reader].add(slide)
            state = decide(state, records[reader], now=now)
        elif action == "change reader":
            reader = "two" if reader == "one" else "one"
            state = decide(state, records[reader], now=now)
        else:
            state = reveal(state, now=now)
        lifted = action == "reveal"
        allowed = not state.read_first or state.fingerprint is None or state.fingerprint in records[reader] or lifted
        assert state.revealed == allowed
        if state.revealed and state.fingerprint is not None:
            ever_visible.add(state.fingerprint)
        assert state.seen_slides == ever_visible and state.changed_at <= now
