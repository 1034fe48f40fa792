"""Patches are foretold from overviews, as many as there are within a factor."""

from pathlib import Path

from lrmil.cohorts.forecast import expectation, few_patches, patches_expected
from lrmil.cohorts.screening import Screened, screen_steps
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.steps import last


def test_as_many_as_there_are_within_a_factor(cohort: Path) -> None:
    paths = sorted((cohort / "slides").iterdir())[:3]
    screened = last(screen_steps([SlideSource(slide_id_of(path), path) for path in paths]))
    foretold = patches_expected(screened, 128.0)
    for path in paths:
        with open_slide(path) as slide:
            there = len(patches_of(slide, PatchPlan(2.0, 64)))
        assert 0.6 * there <= foretold[slide_id_of(path)] <= 1.6 * there


def test_what_is_unknown_is_not_foretold_and_few_patches_are_a_warning() -> None:
    large, small, odd = Screened("large", stained_um2=1e8), Screened("small", stained_um2=2e5), Screened("torn", "torn")
    plan = {"mpp": 2.0, "size": 256}
    assert expectation([odd], **plan, children=4) == "" and few_patches([odd], **plan) == []  # type: ignore[arg-type]
    text = expectation([large, small, odd], **plan, children=4)  # type: ignore[arg-type]
    assert "(1 to 382)" in text and "383 in all" in text and "6,128" in text
    (warning,) = few_patches([large, small, odd], **plan)  # type: ignore[arg-type]
    assert "1 of 2 slides" in warning.message and "'small'" in warning.message and "--patch-size" in warning.hint
    assert few_patches([large], **plan) == []  # type: ignore[arg-type]
