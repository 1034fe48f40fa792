"""A member with keyed hashes is read if it is sound, and its hashes depend on key, kind and text."""

from dataclasses import dataclass

import pytest
from pydantic import TypeAdapter, ValidationError

from lrmil.errors import FormatError
from lrmil.models.keyed_hashes import DIGITS, Hash, Key, find_member, keyed_hash, new_key

KEY = new_key("member", "origin")


@dataclass(frozen=True)
class Kept:
    key: Key
    names: tuple[Hash, ...]


def test_a_member_is_found_with_its_type() -> None:
    found = Kept(KEY, (keyed_hash(KEY, "slide", "a"),))
    document = {"member": {"key": found.key, "names": list(found.names)}}
    assert find_member(document, "member", Kept) == found
    assert find_member(document, "another", Kept) is find_member({"member": None}, "member", Kept) is None


@pytest.mark.parametrize(
    "member", [[], "", {"key": KEY}, {"key": KEY[1:], "names": []}, {"key": KEY, "names": ["ab"]}], ids=str
)
def test_a_damaged_member_is_refused(member: object) -> None:
    with pytest.raises(FormatError):
        find_member({"member": member}, "member", Kept)


def test_another_key_kind_or_text_gives_another_hash() -> None:
    one = keyed_hash(KEY, "slide", "a")
    others = {keyed_hash(new_key("another", "origin"), "slide", "a"), keyed_hash(new_key("member", 0), "slide", "a")}
    assert len(others | {one, keyed_hash(KEY, "case", "a"), keyed_hash(KEY, "slide", "b")}) == 5
    assert one == keyed_hash(new_key("member", "origin"), "slide", "a")


@pytest.mark.parametrize("text", ["", "0" * (DIGITS - 1), "0" * (DIGITS + 1), "G" * DIGITS, "0" * DIGITS + "\n"])
def test_only_a_hash_has_the_form_of_one(text: str) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(Hash).validate_python(text)
