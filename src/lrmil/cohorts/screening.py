"""A look at every slide of a cohort before any computing: which cannot be used, and which look the same."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lrmil.cohorts.cohort import Cohort, CohortReport, SlideRecord
from lrmil.cohorts.labels import Problem
from lrmil.cohorts.near_duplicates import similar_pairs
from lrmil.errors import LrmilError, names_of
from lrmil.slides.each import IN_PROCESS, Executor, Work, each
from lrmil.slides.failures import without_folder
from lrmil.slides.identity import unchanged
from lrmil.slides.level_choice import distance, is_far
from lrmil.slides.slide import Slide, find_slides, open_source, slide_id_of
from lrmil.slides.source import SlideSource
from lrmil.steps import Job, Step

SIDE = 128  # px of the overview that is looked at
SMALL = 32  # px; tissue of a whole slide is told apart by far less
ALIKE = 0.99  # correlation of small pictures: copies saved anew have 0.999, serial sections of a block about 0.9
ASPECT = 1.02  # ratio of two slides' proportions up to which they may be the same
FLAT = 2.0  # grey levels (standard deviation) below which a picture shows nothing to compare
LISTED = 50  # pairs written out


class Look(NamedTuple):
    """What a look at one slide showed."""

    slide_id: str
    problem: str = ""
    """Why it cannot be used, in one sentence."""
    fingerprint: str = ""
    """Hash of the file's content; empty when it cannot be opened."""
    aspect: float = 1.0
    """Width by height."""
    picture: NDArray[np.float32] | None = None
    """(`SMALL` ** 2,) grey values of mean 0 and length 1; None where there is nothing to see."""
    finer: float = 1.0
    """How many times finer than the LR resolution the level is that would be read for it; 1 where that is not asked."""


def look_steps(
    sources: Sequence[SlideSource],
    *,
    mpp: float | None = None,
    lr: float | None = None,
    job: Job = ("look at the slides",),
    executor: Executor = IN_PROCESS,
) -> Iterator[Step[tuple[Look, ...]]]:
    """Open each slide, and shrink it to a small picture.

    Parameters
    ----------
    sources
        The slides.
    mpp
        The finest resolution in um/px that will be asked of them; None when only their own must be known.
    lr
        The LR resolution in um/px, of which it is told whether a level is near; None where it is not known.
    executor
        Where the slides are opened; see `lrmil.slides.each`.

    Yields
    ------
    Step
        One per slide; the last carries a Look per slide, in order.
    """
    looks: list[Look] = []
    look: Work[Look] = partial(_look, mpp=mpp, lr=lr)
    with closing(each(look, sources, executor, job=job, names_outputs=False)) as steps:
        for step in steps:
            if (outcome := step.result) is not None:
                why = outcome.failure.message if outcome.failure else ""
                looks.append(outcome.value or Look(outcome.source.slide_id, why))
                yield Step(job, len(looks), len(sources), "slides")
    yield Step(job, len(looks), len(sources), "slides", result=tuple(looks))


def sources_of(slides: Path | str, report: CohortReport) -> list[SlideSource]:
    """List the slides of a cohort, or all of the folder where its table has errors."""
    if report.cohort is not None:
        return [SlideSource(slide.slide_id, slide.path, slide.mpp) for slide in report.cohort.slides]
    return [SlideSource(slide_id_of(path), path) for path in find_slides(slides)]


def unusable(looks: Sequence[Look]) -> list[Problem]:
    """One warning for each slide that cannot be used: training leaves it out."""
    hint = "It is left out as long as it is so."
    return [
        Problem(None, "slide_id", f"Slide '{look.slide_id}': {look.problem}", hint, "warning")
        for look in looks
        if look.problem
    ]


def far_levels(looks: Sequence[Look], lr: float) -> list[Problem]:
    """One warning where slides have no level near the LR resolution, in um/px: all of them, or some of a cohort."""
    seen = [look for look in looks if not look.problem]
    far = [look for look in seen if is_far(look.finer)]
    if not far:
        return []
    most = max(look.finer for look in far)
    message = (
        f"{len(far)} of {len(seen)} slides have no level near {lr:g} um/px: {names_of(look.slide_id for look in far)}. "
        f"They are read from a finer level, up to {most * most:.0f} times as many pixels."
    )
    hint = "Nothing needs to be done; they are read slower. Converted to a pyramid with such a level, they read faster."
    if len(far) < len(seen):
        message += " The pyramids of this cohort are mixed: a stored level may differ from one that is averaged here."
        hint = "Check that such slides are not of one class or one site alone, or convert all to the same pyramid."
    return [Problem(None, "slide_id", message, hint, "warning")]


