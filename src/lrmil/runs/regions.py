"""The regions that a teacher attends to, each with the mean of the HR embeddings in its LR patch; no pixel is read."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Never

import numpy as np
import torch

from lrmil.features.store import Features, FeaturesCard, is_current, read_card, read_features, write_features
from lrmil.geometry import parent_of
from lrmil.io import atomic, hashing
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import HR, REGIONS
from lrmil.steps import Step
from lrmil.targets import region_targets

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
    parents, _ = parent_of(hr.index, children)
    index, position = np.unique(parents, axis=0, return_inverse=True)
    embeddings = torch.from_numpy(hr.embeddings).double()
    means = region_targets(embeddings.new_zeros(len(parents)), embeddings, torch.from_numpy(position), len(index)).mean
    card = replace(hr.card, mpp=mpp, key=_key_of(hr.card, children), total=len(index), failed=0)
    return Features(card, index.astype(np.int32), means.float().numpy())


def _key_of(hr: FeaturesCard, children: int) -> str:
    return hashing.sha256_of(["regions", VERSION, children, hr.key])
