"""How many threads read a slide: those asked for, or one for each core."""

import os
from pathlib import Path

import numpy as np
import pytest

from lrmil.patches.loading import load_patches
from lrmil.slides.opening import open_slide
from lrmil.slides.threads import reading_threads
from support.slides import write_pyramid


def test_0_is_a_thread_for_each_core_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [reading_threads(count) for count in (1, 2, 40)] == [1, 2, 40]
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 5}, raising=False)
    assert reading_threads(0) == 3
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert reading_threads(0) == 6


def test_patches_are_the_same_with_any_number(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (256, 256, 3), np.uint8)
    corners = np.array([(y, x) for y in range(0, 256, 50) for x in range(0, 256, 50)])
    with open_slide(write_pyramid(tmp_path / "a.tif", pixels, 0.5, factors=())) as slide:
        read = [
            np.concatenate(
                [batch.pixels for batch in load_patches(slide, corners, size=32, mpp=0.5, batch_size=8, threads=count)]
            )
            for count in (0, 1, 3)
        ]
    np.testing.assert_array_equal(read[0], read[1])
    np.testing.assert_array_equal(read[0], read[2])
