"""Divide the training cases of a fold once more, so that each slide has outputs of models that have not seen it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sklearn.model_selection import StratifiedGroupKFold


class InnerFolds(NamedTuple):
    """Inner folds, or why there are none."""

    held_out: tuple[tuple[str, ...], ...]
    """Sorted ids of the slides that each inner fold leaves out; each slide is in one of them."""
    reason: str = ""
    """Why there are fewer than asked for, in one sentence."""


def count_cases(slide_ids: Sequence[str], cases: Mapping[str, str], strata: Mapping[str, str]) -> dict[str, int]:
    """Count the cases with a slide of each stratum.

    Parameters
    ----------
    slide_ids
        The slides.
    cases, strata
        Slide id -> its case, and slide id -> its stratum (`lrmil.tasks.task.Task.stratum`).

    Returns
    -------
    dict
        Stratum -> number of cases; strata without a slide are absent.
    """
    pairs = {(strata[slide_id], cases[slide_id]) for slide_id in slide_ids}
    return {stratum: sum(found == stratum for found, _ in pairs) for stratum in sorted({found for found, _ in pairs})}


def draw_inner_folds(
    slide_ids: Sequence[str], cases: Mapping[str, str], strata: Mapping[str, str], *, folds: int, seed: int
) -> InnerFolds:
    """Divide slides by case, stratified, so that every stratum is left to train on in each inner fold.

    Parameters
    ----------
    slide_ids
        Slides to train and validate on.
    cases, strata
        As in `count_cases`.
    folds
        Inner folds at most; 0 for none.
    seed
        Seed of the draw.

    Returns
    -------
    InnerFolds
        As many as the smallest stratum has cases, if those are fewer than `folds`; none if it has one.
    """
    if not folds:
        return InnerFolds((), "inner_folds is 0")
    fewest = min(count_cases(slide_ids, cases, strata).values())
    for count in range(min(folds, fewest), 1, -1):
        drawn = _draw(sorted(slide_ids), cases, strata, count, seed)
        if all(_can_train(slide_ids, held, strata) for held in drawn):
            why = f"{count} inner folds in place of {folds}, since the smallest class has {fewest} cases to train on"
            return InnerFolds(drawn, "" if count == folds else why)
    cases_left = "case" if fewest == 1 else "cases"
    return InnerFolds((), f"the smallest class has {fewest} {cases_left} to train on, which cannot be divided")


def _draw(
    slide_ids: Sequence[str], cases: Mapping[str, str], strata: Mapping[str, str], count: int, seed: int
) -> tuple[tuple[str, ...], ...]:
    split = StratifiedGroupKFold(count, shuffle=True, random_state=seed % 2**32)
    groups = [cases[slide_id] for slide_id in slide_ids]
    drawn = split.split(slide_ids, [strata[slide_id] for slide_id in slide_ids], groups)
    return tuple(tuple(slide_ids[place] for place in held) for _, held in drawn)


def _can_train(slide_ids: Sequence[str], held_out: Sequence[str], strata: Mapping[str, str]) -> bool:
    left = {strata[slide_id] for slide_id in set(slide_ids) - set(held_out)}
    return bool(held_out) and left == {strata[slide_id] for slide_id in slide_ids}
