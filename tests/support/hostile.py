"""Values that strangers put into documents, and every place where they may put them."""

import copy
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

Path = tuple[str | int, ...]

ABSURD: list[object] = [
    None, True, -1, 0, 2**31, 2**62, 1e308, -1e308, 5e-324, "", "x" * 5000, "../../x", "/", "a\x00b", "\x1b[2J", [], {},
    [[]], [None], {"a": None}, [[[[[[[[]]]]]]]], "NaN", ["a"] * 2000, {str(n): n for n in range(2000)},
]  # fmt: skip

values = st.sampled_from(ABSURD) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


def places(document: object, above: Path = ()) -> Iterator[Path]:
    """Every key and index of a document, at every depth."""
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    for name, value in inner:
        yield (*above, name)
        yield from places(value, (*above, name))


def put(document: Any, place: Path, value: object) -> Any:
    """Return a copy with another value at a place."""
    changed = copy.deepcopy(document)
    part = changed
    for name in place[:-1]:
        part = part[name]
    part[place[-1]] = value
    return changed


def without(document: Any, place: Path) -> Any:
    """Return a copy that lacks a place."""
    changed = copy.deepcopy(document)
    part = changed
    for name in place[:-1]:
        part = part[name]
    del part[place[-1]]
    return changed
