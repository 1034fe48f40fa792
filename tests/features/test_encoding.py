"""Batches of one slide are put together in order, and a slide of which nothing could be read fails."""

import numpy as np
import pytest

from lrmil.errors import SlideError
from lrmil.features.encoding import Encoded, concatenate


def batch(positions: list[int], failed: list[int]) -> Encoded:
    embeddings = np.array([[position, 0.5] for position in positions], np.float32).reshape(-1, 2)
    layers = (embeddings * 2, embeddings[:, :1] * 3) if positions else ()
    return Encoded(np.array(positions, np.int64), embeddings, layers, np.array(failed, np.int64))


def test_batches_keep_their_order_and_each_row_its_position() -> None:
    joined = concatenate([batch([0, 2], [1]), batch([], [3, 4]), batch([5], [])])
    assert joined.positions.tolist() == [0, 2, 5] and joined.failed.tolist() == [1, 3, 4]
    np.testing.assert_array_equal(joined.embeddings[:, 0], joined.positions)
    np.testing.assert_array_equal(joined.layers[0], joined.embeddings * 2)
    np.testing.assert_array_equal(joined.layers[1], joined.embeddings[:, :1] * 3)


def test_nothing_readable_is_an_error_with_the_number() -> None:
    with pytest.raises(SlideError, match="None of the 3 patches"):
        concatenate([batch([], [0, 1]), batch([], [2])])
