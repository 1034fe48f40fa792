"""The jobs of a training: ("fold-0", "stage 1") is a stage of a fold, ("LR features", "slide-a") comes before any fold.

("fold-0",) says that the fold is done, ("train",) that the run is.
"""

import re
from typing import NamedTuple

from lrmil.io.documents import FOLD
from lrmil.steps import Job

TRAIN: Job = ("train",)
SENTENCE = re.compile(
    rf"(?:(?P<fold>{FOLD.pattern}): )?"
    r"(?P<stage>teacher|evidence|stage 1|lr_student|lr_undistilled|[LH]R features|test \w+)"
    r"(?:: (?P<slide>.+))?",
    re.DOTALL,
)


class JobParts(NamedTuple):
    """What a job is about."""

    fold: str
    """Empty where the work is of no fold."""
    stage: str
    """Empty where a fold, or the whole run, is done."""
    slide: str
    """Empty where the job is not about one slide of its stage."""


def parts_of(job: Job) -> JobParts:
    """Return what a job is about; an unknown one is a stage of its own."""
    if job == TRAIN:
        return JobParts("", "", "")
    fold, rest = (job[0], job[1:]) if FOLD.fullmatch(job[0]) else ("", job)
    stage, slide, *_ = (*rest, "", "")
    return JobParts(fold, stage, slide)


def job_of_sentence(sentence: str) -> Job:
    """Return the job that logs of earlier versions call by a sentence, such as ``"fold-0: LR features: slide-a"``."""
    found = SENTENCE.fullmatch(sentence)
    return tuple(part for part in found.groups() if part) if found else (sentence,)
