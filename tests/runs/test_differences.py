"""How far the student is from the other arms, in words that claim no more than the interval does."""

import pytest

from lrmil.runs.differences import Difference, difference_sentence, find_differences, verdict


@pytest.mark.parametrize(
    ("difference", "interval", "words"),
    [
        (0.02, (-0.01, 0.05), "contains 0: this run cannot tell student and baseline apart"),
        (0.0, (0.0, 0.05), "contains 0"),
        (0.02, (1e-17, 0.05), "contains 0"),
        (0.03, (0.01, 0.05), "above 0: on patients like these the student is above the baseline"),
        (-0.03, (-0.05, -0.01), "below 0: on patients like these the student is below the baseline"),
        (0.0, (-1e-17, 0.0), "Student and baseline order the test slides alike"),
        (0.25, (0.25, 0.25), "Few cases, or a perfect order of them"),
        (0.02, None, "no interval"),
        (None, None, "no interval"),
    ],
)
def test_an_interval_is_put_in_words(
    difference: float | None, interval: tuple[float, float] | None, words: str
) -> None:
    found = Difference(difference, interval)
    assert words in verdict("lr_undistilled", found)
    said = difference_sentence("AUROC", "lr_undistilled", found)
    assert said.startswith("AUROC, student minus baseline: ") and said.endswith(verdict("lr_undistilled", found))
    assert ("not defined" in said) == (difference is None) and ("95 %" in said) == (interval is not None)
    assert "teacher" in verdict("hr_teacher", Difference(0.0, (-0.1, 0.1)))


def test_signs_are_shown() -> None:
    said = difference_sentence("AUROC", "hr_teacher", Difference(0.02, (-0.01, 0.05)))
    assert "+0.020 (95 % interval -0.010 to +0.050)" in said
    assert ": +0.000 (" in difference_sentence("AUROC", "hr_teacher", Difference(-1e-17, (-0.01, 0.05)))


@pytest.mark.parametrize(
    "stated",
    [
        None,
        3,
        [],
        {"hr_teacher": 1},
        {"hr_teacher": {"difference": "much", "interval": None}},
        {"hr_teacher": {"difference": "nan", "interval": None}},
        {"hr_teacher": {"difference": 0.1, "interval": [0.0, "inf"]}},
        {"hr_teacher": {}},
    ],
)
def test_what_is_absent_or_was_edited_is_not_stated(stated: object) -> None:
    assert find_differences({"student_minus": stated}) == find_differences({}) == {}


def test_what_is_stated_is_read_in_order() -> None:
    one, other = {"difference": 0.1, "interval": [0.0, 0.2]}, {"difference": None, "interval": None}
    found = find_differences({"student_minus": {"hr_teacher": other, "lr_undistilled": one, "strange": one}})
    assert list(found.items()) == [("lr_undistilled", Difference(0.1, (0.0, 0.2))), ("hr_teacher", (None, None))]
