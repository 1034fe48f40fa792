"""Screen the slides of a cohort before anything is computed: unusable slides, and near-duplicates."""

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
from lrmil.slides.discovery import find_slides
from lrmil.slides.each import IN_PROCESS, Executor, Work, each
from lrmil.slides.failures import without_folder
from lrmil.slides.identity import unchanged
from lrmil.slides.level_choice import distance, is_far
from lrmil.slides.opening import open_source
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.slides.thumbnail import Thumbnail
from lrmil.steps import Job, Step

OVERVIEW_PX = 128  # longest side of the overview
PICTURE_PX = 32  # side of the picture that is compared
STAINED = 12  # chroma (max - min of R, G, B) above which a pixel of the overview is not glass
MIN_CORRELATION = 0.99  # correlation of small pictures: a saved copy has 0.999, serial sections 0.9
MAX_ASPECT_RATIO = 1.02  # ratio between the aspect ratios of near-duplicates
MIN_CONTRAST = 2.0  # standard deviation in grey levels; pictures below it are not compared
MAX_PAIRS = 50  # pairs listed


class Screened(NamedTuple):
    """The result of screening one slide."""

    slide_id: str
    problem: str = ""
    """Why the slide cannot be used, in one sentence; or ""."""
    fingerprint: str = ""
    """Hash of the content of the file; empty if it cannot be opened."""
    aspect: float = 1.0
    """Width divided by height."""
    picture: NDArray[np.float32] | None = None
    """(`PICTURE_PX` ** 2,) grey values of mean 0 and length 1; None if there is nothing to compare."""
    finer: float = 1.0
    """How many times finer than the LR resolution the level to read is; 1 if that is not asked."""
    stained_um2: float = 0.0
    """About how much of the slide is not glass, in square microns; 0 if its um/px is unknown."""


def screen_steps(
    sources: Sequence[SlideSource],
    *,
    mpp: float | None = None,
    lr: float | None = None,
    job: Job = ("look at the slides",),
    executor: Executor = IN_PROCESS,
) -> Iterator[Step[tuple[Screened, ...]]]:
    """Screen each slide: open it, and shrink it to a small picture.

    Parameters
    ----------
    sources
        The slides.
    mpp
        The finest resolution in um/px that will be read; None if the slides only need to have a known one.
    lr
        The LR resolution in um/px, for which the nearest level is found; None if it is unknown.
    job
        Name of the Steps.
    executor
        Where the slides are processed; see `lrmil.slides.each`.

    Yields
    ------
    Step
        One per slide; the last carries a Screened for each slide, in order.
    """
    screened: list[Screened] = []
    screen: Work[Screened] = partial(_screen, mpp=mpp, lr=lr)
    with closing(each(screen, sources, executor, job=job, names_outputs=False)) as steps:
        for step in steps:
            if (outcome := step.result) is None:
                continue
            if not outcome.finished:
                yield step.without_result()
            else:
                why = outcome.failure.message if outcome.failure else ""
                screened.append(outcome.value or Screened(outcome.source.slide_id, why))
                yield Step(job, len(screened), len(sources), "slides")
    yield Step(job, len(screened), len(sources), "slides", result=tuple(screened))


def sources_of(slides: Path | str, report: CohortReport) -> list[SlideSource]:
    """Return the slides of a cohort, or all slides of the folder if its table has errors.

    Parameters
    ----------
    slides
        The folder or file that was checked.
    report
        The report of its cohort.
    """
    if report.cohort is not None:
        return [SlideSource(slide.slide_id, slide.path, slide.mpp) for slide in report.cohort.slides]
    return [SlideSource(slide_id_of(path), path) for path in find_slides(slides)]


def unusable(screened: Sequence[Screened]) -> list[Problem]:
    """Return a warning for each slide that cannot be used."""
    hint = "Training leaves it out until this is fixed."
    return [
        Problem(None, "slide_id", f"Slide '{slide.slide_id}': {slide.problem}", hint, "warning")
        for slide in screened
        if slide.problem
    ]


def far_levels(screened: Sequence[Screened], lr: float) -> list[Problem]:
    """Return a warning if slides have no level near the LR resolution (um/px): all slides, or some of them.

    Parameters
    ----------
    screened
        The results of screening.
    lr
        The LR resolution in um/px.
    """
    seen = [slide for slide in screened if not slide.problem]
    far = [slide for slide in seen if is_far(slide.finer)]
    if not far:
        return []
    most = max(slide.finer for slide in far)
    message = (
        f"{len(far)} of {len(seen)} slides have no level near {lr:g} um/px: "
        f"{names_of(slide.slide_id for slide in far)}. They are read from a finer level, up to {most * most:.0f} "
        "times as many pixels."
    )
    hint = "No action is needed, but they are read slowly. To read faster, convert them to a pyramid with such a level."
    if len(far) < len(seen):
        message += " The pyramids of this cohort are mixed: a stored level may differ from one that is averaged here."
        hint = "Check that these slides do not all belong to one class or site, or convert all to the same pyramid."
    return [Problem(None, "slide_id", message, hint, "warning")]


