"""How far the student's score is from the other arms', and whether a run can tell: of its figures, and in words."""

from collections.abc import Mapping
from typing import NamedTuple

from pydantic import FiniteFloat, TypeAdapter, ValidationError

STUDENT_MINUS = "student_minus"  # member of metrics.json
DIGITS = 9  # areas that are equal may differ in the last bit
OTHERS = {"lr_undistilled": "baseline", "hr_teacher": "teacher"}


class Difference(NamedTuple):
    """The student's score less another arm's on the same test slides; None where it is not defined."""

    difference: FiniteFloat | None
    interval: tuple[FiniteFloat, FiniteFloat] | None
    """95 %, by case."""


def find_differences(figures: Mapping[str, object]) -> dict[str, Difference]:
    """Return what metrics.json or a model states: arm -> how far the student is from it; empty in earlier versions.

    Parameters
    ----------
    figures
        Content of metrics.json, which someone may have edited.
    """
    try:
        found = TypeAdapter(dict[str, Difference]).validate_python(figures.get(STUDENT_MINUS))
    except ValidationError:
        return {}
    return {arm: found[arm] for arm in OTHERS if arm in found}


def verdict(other: str, found: Difference) -> str:
    """Say what an interval tells of student and other arm.

    Parameters
    ----------
    other
        One of `OTHERS`.
    found
        The difference to it.
    """
    name, interval = OTHERS[other], found.interval
    if found.difference is None or interval is None:
        return "There is no interval."
    low, high = (round(end, DIGITS) for end in interval)
    if low == high == 0:
        return f"Student and {name} order the test slides alike; with few cases this does not mean certainty."
    if low == high:
        return "Few cases, or a perfect order of them, leave the interval no width; this does not mean certainty."
    if low <= 0 <= high:
        return f"The interval contains 0: this run cannot tell student and {name} apart."
    word = "above" if low > 0 else "below"
    return f"The interval is {word} 0: on patients like these the student is {word} the {name}."


def difference_sentence(title: str, other: str, found: Difference) -> str:
    """Say in a line how far the student is from another arm.

    Parameters
    ----------
    title
        Of the score, such as "AUROC".
    other, found
        As in `verdict`.
    """
    value = "not defined" if found.difference is None else f"{found.difference:+z.3f}"
    ends = found.interval
    interval = "" if ends is None else f" (95 % interval {ends[0]:+z.3f} to {ends[1]:+z.3f})"
    return f"{title}, student minus {OTHERS[other]}: {value}{interval}. {verdict(other, found)}"
