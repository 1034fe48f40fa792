"""Nearly equal pictures are found as by comparing each with each."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.cohorts.near_duplicates import similar_pairs

LEAST = 0.99
SIDE = 32
Pictures = NDArray[np.float32]


def of_length_one(pictures: NDArray[np.float64]) -> Pictures:
    flat = pictures.reshape(len(pictures), SIDE**2)
    flat = flat - flat.mean(axis=1, keepdims=True)
    flat /= np.linalg.norm(flat, axis=1, keepdims=True)
    return flat.reshape(-1, SIDE, SIDE).astype(np.float32)


def blobs(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Dark ellipses on glass, as an overview shows tissue."""
    y, x = np.mgrid[:SIDE, :SIDE]
    pictures = rng.normal(0, 0.02, (count, SIDE, SIDE))
    for picture in pictures:
        for _ in range(rng.integers(1, 5)):
            (cy, cx), (ry, rx) = rng.uniform(4, 28, 2), rng.uniform(2, 9, 2)
            picture -= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
    return pictures


def noise(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.normal(size=(count, SIDE, SIDE))


def stripes(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Only frequencies that the tree does not see, so that all pictures are neighbours in it."""
    signs = rng.choice([-1.0, 1.0], (count, SIDE // 2, SIDE // 2))
    return np.kron(signs, np.array([[1.0, -1.0], [-1.0, 1.0]]))


def few(count: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Three pictures, each of them many times."""
    return blobs(3, rng)[rng.integers(0, 3, count)]


def naive_pairs(pictures: Pictures) -> tuple[set[tuple[int, int]], set[tuple[int, int]]]:
    """The pairs of a loop over all of them: those that must be found, and those where rounding decides."""
    sure, near = set(), set()
    for one in range(len(pictures)):
        for other in range(one + 1, len(pictures)):
            correlation = float(np.sum(pictures[one].astype(float) * pictures[other]))
            if abs(correlation - LEAST) < 1e-6:
                near.add((one, other))
            elif correlation > LEAST:
                sure.add((one, other))
    return sure, near


@settings(max_examples=60, deadline=None)
@given(
    kind=st.sampled_from([blobs, noise, stripes, few]),
    count=st.integers(0, 25),
    seed=st.integers(0, 2**32 - 1),
    copies=st.lists(st.floats(0, 0.3), max_size=15),
)
def test_all_pairs_and_no_others_are_found(kind: object, count: int, seed: int, copies: list[float]) -> None:
    """Copies differ from a picture by noise of up to 0.3 of its length: their correlation is 0.95 to 1."""
    rng = np.random.default_rng(seed)
    pictures = of_length_one(kind(count, rng))  # type: ignore[operator]
    for strength in copies if count else []:
        changed = pictures[rng.integers(len(pictures))] + strength * rng.normal(size=(SIDE, SIDE)) / SIDE
        pictures = np.concatenate([pictures, of_length_one(changed[None])])
    found = similar_pairs(pictures, LEAST).tolist()
    sure, near = naive_pairs(pictures)
    assert found == sorted(found) and len({(one, other) for one, other in found}) == len(found)
    assert sure <= {(one, other) for one, other in found} <= sure | near


@pytest.mark.parametrize("angle", [0.1412, 0.1415, 0.1417])
@pytest.mark.parametrize("wave", [(0, 1), (3, 2), (7, 7), (20, 11), (31, 31)])
def test_a_pair_at_the_limit_in_any_direction(angle: float, wave: tuple[int, int]) -> None:
    """The whole difference of two pictures lies in one frequency, which the tree may see or not."""
    from scipy.fft import idctn

    def one(frequency: tuple[int, int]) -> NDArray[np.float64]:
        spectrum = np.zeros((SIDE, SIDE))
        spectrum[frequency] = 1
        return np.asarray(idctn(spectrum, norm="ortho"))

    base = one((1, 1))
    pair = np.stack([base, np.cos(angle) * base + np.sin(angle) * one(wave)]).astype(np.float32)
    others = of_length_one(blobs(30, np.random.default_rng(0)))
    for pictures in (pair, np.concatenate([pair, others])):
        assert ([0, 1] in similar_pairs(pictures, LEAST).tolist()) == (np.cos(angle) >= LEAST)


@pytest.mark.parametrize("kind", [blobs, noise])
def test_few_pairs_are_compared(kind: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 124,750 pairs of different pictures, nearly all are told apart by the tree."""
    from lrmil.cohorts import near_duplicates

    compared, real = [0], near_duplicates.correlations

    def counted(pictures: Pictures, pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        compared[0] += len(pairs)
        return real(pictures, pairs)

    monkeypatch.setattr(near_duplicates, "correlations", counted)
    pictures = of_length_one(kind(500, np.random.default_rng(1)))  # type: ignore[operator]
    assert similar_pairs(pictures, LEAST).tolist() == [] and compared[0] < 500