def near_duplicates(
    screened: Sequence[Screened], cohort: Cohort, *, tested: Mapping[str, str] | None = None
) -> list[Problem]:
    """Return a warning for each pair of slides that look the same.

    Parameters
    ----------
    screened
        The results of screening.
    cohort
        The slides, for their labels and cases.
    tested
        Slide id -> name of the fold that tests it, if folds are drawn.

    Returns
    -------
    list of Problem
        At most `MAX_PAIRS` pairs, then one warning with the number of others.
    """
    slides, tested = cohort.by_id, tested or {}
    pairs, more = _pairs(screened)
    problems = [
        _same(slides[first.slide_id], slides[second.slide_id], tested, equal=equal) for first, second, equal in pairs
    ]
    if more:
        message = f"{more} more pairs of slides look the same."
        problems.append(Problem(None, "slide_id", message, "Remove copies from the folder and the table.", "warning"))
    return problems


def _screen(source: SlideSource, *, mpp: float | None, lr: float | None) -> Screened:
    with open_source(source) as slide, unchanged(slide):
        fingerprint = slide.fingerprint
        try:
            slide.require_mpp(mpp or slide.mpp)
            problem = ""
        except LrmilError as error:
            problem = without_folder(error, source.path)
        width, height = slide.dimensions
        finer = distance(slide.levels, slide.mpp, lr) if lr is not None and slide.has_mpp else 1.0
        overview = slide.overview(OVERVIEW_PX)
        stained = _stained(overview) * width * height * slide.mpp**2 if slide.has_mpp else 0.0
        return Screened(source.slide_id, problem, fingerprint, width / height, _picture(overview), finer, stained)


def _stained(overview: Thumbnail) -> float:
    """Return about which share of a slide is not glass: `lrmil.patches.tissue` is exact, and takes longer."""
    return float(np.mean((np.ptp(overview.array, axis=2) > STAINED) & ~overview.failed))


def _picture(overview: Thumbnail) -> NDArray[np.float32] | None:
    if overview.failed.any():  # white there is not glass
        return None
    grey = Image.fromarray(overview.array).convert("L").resize((PICTURE_PX, PICTURE_PX), Image.Resampling.BOX)
    values = np.asarray(grey, np.float32).ravel()
    values = values - values.mean()
    return values / np.linalg.norm(values) if values.std() >= MIN_CONTRAST else None


def _pairs(screened: Sequence[Screened]) -> tuple[list[tuple[Screened, Screened, bool]], int]:
    """Return pairs of slides with equal files (True) or similar pictures, and the number of further pairs."""
    files = [(first, second, True) for group in _by_fingerprint(screened) for first, second in pairwise(group)]
    seen = [slide for slide in screened if slide.picture is not None]
    pictures = np.array([slide.picture for slide in seen], np.float32).reshape(-1, PICTURE_PX, PICTURE_PX)
    first, second = similar_pairs(pictures, MIN_CORRELATION).T
    aspects = np.array([slide.aspect for slide in seen])
    ratio = aspects[first] / aspects[second]
    _, content = np.unique([slide.fingerprint for slide in seen], return_inverse=True)
    alike = np.flatnonzero(
        (ratio >= 1 / MAX_ASPECT_RATIO) & (ratio <= MAX_ASPECT_RATIO) & (content[first] != content[second])
    )
    shown = alike[: max(MAX_PAIRS - len(files), 0)]
    found = files[:MAX_PAIRS] + [(seen[first[at]], seen[second[at]], False) for at in shown]
    return found, len(files) + len(alike) - len(found)


def _by_fingerprint(screened: Sequence[Screened]) -> list[list[Screened]]:
    groups: dict[str, list[Screened]] = {}
    for slide in screened:
        if slide.fingerprint:
            groups.setdefault(slide.fingerprint, []).append(slide)
    return [group for group in groups.values() if len(group) > 1]


def _same(first: SlideRecord, second: SlideRecord, tested: Mapping[str, str], *, equal: bool) -> Problem:
    names = f"'{first.slide_id}' and '{second.slide_id}'"
    message = f"Slides {names} are copies of one file" if equal else f"Slides {names} look the same"
    hint = "Remove one of them from the table if it is a copy."
    if first.label != second.label:
        message += f", and one is labelled '{first.label}', the other '{second.label}'"
        hint = "Check which label is right, and remove the other row."
    elif first.case_id != second.case_id:
        hint = "A copy in the test set would distort the metrics: remove one, or give both the same case_id."
    parts = [first.split or tested.get(first.slide_id, ""), second.split or tested.get(second.slide_id, "")]
    if parts[0] != parts[1]:
        message += f"; they are in different parts ({parts[0] or 'none'}, {parts[1] or 'none'})"
    return Problem(None, "slide_id", f"{message}.", hint, "warning")
