"""Brier score, log-likelihood and calibration error against plain loops, by hand, and at their limits."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from lrmil.calibration import (
    MAX_BINS,
    MIN_IN_BIN,
    brier_score,
    calibration_error,
    negative_log_likelihood,
    reliability,
)


def drawn(n: int, classes: int, seed: int, digits: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels and probabilities; few digits make ties."""
    rng = np.random.default_rng(seed)
    shares = np.round(rng.dirichlet(np.ones(classes), n), digits) + 10.0**-digits
    return rng.integers(0, classes, n), shares / shares.sum(axis=1, keepdims=True)


def looped_bins(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[tuple[float, float, int]]:
    """Mean probability, share of right answers and number of each bin, one prediction after the other."""
    n = len(labels)
    bins = min(MAX_BINS, max(1, n // MIN_IN_BIN))
    ranked = sorted(max(row) for row in probabilities)
    highest, end = [], 0
    for place in range(bins):
        end += n // bins + (place < n % bins)
        highest.append(ranked[end - 1])
    members: dict[int, list[int]] = {}
    for row in range(n):
        members.setdefault(sum(top < max(probabilities[row]) for top in highest), []).append(row)
    bins_found = []
    for _, rows in sorted(members.items()):
        right = sum(int(np.argmax(probabilities[row])) == labels[row] for row in rows) / len(rows)
        bins_found.append((sum(max(probabilities[row]) for row in rows) / len(rows), right, len(rows)))
    return bins_found


def looped_error(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    found = looped_bins(labels, probabilities)
    return sum(count / len(labels) * abs(right - mean) for mean, right, count in found)


@given(st.integers(0, 10_000), st.integers(1, 130), st.integers(2, 4), st.integers(1, 8))
def test_calibration_error_against_a_loop(seed: int, n: int, classes: int, digits: int) -> None:
    labels, probabilities = drawn(n, classes, seed, digits)
    assert calibration_error(labels, probabilities) == pytest.approx(looped_error(labels, probabilities))


@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(1, 3))
def test_the_order_of_slides_does_not_matter_even_in_ties(seed: int, n: int, digits: int) -> None:
    labels, probabilities = drawn(n, 2, seed, digits)
    order = np.random.default_rng(seed).permutation(n)
    assert calibration_error(labels, probabilities) == pytest.approx(
        calibration_error(labels[order], probabilities[order])
    )


def test_calibration_error_by_hand() -> None:
    sure_and_right, sure_and_wrong = np.array([[0.0, 1.0]] * 20), np.array([[1.0, 0.0]] * 20)
    ones = np.ones(20, np.int64)
    assert calibration_error(ones, sure_and_right) == 0 and calibration_error(ones, sure_and_wrong) == 1
    labels = np.array([1, 1, 1, 0] * 10)
    assert calibration_error(labels, np.array([[0.25, 0.75]] * 40)) == pytest.approx(0)
    assert calibration_error(labels, np.array([[0.05, 0.95]] * 40)) == pytest.approx(0.2)


def test_bins_show_what_the_mean_hides() -> None:
    """Too sure in one half, too unsure in the other: over all slides, the two make up for each other."""
    probabilities = np.array([[0.4, 0.6]] * 20 + [[0.1, 0.9]] * 20)
    labels = np.array([1] * 18 + [0] * 2 + [1] * 12 + [0] * 8)
    assert calibration_error(labels, probabilities) == pytest.approx(0.3)
    assert calibration_error(labels[11:29], probabilities[11:29]) == pytest.approx(
        abs(np.mean(labels[11:29]) - 0.75)
    ), "with fewer than 20 slides there is one bin"


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 4))
def test_brier_score_against_a_loop(seed: int, n: int, classes: int) -> None:
    labels, probabilities = drawn(n, classes, seed, 8)
    total = 0.0
    for label, row in zip(labels, probabilities, strict=True):
        columns = [1] if classes == 2 else range(classes)
        total += sum((row[column] - (label == column)) ** 2 for column in columns)
    assert brier_score(labels, probabilities) == pytest.approx(total / n)


def test_brier_score_of_rounded_probabilities_and_of_one_class() -> None:
    assert brier_score(np.array([0, 2]), np.array([[0.333333, 0.333333, 0.333333]] * 2)) == pytest.approx(2 / 3)
    assert brier_score(np.array([0, 0]), np.array([[0.9, 0.1], [0.5, 0.5]])) == pytest.approx(0.13)


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 4), st.integers(2, 8))
def test_log_likelihood_against_a_loop(seed: int, n: int, classes: int, digits: int) -> None:
    labels, probabilities = drawn(n, classes, seed, digits)
    total = sum(-math.log(row[label]) for label, row in zip(labels, probabilities, strict=True))
    assert negative_log_likelihood(labels, probabilities) == pytest.approx(total / n)


def test_log_likelihood_of_certainty_rounding_and_one_class() -> None:
    sure = np.array([[0.0, 1.0]])
    assert negative_log_likelihood(np.array([1]), sure) == pytest.approx(0, abs=1e-12)
    assert negative_log_likelihood(np.array([0]), sure) == pytest.approx(52 * math.log(2))
    rounded = np.array([[0.333333, 0.333333, 0.333333]] * 2)
    assert negative_log_likelihood(np.array([0, 2]), rounded) == pytest.approx(math.log(3))
    assert negative_log_likelihood(np.array([0, 0]), np.array([[0.9, 0.1], [0.5, 0.5]])) == pytest.approx(
        -math.log(0.45) / 2
    )


@given(st.integers(0, 10_000), st.integers(1, 130), st.integers(2, 4), st.integers(1, 8))
def test_reliability_has_the_bins_of_the_error(seed: int, n: int, classes: int, digits: int) -> None:
    labels, probabilities = drawn(n, classes, seed, digits)
    found = reliability(labels, probabilities)
    expected = looped_bins(labels, probabilities)
    assert found.confidence == pytest.approx([mean for mean, _, _ in expected])
    assert found.right == pytest.approx([right for _, right, _ in expected])
    assert found.slides.tolist() == [count for _, _, count in expected] and found.slides.sum() == n
    error = (found.slides / n * np.abs(found.right - found.confidence)).sum()
    assert error == pytest.approx(calibration_error(labels, probabilities))
    assert (found.interval[:, 0] <= found.right + 1e-12).all() and (found.right <= found.interval[:, 1] + 1e-12).all()


def test_the_interval_of_a_bin_is_wilsons() -> None:
    """7 of 10 right; by the formula."""
    found = reliability(np.array([1] * 7 + [0] * 3), np.array([[0.2, 0.8]] * 10))
    z, share, n = 1.959964, 0.7, 10
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert found.interval[0] == pytest.approx([middle - half, middle + half], abs=1e-6)
