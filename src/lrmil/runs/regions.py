"""The regions that a teacher attends to, each with the mean of the HR embeddings in its LR patch; no pixel is read."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Never

from lrmil.features.regions import mean_of_regions
from lrmil.features.store import Features, FeaturesCard, is_current, read_card, read_features, write_features
from lrmil.io import atomic, hashing
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import HR, REGIONS
from lrmil.steps import Step

VERSION = 1  # increase this when the same HR features give other regions


def region_features(run: Path, slide_ids: Sequence[str], plan: PatchPlan) -> Iterator[Step[Never]]:
    """Write the regions of every slide that are stale into RUN/shared/regions.

    Parameters
    ----------
    run
        The run's folder, with the HR features of the slides.
    slide_ids
        The slides.
    plan
        The patches of the run.

    Yields
    ------
    Step
        One per slide.

    Raises
    ------
    FormatError
        If HR features are damaged.
    OverwriteError, OutputError
        If a folder cannot be written.
    """
    atomic.make_folder(run / REGIONS)
    atomic.remove_leftovers(run / REGIONS)
    for done, slide_id in enumerate(slide_ids, 1):
        hr, path = run / HR / f"{slide_id}.zarr", run / REGIONS / f"{slide_id}.zarr"
        if not is_current(path, _key_of(read_card(hr), plan.children)):
            write_features(path, make_regions(read_features(hr), children=plan.children, mpp=plan.mpp))
        yield Step(("region features",), done, len(slide_ids), "slides")


def make_regions(hr: Features, *, children: int, mpp: float) -> Features:
    """Average HR embeddings over the LR patches that contain them.

    Parameters
    ----------
    hr
        Covered HR patches of a slide; their blocks are not used.
    children
        HR patches along a side of an LR patch.
    mpp
        um/px of the LR patches.

    Returns
    -------
    Features
        mu_r of each LR patch with a covered child, on the LR lattice in reading order. Seconds and bytes are those of
        the HR features.
    """
    index, means = mean_of_regions(hr.index, hr.embeddings, children)
    card = replace(hr.card, mpp=mpp, key=_key_of(hr.card, children), total=len(index), failed=0)
    return Features(card, index, means)


def _key_of(hr: FeaturesCard, children: int) -> str:
    return hashing.sha256_of(["regions", VERSION, children, hr.key])
