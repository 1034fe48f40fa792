"""A model knows again what it learned from, and names none of it."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import FormatError
from lrmil.models import learned_from
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import read_model_card
from lrmil.models.learned_from import MEMBER, SEEN, LearnedFrom, keep_hashes, seen_note
from support.models import rewrite
from support.runs import tiny_bundle

FINGERPRINTS, CASES = ["ab" * 32, "cd" * 32], ["case 7", "Zoë"]
names = st.lists(st.text(), max_size=5, unique=True)


def kept() -> LearnedFrom:
    found = keep_hashes(FINGERPRINTS, CASES, "origin")
    assert found is not None
    return found


@given(names, names, names)
def test_what_was_learned_from_is_known_again_and_nothing_else(
    slides: list[str], cases: list[str], new: list[str]
) -> None:
    found = keep_hashes(slides, cases, ["origin"])
    assert found is not None
    for name in {*slides, *cases, *new}:
        assert found.has_slide(name) == (name in slides) and found.has_case(name) == (name in cases)


def test_nothing_can_be_read() -> None:
    text = json.dumps(kept().to_dict())
    assert not any(name in text for name in (*FINGERPRINTS, *CASES, "Zo", "abab"))


def test_the_key_follows_from_the_training_alone() -> None:
    assert kept() == keep_hashes(FINGERPRINTS[::-1], CASES, "origin")
    other = keep_hashes(FINGERPRINTS, CASES, "another")
    assert other is not None and other.key != kept().key and not {*other.slides} & {*kept().slides}


def test_a_note_where_it_is_known() -> None:
    assert seen_note(kept(), FINGERPRINTS[0]) == (SEEN,)
    assert seen_note(kept(), "ef" * 32) == seen_note(None, FINGERPRINTS[0]) == ()


def test_too_many_slides_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learned_from, "MAX_HASHES", 1)
    assert keep_hashes(FINGERPRINTS[:1], CASES[:1], "") is not None and keep_hashes(FINGERPRINTS, [], "") is None


def test_a_model_folder_keeps_it(tmp_path: Path) -> None:
    bundle = tiny_bundle()
    save_bundle(tmp_path / "without", bundle)
    assert load_bundle(tmp_path / "without").learned_from is None
    assert MEMBER not in json.loads((tmp_path / "without/bundle.json").read_text())
    rewrite(tmp_path / "without", lambda document: document.update({MEMBER: kept().to_dict()}))
    assert load_bundle(tmp_path / "without").learned_from == kept()
    assert read_model_card(tmp_path / "without").learned_from == kept()
    save_bundle(tmp_path / "again", load_bundle(tmp_path / "without"))
    assert load_bundle(tmp_path / "again").learned_from == kept()


@pytest.mark.parametrize(
    "change",
    [{"key": "zz" * 16}, {"key": "ab"}, {"slides": ["a"]}, {"cases": [3]}, {"slides": None}, {"more": 1}],
    ids=str,
)
def test_a_damaged_one_is_refused(tmp_path: Path, change: dict[str, object]) -> None:
    save_bundle(tmp_path / "model", tiny_bundle())
    rewrite(tmp_path / "model", lambda document: document.update({MEMBER: kept().to_dict() | change}))
    with pytest.raises(FormatError):
        read_model_card(tmp_path / "model")
