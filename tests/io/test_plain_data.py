"""Plain data as typed values: strict, and in short messages."""

import math
from dataclasses import asdict, dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import TypeAdapter, with_config

from lrmil.errors import FormatError
from lrmil.io.plain_data import CLOSED, Number, Text, Whole, parse_plain


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class Facts:
    name: Text
    count: Whole
    size: Number
    corner: tuple[Whole, Whole] = (0, 0)
    words: tuple[Text, ...] = ()


FACTS = TypeAdapter(Facts)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)


def test_a_list_of_json_is_a_tuple_and_a_whole_number_a_number() -> None:
    found = parse_plain(FACTS, {"name": "a", "count": 3, "size": 2, "corner": [1, 2], "words": ["b"]})
    assert found == Facts("a", 3, 2.0, (1, 2), ("b",)) and type(found.size) is float


@given(scalars, scalars, scalars, scalars)
@example("a", 1, math.nan, 0)
@example("a", 1, -math.inf, 0)
@example("a", True, 1.0, 0)
@example("a", 1.0, True, False)
def test_a_value_of_another_type_is_refused_and_its_field_named(
    name: object, count: object, size: object, corner: object
) -> None:
    misfits = {
        "name": not isinstance(name, str),
        "count": type(count) is not int,
        "size": type(size) not in (int, float) or not math.isfinite(size),  # type: ignore[arg-type]
        "corner": type(corner) is not int,
    }
    values = {"name": name, "count": count, "size": size, "corner": [0, corner]}
    if not any(misfits.values()):
        assert asdict(parse_plain(FACTS, values)) == {**values, "corner": (0, corner), "words": ()}
        return
    with pytest.raises(FormatError) as caught:
        parse_plain(FACTS, values)
    named = [part.split(":")[0].split(".")[0] for part in str(caught.value).split("; ")[:3]]
    assert named == [field for field, misfit in misfits.items() if misfit][:3]


@pytest.mark.parametrize("change", [{"more": 1}, {"name": ...}, {"corner": [1]}, {"corner": [1, 2, 3]}], ids=str)
def test_a_field_too_many_or_too_few_is_refused(change: dict[str, object]) -> None:
    values = {name: value for name, value in {"name": "a", "count": 1, "size": 1, **change}.items() if value is not ...}
    with pytest.raises(FormatError, match=next(iter(change))):
        parse_plain(FACTS, values)


def test_a_message_is_one_short_line_whatever_comes() -> None:
    for value in ("x" * 10_000, 10**10_000, ["x"] * 10_000, "a\nb"):
        with pytest.raises(FormatError) as caught:
            parse_plain(FACTS, {"name": 1, "count": value, "size": [], **{f"\n{n}": value for n in range(50)}})
        assert len(str(caught.value)) < 600 and "\n" not in str(caught.value)
        assert str(caught.value).endswith(" more")


def test_a_message_names_the_first_fields_and_what_they_hold() -> None:
    def said(**values: object) -> str:
        with pytest.raises(FormatError) as caught:
            parse_plain(FACTS, {"name": "a", "count": 1, "size": 1, **values})
        return str(caught.value)

    wrong: dict[str, object] = {"name": 1, "count": "x", "size": []}
    parts = said(**wrong).split("; ")
    assert [part.partition(": ")[0] for part in parts] == ["name", "count", "size"]
    assert [part.rpartition(", not ")[2] for part in parts] == ["1", "'x'", "a list"]
    assert said(**wrong, corner=[0, None]).split("; ") == [*parts, "1 more"]
    assert said(corner=[0, "x" * 200]).startswith("corner.1: ")


def test_a_field_s_name_cannot_steer_the_terminal() -> None:
    with pytest.raises(FormatError) as caught:
        parse_plain(FACTS, {"name": "a", "count": 1, "size": 1, "\x1b[2J\n": 1})
    assert str(caught.value).startswith("\\x1b[2J\\n: ")
