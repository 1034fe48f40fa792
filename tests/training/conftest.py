"""Fixtures of the tests of training."""

import numpy as np
import pytest

from lrmil.features.store import read_index
from lrmil.slides.source import SlideSource
from lrmil.training.bags import Bag
from lrmil.training.pairs import PairedSlide
from lrmil.training.sampled_patches import SlideBag
from support.runs import TinyRun


@pytest.fixture
def pairs(tiny_run: TinyRun) -> list[PairedSlide]:
    """The slides of the run with its frozen features, weighed alike."""
    shared = tiny_run.folder / "shared"
    names = sorted(path.stem for path in (shared / "hr").glob("*.zarr"))
    return [
        PairedSlide(
            SlideSource(name, tiny_run.slides / f"{name}.ome.tif"),
            shared / "lr" / f"{name}.zarr",
            shared / "hr" / f"{name}.zarr",
            2,
        )
        for name in names
    ]


@pytest.fixture
def slide_bags(pairs: list[PairedSlide]) -> list[SlideBag]:
    """The slides of the run with two classes in turn and a made-up teacher, who did not see every fifth patch."""
    made = []
    for number, pair in enumerate(pairs):
        rng = np.random.default_rng(number)
        log_mass = rng.normal(size=len(read_index(pair.lr))).astype(np.float32)
        log_mass[::5] = -np.inf
        logits = rng.normal(size=2).astype(np.float32)
        stratum = ("no", "yes")[number % 2]
        made.append(SlideBag(Bag(pair.lr.stem, pair.lr, number % 2, logits, log_mass, stratum), pair.source))
    return made
