"""LR patches are read where the features say, from the slide that the features were made of."""

import logging
from contextlib import ExitStack
from dataclasses import replace

import numpy as np
import pytest

from lrmil.errors import SlideChangedError
from lrmil.features.store import read_index
from lrmil.slides.opening import open_slide
from lrmil.training.lr_patches import open_reader, read_patch
from lrmil.training.pairs import PairedSlide
from support.slides import torn

pytestmark = pytest.mark.long


def test_a_patch_is_the_pixels_at_its_place(pairs: list[PairedSlide]) -> None:
    with ExitStack() as opened, open_slide(pairs[0].source.path) as slide:
        reader = open_reader(pairs[0], opened)
        for row, col in read_index(pairs[0].lr)[::3]:
            expected = slide.read_region((int(row) * 256, int(col) * 256), (64, 64), 2.0)
            assert np.array_equal(read_patch(reader, np.array([row, col], np.int32)), expected)  # type: ignore[arg-type]


def test_one_that_cannot_be_read_is_none_with_a_warning(
    pairs: list[PairedSlide], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lost, other = read_index(pairs[0].lr)[:2]
    torn(monkeypatch, pairs[0].source.slide_id, {tuple((lost.astype(int) * 256).tolist())})
    with ExitStack() as opened, caplog.at_level(logging.WARNING):
        reader = open_reader(pairs[0], opened)
        assert read_patch(reader, lost) is None and read_patch(reader, other) is not None
    assert len(caplog.records) == 1 and "left out: torn" in caplog.text


def test_a_slide_that_is_not_the_one_of_the_features_is_refused(pairs: list[PairedSlide]) -> None:
    other = replace(pairs[0], source=pairs[1].source)
    with ExitStack() as opened, pytest.raises(SlideChangedError, match="changed after its features"):
        open_reader(other, opened)