def lookalikes(looks: Sequence[Look], cohort: Cohort, *, tested: Mapping[str, str] | None = None) -> list[Problem]:
    """One warning for each two slides that look the same, most of all where that gives a test away.

    Parameters
    ----------
    looks
        Of slides of the cohort.
    tested
        Slide id -> name of the fold that tests it, where folds are drawn.
    """
    slides, tested = cohort.by_id, tested or {}
    pairs, more = _pairs(looks)
    problems = [
        _same(slides[first.slide_id], slides[second.slide_id], tested, equal=equal) for first, second, equal in pairs
    ]
    if more:
        message = f"{more} more pairs of slides look the same."
        problems.append(Problem(None, "slide_id", message, "Remove copies from the folder and the table.", "warning"))
    return problems


def _look(source: SlideSource, *, mpp: float | None, lr: float | None) -> Look:
    with open_source(source) as slide, unchanged(slide):
        fingerprint = slide.fingerprint
        try:
            slide.require_mpp(mpp or slide.mpp)
            problem = ""
        except LrmilError as error:
            problem = without_folder(error, source.path)
        width, height = slide.dimensions
        finer = distance(slide.levels, slide.mpp, lr) if lr is not None and slide.has_mpp else 1.0
        return Look(source.slide_id, problem, fingerprint, width / height, _picture(slide), finer)


def _picture(slide: Slide) -> NDArray[np.float32] | None:
    overview = slide.overview(SIDE)
    if overview.failed.any():  # what is white there is no glass
        return None
    grey = Image.fromarray(overview.array).convert("L").resize((SMALL, SMALL), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32).ravel()
    values = values - values.mean()
    return values / np.linalg.norm(values) if values.std() >= FLAT else None


def _pairs(looks: Sequence[Look]) -> tuple[list[tuple[Look, Look, bool]], int]:
    """Two by two, the slides whose files or pictures are the same, True for the files; and how many more there are."""
    files = [(first, second, True) for group in _by_fingerprint(looks) for first, second in pairwise(group)]
    seen = [look for look in looks if look.picture is not None]
    pictures = np.array([look.picture for look in seen], np.float32).reshape(-1, SMALL, SMALL)
    first, second = similar_pairs(pictures, ALIKE).T
    aspects = np.array([look.aspect for look in seen])
    ratio = aspects[first] / aspects[second]
    _, content = np.unique([look.fingerprint for look in seen], return_inverse=True)
    alike = np.flatnonzero((ratio >= 1 / ASPECT) & (ratio <= ASPECT) & (content[first] != content[second]))
    shown = alike[: max(LISTED - len(files), 0)]
    found = files[:LISTED] + [(seen[first[at]], seen[second[at]], False) for at in shown]
    return found, len(files) + len(alike) - len(found)


def _by_fingerprint(looks: Sequence[Look]) -> list[list[Look]]:
    groups: dict[str, list[Look]] = {}
    for look in looks:
        if look.fingerprint:
            groups.setdefault(look.fingerprint, []).append(look)
    return [group for group in groups.values() if len(group) > 1]


def _same(first: SlideRecord, second: SlideRecord, tested: Mapping[str, str], *, equal: bool) -> Problem:
    names = f"'{first.slide_id}' and '{second.slide_id}'"
    message = f"Slides {names} are copies of one file" if equal else f"Slides {names} look the same"
    hint = "Remove one of them from the table if it is a copy."
    if first.label != second.label:
        message += f", and one is labelled '{first.label}', the other '{second.label}'"
        hint = "Find out which label is right, and remove the other row."
    elif first.case_id != second.case_id:
        hint = "A copy gives the test away: remove one, or give both the same case_id."
    parts = [first.split or tested.get(first.slide_id, ""), second.split or tested.get(second.slide_id, "")]
    if parts[0] != parts[1]:
        message += f"; they are in different parts ({parts[0] or 'none'}, {parts[1] or 'none'})"
    return Problem(None, "slide_id", f"{message}.", hint, "warning")
