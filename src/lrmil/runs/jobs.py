"""The jobs of a training: ("fold-0", "stage 1") is a stage of a fold, ("LR features", "slide-a") precedes all folds.

("fold-0",) means that the fold is finished, ("train",) that the run is.
"""

import re
from typing import NamedTuple

from lrmil.io.documents import FOLD
from lrmil.steps import Job

TRAIN: Job = ("train",)
FINAL = "final"  # the fold of the model itself, where no other trains it
SENTENCE = re.compile(
    rf"(?:(?P<fold>{FOLD.pattern}): )?"
    r"(?P<stage>teacher|evidence|stage 1|lr_student|lr_undistilled|[LH]R features|test \w+)"
    r"(?:: (?P<slide>.+))?",
    re.DOTALL,
)


class JobParts(NamedTuple):
    """The parts of a job."""

    fold: str
    """Empty if the job does not belong to a fold."""
    stage: str
    """Empty if a fold, or the whole run, is finished."""
    slide: str
    """Empty if the job is not about one slide."""


def parts_of(job: Job) -> JobParts:
    """Return the parts of a job; an unknown job is a stage of its own."""
    if job == TRAIN:
        return JobParts("", "", "")
    fold, rest = (job[0], job[1:]) if FOLD.fullmatch(job[0]) else ("", job)
    stage, slide, *_ = (*rest, "", "")
    return JobParts(fold, stage, slide)


def job_of_sentence(sentence: str) -> Job:
    """Parse a job in a log of an earlier version, such as ``"fold-0: LR features: slide-a"``."""
    found = SENTENCE.fullmatch(sentence)
    return tuple(part for part in found.groups() if part) if found else (sentence,)
