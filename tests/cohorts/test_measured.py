"""The part of a table that a model is measured on: test slides where there are some, and never a part by guess."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.cohorts.cohort import Cohort, SlideRecord
from lrmil.cohorts.measured import ALL, PARTS, SPLITS, measured_part
from lrmil.errors import CohortError, ConfigError
from lrmil.tasks.classification import Classification

TASK = Classification(("no", "yes"))


def cohort_of(splits: Sequence[str | None]) -> Cohort:
    slides = [SlideRecord(f"s{n}", Path(f"s{n}.svs"), "no", f"p{n}", split=one) for n, one in enumerate(splits)]  # type: ignore[arg-type]
    return Cohort(tuple(slides), TASK)


@given(st.lists(st.sampled_from(SPLITS), min_size=1, max_size=12), st.sampled_from(("", *PARTS)))
def test_a_part_has_the_slides_that_the_table_marks(splits: list[str], name: str) -> None:
    cohort, counts = cohort_of(splits), Counter(splits)
    expected = name or ("test" if "test" in splits else ALL)
    if expected != ALL and expected not in splits:
        with pytest.raises(CohortError) as error:
            measured_part(cohort, name)
        assert f"'{expected}'" in str(error.value) and all(
            f"{n} {split}" in str(error.value) for split, n in counts.items()
        )
        return
    found, part = measured_part(cohort, name)
    wanted = [f"s{n}" for n, split in enumerate(splits) if expected in (ALL, split)]
    assert [slide.slide_id for slide in found.slides] == wanted and found.task is TASK
    assert (part.name, part.slides, part.table_slides) == (expected, len(wanted), len(splits))
    assert part.splits == Counter(split for split in splits if expected in (ALL, split))
    assert str(part.slides) in part.explain() and str(part.table_slides) in part.explain()
    if expected == ALL:
        assert all(f"{count} {split}" in part.explain() for split, count in counts.items())
    else:
        assert expected in part.explain()


def test_a_table_without_splits_is_measured_whole_and_that_is_said() -> None:
    cohort = cohort_of([None, None])
    for name in ("", ALL):
        found, part = measured_part(cohort, name)
        assert found == cohort and part == (ALL, 2, 2, {})
        assert "learned" in part.explain()


@pytest.mark.parametrize("name", SPLITS)
def test_a_part_needs_the_column(name: str) -> None:
    with pytest.raises(CohortError, match="no column 'split'"):
        measured_part(cohort_of([None]), name)


@pytest.mark.parametrize("name", ["holdout", "Test", " "])
def test_an_unknown_part_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="train, val, test, all"):
        measured_part(cohort_of(["test"]), name)
