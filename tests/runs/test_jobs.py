"""What a job of a training is about, and that the sentences of earlier logs name the same jobs."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lrmil.runs.jobs import TRAIN, job_of_sentence, parts_of
from lrmil.steps import Job, job_text

FOLDS = ["fold-0", "fold-12", "fold-a.b_c-d", "fold-Würzburg", "final"]
STAGES = [
    "teacher",
    "evidence",
    "stage 1",
    "LR features",
    "HR features",
    "lr_student",
    "lr_undistilled",
    "test hr_teacher",
]
SLIDES = st.text(min_size=1) | st.lists(st.sampled_from([*FOLDS, *STAGES, "train", "a"]), min_size=1).map(": ".join)


@pytest.mark.parametrize(
    ("job", "parts"),
    [
        (("fold-0", "stage 1", "a"), ("fold-0", "stage 1", "a")),
        (("fold-0", "stage 1"), ("fold-0", "stage 1", "")),
        (("fold-0",), ("fold-0", "", "")),
        (("final",), ("final", "", "")),
        (("LR features", "fold-0"), ("", "LR features", "fold-0")),
        (("look at the slides",), ("", "look at the slides", "")),
        (("fold-0: stage 1",), ("", "fold-0: stage 1", "")),
        (("fold-",), ("", "fold-", "")),
        (("train",), ("", "", "")),
        (("train", "a"), ("", "train", "a")),
        (("fold-0", "stage 1", "a", "b"), ("fold-0", "stage 1", "a")),
    ],
)
def test_what_a_job_is_about(job: Job, parts: tuple[str, str, str]) -> None:
    assert parts_of(job) == parts


@given(st.sampled_from(["", *FOLDS]), st.sampled_from(STAGES), st.just("") | SLIDES)
@example("fold-0", "stage 1", "two\nlines")
def test_a_sentence_of_an_earlier_log_is_the_same_job(fold: str, stage: str, slide: str) -> None:
    job = tuple(part for part in (fold, stage, slide) if part)
    assert job_of_sentence(job_text(job)) == job
    assert parts_of(job) == (fold, stage, slide)


@pytest.mark.parametrize(
    "name", [*FOLDS, *TRAIN, "look at the slides", "labels table", "changes", "something: new", "stage 10", "teachers"]
)
def test_any_other_sentence_is_a_job_of_one_part(name: str) -> None:
    assert job_of_sentence(name) == (name,)
