"""Draw test and validation cases when a case may have slides of several labels."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

MIN_FIT_CASES = 2  # untested cases of a class: one to train on, one to validate on
ATTEMPTS = 20  # draws; the one with the most classes in every fold is used
RETRIES = 200  # draws of validation cases; the first nearly always succeeds


def draw_tests(slides: Sequence[tuple[str, str]], folds: int, seed: int) -> list[set[str]] | None:
    """Divide cases so that each fold tests slides of every class, as evenly as whole cases allow.

    Parameters
    ----------
    slides
        Case and label of each slide, in any order.
    folds
        Number of folds; each class needs at least as many cases.
    seed
        Seed of the draw.

    Returns
    -------
    list of set of str or None
        The tested cases of each fold. None if no draw leaves `MIN_FIT_CASES` cases of every class untested.
    """
    from sklearn.model_selection import StratifiedGroupKFold  # its import takes a second, and few cohorts need it

    rng = np.random.default_rng(seed)
    counted = sorted(slides), sorted(set(slides))  # by slide, then by case: large cases may allow no draw by slide
    for pairs in counted:
        cases, labels = [case for case, _ in pairs], [label for _, label in pairs]
        best: tuple[int, list[set[str]]] | None = None
        for _ in range(ATTEMPTS):
            splitter = StratifiedGroupKFold(folds, shuffle=True, random_state=int(rng.integers(2**31)))
            tests = [{cases[index] for index in test} for _, test in splitter.split(cases, labels, cases)]
            missing = _missing(pairs, tests)
            if missing is not None and (best is None or missing < best[0]):
                best = missing, tests
            if best is not None and best[0] == 0:
                break
        if best is not None:
            return best[1]
    return None


def draw_test_part(cases: Mapping[str, Sequence[str]], fraction: float, seed: int) -> set[str] | None:
    """Draw whole cases as the only test part, stratified by the labels of their slides.

    Parameters
    ----------
    cases
        Case -> labels of its slides.
    fraction
        Desired share of the cases, 0 to 1.
    seed
        Seed of the draw.

    Returns
    -------
    set of str or None
        As near to the share as whole cases allow that test every class and leave `MIN_FIT_CASES` cases of it. None if
        there are no such cases.
    """
    groups: dict[tuple[str, ...], list[str]] = {}
    for case in sorted(cases):
        groups.setdefault(tuple(sorted(cases[case])), []).append(case)
    counts = _apportioned({labels: len(groups[labels]) for labels in sorted(groups)}, fraction)
    if counts is None:
        return None
    rng = np.random.default_rng([seed, *b"test"])
    drawn: set[str] = set()
    for labels, count in counts.items():
        drawn.update(groups[labels][index] for index in rng.choice(len(groups[labels]), count, replace=False))
    return drawn


def draw_validation(
    cases: Mapping[str, Sequence[str]], val_fraction: float, rng: np.random.Generator
) -> set[str] | None:
    """Draw validation cases so that both validation and training have slides of every class.

    Parameters
    ----------
    cases
        Case -> labels of its slides.
    val_fraction
        Desired share of the cases of each class, 0 to 1.
    rng
        Source of the randomness.

    Returns
    -------
    set of str or None
        The validation cases; None if no draw gives every class to both parts.
    """
    members: dict[str, list[str]] = {}
    for case in sorted(cases):
        for label in cases[case]:
            members.setdefault(label, []).append(case)
    if any(len(class_cases) < MIN_FIT_CASES for class_cases in members.values()):
        return None
    wanted = {
        label: min(max(1, round(val_fraction * len(class_cases))), len(class_cases) - 1)
        for label, class_cases in members.items()
    }
    for attempt in range(RETRIES):
        most = (
            wanted if attempt < RETRIES / 2 else {label: len(class_cases) - 1 for label, class_cases in members.items()}
        )
        drawn: set[str] = set()
        counts = dict.fromkeys(members, 0)
        for label in sorted(
            members, key=lambda label: (len(members[label]), label)
        ):  # rare classes first: they leave the least choice
            for index in rng.permutation(len(members[label])):
                case = members[label][index]
                if counts[label] >= wanted[label]:
                    break
                if case not in drawn and all(counts[other] < most[other] for other in cases[case]):
                    drawn.add(case)
                    counts |= {other: counts[other] + 1 for other in cases[case]}
        if all(0 < counts[label] < len(class_cases) for label, class_cases in members.items()):
            return drawn
    return None


def _missing(slides: Sequence[tuple[str, str]], tests: Sequence[set[str]]) -> int | None:
    """Count the folds that test no slide of a class; return None if too few cases of a class are left to fit on."""
    by_label: dict[str, set[str]] = {}
    for case, label in slides:
        by_label.setdefault(label, set()).add(case)
    if any(len(cases - test) < MIN_FIT_CASES or not test for test in tests for cases in by_label.values()):
        return None
    return sum(not cases & test for test in tests for cases in by_label.values())


def _apportioned(sizes: Mapping[tuple[str, ...], int], fraction: float) -> dict[tuple[str, ...], int] | None:
    """Return how many cases of each group to test, where a group is the cases with the same labels.

    Cases are added one by one to the group that lacks most, until the share of all cases is reached. Of groups with a
    label each, no other counts that add up to the same are nearer to the share.
    """
    classes = sorted(
        {label for labels in sizes for label in labels}, key=lambda label: (_of_class(sizes, label), label)
    )
    counts = dict.fromkeys(sizes, 0)

    def add(groups: Iterable[tuple[str, ...]]) -> bool:
        free = [
            labels
            for labels in groups
            if counts[labels] < sizes[labels]
            and all(_of_class(counts, one) < _of_class(sizes, one) - MIN_FIT_CASES for one in labels)
        ]
        if free:
            counts[max(free, key=lambda labels: fraction * sizes[labels] - counts[labels])] += 1
        return bool(free)

    for label in classes:  # rare classes first: they leave the least choice
        if not _of_class(counts, label) and not add([labels for labels in sizes if label in labels]):
            return None
    while sum(counts.values()) < round(fraction * sum(sizes.values())) and add(sizes):
        pass
    return counts


def _of_class(counts: Mapping[tuple[str, ...], int], label: str) -> int:
    return sum(count for labels, count in counts.items() if label in labels)
