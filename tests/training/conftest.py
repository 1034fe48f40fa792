"""Fixtures of the tests of training."""

import pytest

from lrmil.slides.source import SlideSource
from lrmil.training.pairs import PairedSlide
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
