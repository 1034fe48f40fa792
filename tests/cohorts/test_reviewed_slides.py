"""Which slide a review is about: its content decides, then its name, and never a guess."""

import os
from pathlib import Path

import pytest

from lrmil.cohorts.reviewed_slides import JOB, SlideFile, match_reviews, slide_file_steps
from lrmil.reviews.several import Said
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.reviews import entry


def about(slide_id: str, fingerprint: str) -> Said:
    return Said("log", 0, entry(slide_id=slide_id, slide_fingerprint=fingerprint))


A, B = SlideFile("a", "fa"), SlideFile("b", "fb")


def test_the_content_decides_whatever_the_name() -> None:
    reviews = about("a", "fa"), about("renamed", "fb"), about("a", "fb")
    found = match_reviews(reviews, [A, B])
    assert found == ({"a": (reviews[0],), "b": reviews[1:]}, (), (), ())


def test_else_the_name_which_is_told() -> None:
    reviews = about("a", "converted"), about("b.svs", ""), about("gone", "fx"), about("x", "")
    found = match_reviews(reviews, [A, B])
    assert found.by_slide == {"a": reviews[:1], "b": reviews[1:2]} and found.by_name == ("a", "b")
    assert found.missing == reviews[2:] and found.unclear == ()


def test_a_name_does_not_count_beside_reviews_of_the_content() -> None:
    same, other = about("elsewhere", "fa"), about("a", "of another folder")
    for order in ((same, other), (other, same)):
        found = match_reviews(order, [A])
        assert (found.by_slide, found.by_name, found.missing) == ({"a": (same,)}, (), (other,))


def test_of_copies_the_one_of_the_name_counts_and_none_without() -> None:
    copies = [SlideFile("a", "f"), SlideFile("a copy", "f")]
    named, renamed = about("a", "f"), about("b", "f")
    found = match_reviews([named, renamed], copies)
    assert (found.by_slide, found.unclear) == ({"a": (named,)}, (renamed,))


@pytest.mark.parametrize("fingerprint", ["fa", "of another", ""])
def test_a_name_of_two_files_is_unclear(fingerprint: str) -> None:
    found = match_reviews([about("a", fingerprint)], [A, SlideFile("a", "fb")])
    assert found.by_slide == {} and len(found.unclear) == 1


def test_slides_that_cannot_be_read_are_no_copies_of_each_other() -> None:
    found = match_reviews([about("a", ""), about("x", "")], [SlideFile("a", "", "torn"), SlideFile("b", "", "torn")])
    assert list(found.by_slide) == ["a"] and len(found.missing) == 1 and not found.unclear


def test_fingerprints_are_those_of_predictions(cohort: Path, tmp_path: Path) -> None:
    path = cohort / "slides/demo-000.ome.tif"
    os.mkfifo(tmp_path / "pipe.svs")
    sources = [
        SlideSource("demo-000", path),
        SlideSource("gone", tmp_path / "gone.svs"),
        SlideSource("pipe", tmp_path / "pipe.svs"),
    ]
    steps = list(slide_file_steps(sources))
    whole, gone, pipe = last(steps)
    with open_slide(path) as slide:  # a prediction states the fingerprint of the slide that it opened
        assert whole == SlideFile("demo-000", slide.fingerprint)
    assert gone.fingerprint == pipe.fingerprint == "" and gone.problem and pipe.problem
    assert [(step.job, step.done) for step in steps] == [(JOB, 1), (JOB, 2), (JOB, 3), (JOB, 3)]
