"""What a slide looks like: against a loop over pixels, and whatever the batches."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.features.appearance import COLOURS, LENGTH, STEP, appearance, patch_colours


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(1, 19))
def test_colours_are_those_of_a_loop(seed: int, patches: int, side: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (patches, side, side, 3), np.uint8)
    found = appearance(patch_colours(pixels), rng.normal(size=(patches, 7)).astype(np.float32))
    for channel in range(3):
        densities = [
            -math.log(max(int(pixels[patch, y, x, channel]), 1) / 255)
            for patch in range(patches)
            for y in range(0, side, STEP)
            for x in range(0, side, STEP)
        ]
        assert found[channel] == pytest.approx(np.mean(densities), rel=1e-5, abs=1e-9)
        assert found[3 + channel] == pytest.approx(np.std(densities), rel=1e-4, abs=1e-6)


@given(st.integers(0, 10_000), st.integers(2, 9), st.data())
def test_neither_batches_nor_the_order_of_patches_change_it(seed: int, patches: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 256, (patches, 9, 9, 3), np.uint8)
    embeddings = rng.normal(size=(patches, 5)).astype(np.float32)
    cut, order = data.draw(st.integers(1, patches - 1)), rng.permutation(patches)
    batches = np.concatenate([patch_colours(pixels[:cut]), patch_colours(pixels[cut:])])
    whole = appearance(patch_colours(pixels), embeddings)
    assert appearance(batches, embeddings) == whole and len(whole) == LENGTH
    assert appearance(batches[order], embeddings[order]) == pytest.approx(whole, rel=1e-5)


def test_a_sketch_keeps_distances_nearly() -> None:
    embeddings = np.random.default_rng(0).normal(size=(30, 1, 1280)).astype(np.float32)
    colours = np.zeros((1, COLOURS))
    sketches = np.array([appearance(colours, one)[COLOURS:] for one in embeddings])
    for first in range(29):
        kept = np.linalg.norm(sketches[first] - sketches[first + 1])
        assert 0.5 < kept / np.linalg.norm(embeddings[first] - embeddings[first + 1]) < 1.6


def test_the_projection_is_the_same_in_every_version() -> None:
    """Models keep sketches of their training slides, so the sketch of a new slide must be by the same projection."""
    unit = np.eye(1, 4, dtype=np.float32)
    assert appearance(np.zeros((1, COLOURS)), unit)[COLOURS : COLOURS + 3] == (0.311843, 0.0707385, 0.173018)
