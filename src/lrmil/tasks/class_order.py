"""In which order the classes of a cohort stand: numbers by size, the positive one of two last."""

import math
import re
from collections.abc import Iterable

NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)(e[+-]?\d+)?", re.IGNORECASE)
NEGATIVE = frozenset(
    {"0", "absent", "benign", "control", "false", "healthy", "mss", "neg", "negative", "no", "non", "none", "normal"}
    | {"not", "wildtype", "wt"}
)


def order_classes(names: Iterable[str], positive: str = "") -> tuple[str, ...]:
    """Order the names of classes; how the rows of a table are ordered does not matter.

    Parameters
    ----------
    names
        Names of classes. Numbers are ordered by size, also within names: "grade 2" comes before "grade 10". Of two
        names that are no numbers, one that tells of absence, such as "normal" or "ER-", comes first.
    positive
        The one of two classes that comes last; empty where the names tell.
    """
    classes = sorted(set(names), key=_by_size)
    if any(number_of(name) is None for name in classes):
        classes.sort(key=_by_parts)
    if len(classes) == 2 and (positive == classes[0] or (not positive and _is_reversed(*classes))):
        classes.reverse()
    return tuple(classes)


def order_before_numbers(names: Iterable[str]) -> tuple[str, ...]:
    """Order classes as it was done for runs whose plan does not state an order: as text, "10" before "2"."""
    classes = sorted(set(names))
    if len(classes) == 2 and _looks_negative(classes[1]) and not _looks_negative(classes[0]):
        classes.reverse()
    return tuple(classes)


def number_of(name: str) -> float | None:
    """Read a class that is a number, such as "10", "-1", "0.5", "0,5" or "1e3"; None where it is none."""
    plain = name.replace("\u2212", "-")  # a minus as word processors set it
    if NUMBER.fullmatch(plain) is None:
        return None
    value = float(plain.replace(",", "."))
    return value if math.isfinite(value) else None


def _by_size(name: str) -> tuple[float, str]:
    number = number_of(name)
    return (math.inf if number is None else number, name)


def _by_parts(name: str) -> tuple[list[tuple[str, int, str]], str]:
    """Compare the text of names as text, and the whole numbers in it as numbers."""
    parts = re.split(r"([0-9]+)", name)
    digits = [number.lstrip("0") for number in [*parts[1::2], ""]]
    return [(text, len(number), number) for text, number in zip(parts[::2], digits, strict=True)], name


def _is_reversed(first: str, second: str) -> bool:
    numbers = number_of(first) is not None and number_of(second) is not None
    return not numbers and _looks_negative(second) and not _looks_negative(first)


def _looks_negative(name: str) -> bool:
    """Tell "normal", "wild-type", "non-responder" and "ER-" from their opposites."""
    if (number := number_of(name)) is not None:
        return number == 0
    words = name.casefold().replace("wild-type", "wt").replace("wild type", "wt")
    return name.endswith("-") or not NEGATIVE.isdisjoint(re.split(r"[\W_]+", words))
