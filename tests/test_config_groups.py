"""Groups of settings: what is not given keeps the default that the group around it states."""

from pydantic.dataclasses import dataclass

from lrmil.config_groups import STRICT, Group, merged


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Inner(Group):
    a: int = 1
    b: int = 2


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Middle(Group):
    inner: Inner = Inner(b=3)
    c: int = 4


@dataclass(frozen=True, kw_only=True, config=STRICT)
class Outer(Group):
    middle: Middle = Middle(inner=Inner(a=5, b=6), c=7)


def test_defaults_of_the_outermost_group_count() -> None:
    assert Outer(middle={"inner": {"a": 8}}) == Outer(middle=Middle(inner=Inner(a=8, b=6), c=7))  # type: ignore[arg-type]
    assert Outer(middle={"c": 8}) == Outer(middle=Middle(inner=Inner(a=5, b=6), c=8))  # type: ignore[arg-type]


def test_a_value_is_merged_at_any_depth() -> None:
    assert merged(1, 2) == 2 and merged({"a": 1}, 2) == 2 and merged(None, {"a": 1}) == {"a": 1}
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}
    assert merged(Middle(), {"inner": {"a": 9}}) == {"inner": {"a": 9, "b": 3}, "c": 4}
