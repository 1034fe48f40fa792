"""Cohen's kappa is scikit-learn's, its interval a naive bootstrap's, and what is not defined says why."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from lrmil.reviews.kappa import NO_WIDTH, RESAMPLES, kappa_of, weighted_kappa

labels = st.sampled_from(["a", "a\0", "b", "ß"])  # numpy takes the first two for one text
pairs = st.lists(st.tuples(labels, labels, st.sampled_from("pqrst")), min_size=1, max_size=12)


def by_hand(first: list[str], second: list[str]) -> float | None:
    """Cohen's kappa by its definition."""
    n = len(first)
    equal = sum(one == other for one, other in zip(first, second, strict=True)) / n
    chance = sum(first.count(label) * second.count(label) for label in {*first, *second}) / n**2
    return None if chance == 1 else (equal - chance) / (1 - chance)


@pytest.mark.parametrize(
    ("counts", "kappa", "error"),
    [
        ([[75, 1, 4], [5, 4, 1], [0, 0, 10]], 0.6765, 0.0877),  # Fleiss, Levin and Paik (2003), table 18.1
        ([[88, 14, 18], [10, 40, 10], [2, 6, 12]], 0.4915, 0.0510),  # Cohen (1960), counts of 200
    ],
)
def test_published_values(counts: list[list[int]], kappa: float, error: float) -> None:
    """The interval is that of the standard error of Fleiss, Cohen and Everitt (1969), as far as a bootstrap goes."""
    rows = [(one, other) for one, row in enumerate(counts) for other, count in enumerate(row) for _ in range(count)]
    first, second = ([str(pair[place]) for pair in rows] for place in (0, 1))
    found = kappa_of(first, second, list(map(str, range(len(rows)))))
    assert found.kappa == pytest.approx(kappa, abs=1e-4) and found.interval is not None
    assert (found.interval[1] - found.interval[0]) / (2 * 1.96) == pytest.approx(error, rel=0.1)


@given(pairs)
def test_the_estimate_is_that_of_the_definition(rows: list[tuple[str, str, str]]) -> None:
    first, second, cases = map(list, zip(*rows, strict=True))
    found, expected = kappa_of(first, second, cases), by_hand(first, second)
    assert (found.pairs, found.cases) == (len(rows), len(set(cases)))
    if expected is None:
        assert found.kappa is None and found.interval is None and found.reason
    else:
        assert found.kappa == pytest.approx(expected)


@given(pairs, st.randoms(use_true_random=False))
def test_order_of_slides_and_of_readers_does_not_matter(rows, random) -> None:  # type: ignore[no-untyped-def]
    first, second, cases = map(list, zip(*rows, strict=True))
    found = kappa_of(first, second, cases)
    random.shuffle(rows)
    shuffled = list(zip(*rows, strict=True))
    for other in (kappa_of(*shuffled), kappa_of(shuffled[1], shuffled[0], shuffled[2])):
        assert (other.pairs, other.agreed, other.cases, other.reason) == (
            found.pairs,
            found.agreed,
            found.cases,
            found.reason,
        )
        assert other.kappa == pytest.approx(found.kappa) and other.interval == pytest.approx(found.interval)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=8).flatmap(
        lambda rows: st.tuples(
            st.just(rows), st.lists(st.lists(st.integers(0, 4), min_size=len(rows), max_size=len(rows)), min_size=1)
        )
    )
)
def test_weights_are_repetitions_as_scikit_learn_counts_them(rows_weights) -> None:  # type: ignore[no-untyped-def]
    rows, weights = rows_weights
    first, second = np.array(rows).T
    found = weighted_kappa(first, second, np.array(weights))
    for value, counts in zip(found, weights, strict=True):
        one, other = np.repeat(first, counts), np.repeat(second, counts)
        if len({*one, *other}) < 2:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(cohen_kappa_score(one, other))


def test_the_interval_is_that_of_a_naive_bootstrap_of_cases() -> None:
    random = np.random.default_rng(3)
    cases = [f"p{number // 3}" for number in range(90)]
    first = [str(label) for label in random.integers(0, 2, 90)]
    second = [one if random.random() < 0.8 else "1" for one in first]
    found = kappa_of(first, second, cases)
    names = sorted(set(cases))
    slides = {name: [number for number, case in enumerate(cases) if case == name] for name in names}
    values = []
    for _ in range(RESAMPLES):
        drawn = [number for case in random.choice(names, len(names)) for number in slides[case]]
        values.append(cohen_kappa_score([first[n] for n in drawn], [second[n] for n in drawn]))
    assert found.interval == pytest.approx(np.quantile(values, [0.025, 0.975]), abs=0.03)
    assert found.kappa == pytest.approx(cohen_kappa_score(first, second)) and found.reason == ""
    one_slide_each = kappa_of(first, second, [str(number) for number in range(90)])
    assert one_slide_each.kappa == found.kappa and one_slide_each.interval != found.interval


def test_what_is_not_defined_says_why() -> None:
    nothing, alone, one_case = kappa_of([], [], []), kappa_of("aa", "aa", "pq"), kappa_of("ab", "ab", "pp")
    assert nothing.kappa is None and nothing.pairs == 0 and "no slide" in nothing.reason
    assert alone.kappa is None and (alone.agreed, alone.pairs) == (2, 2) and "'a' alone" in alone.reason
    assert one_case.kappa == 1 and one_case.interval is None and "one case" in one_case.reason
    only_one_varies = kappa_of("abab", "aaaa", "pqrs")
    assert only_one_varies.kappa == 0 and only_one_varies.interval == (0, 0) and only_one_varies.reason == NO_WIDTH


def test_lengths_must_match() -> None:
    with pytest.raises(ValueError, match="as many"):
        kappa_of("ab", "ab", "p")
