"""Divide a cohort into training, validation and test slides: by patient, stratified by label, saved as a table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.model_selection import StratifiedKFold

from lrmil.cohorts.case_drawing import draw_tests, draw_validation
from lrmil.cohorts.cohort import Cohort
from lrmil.errors import CohortError, ConfigError
from lrmil.io.atomic import write_text
from lrmil.io.documents import SPLIT_COLUMNS, read_split_rows
from lrmil.io.ownership import is_splits
from lrmil.io.safe_csv import csv_text, plain_cell
from lrmil.tasks.class_order import order_before_numbers

COLUMNS = SPLIT_COLUMNS


@dataclass(frozen=True, slots=True)
class Fold:
    """One division of a cohort: sorted slide ids of each part. No case is in two parts."""

    name: str
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]


def make_folds(cohort: Cohort, *, folds: int, val_fraction: float, seed: int) -> tuple[Fold, ...]:
    """Divide a cohort for cross-validation; the folds depend on the seed, but not on the order of the table.

    With a split column, there is one fold, that of the table. With a fold column, each of its values is tested once.
    Otherwise, whole cases are drawn so that each class is spread evenly over the folds: by case if each case has one
    label, by slide if a case has several.

    Parameters
    ----------
    cohort
        A checked cohort.
    folds
        Number of folds to draw if the table defines none.
    val_fraction
        Share of the untested cases for validation, 0 to 1; at least one case of each class.
    seed
        Seed of the draw.

    Raises
    ------
    CohortError
        If a class has too few cases to be trained on and validated on in every fold.
    ConfigError
        If `folds` or `val_fraction` is out of range.
    """
    _require_fraction(val_fraction)
    if cohort.split_by == "split":
        return (_table_fold(cohort, val_fraction, seed),)
    tests = _named_tests(cohort) if cohort.split_by == "fold" else _drawn_tests(cohort, folds, seed)
    return tuple(_fold(cohort, name, cases, val_fraction, seed) for name, cases in tests.items())


def final_fold(cohort: Cohort, *, val_fraction: float, seed: int) -> Fold:
    """Divide a cohort for the shipped model: fit on all cases, or on the train and val cases of the table.

    Parameters
    ----------
    cohort, val_fraction, seed
        As for `make_folds`.

    Returns
    -------
    Fold
        Named "final", with an empty `test`; test cases of the split column are in no part.

    Raises
    ------
    CohortError
        If a class has too few cases to be trained on and validated on.
    ConfigError
        If `val_fraction` is out of range.
    """
    _require_fraction(val_fraction)
    if cohort.split_by == "split":
        fold = _table_fold(cohort, val_fraction, seed)
        return Fold("final", fold.train, fold.val, ())
    return _fold(cohort, "final", set(), val_fraction, seed)


def folds_and_final(cohort: Cohort, *, folds: int, val_fraction: float, seed: int) -> tuple[tuple[Fold, ...], Fold]:
    """Divide a cohort into the folds to test on, and the fold of the shipped model, which may be the first of them.

    Draw them from the whole table before any slide is opened, so that an unreadable slide moves no other slide.

    Parameters
    ----------
    cohort, folds, val_fraction, seed
        As for `make_folds`.

    Raises
    ------
    CohortError, ConfigError
        As `make_folds` and `final_fold`.
    """
    tested = make_folds(cohort, folds=folds, val_fraction=val_fraction, seed=seed)
    final = final_fold(cohort, val_fraction=val_fraction, seed=seed)
    same = (final.train, final.val) == (tested[0].train, tested[0].val)
    return tested, tested[0] if same else final


def without_failed(fold: Fold, cohort: Cohort, failed: Mapping[str, str]) -> Fold:
    """Remove failed slides from a fold.

    Parameters
    ----------
    fold, cohort
        The fold, and its slides.
    failed
        Slide id -> why it failed.

    Raises
    ------
    CohortError
        If no readable slide of a class is left to train on, or none in a part of the fold.
    """
    parts = {name: tuple(i for i in getattr(fold, name) if i not in failed) for name in ("train", "val", "test")}
    missing = set(cohort.task.strata) - {cohort.task.stratum(cohort.by_id[i].label) for i in parts["train"]}
    empty = [name for name, slide_ids in parts.items() if getattr(fold, name) and not slide_ids]
    if missing or empty:
        reasons = "; ".join(f"{slide_id}: {message}" for slide_id, message in list(failed.items())[:5])
        raise CohortError(
            f"Expected readable slides of every class in each part of {fold.name}. Got none for "
            f"{', '.join([*sorted(missing), *empty])}, since {len(failed)} slides failed: {reasons}"
        )
    return Fold(fold.name, parts["train"], parts["val"], parts["test"])


def write_splits(path: Path, folds: Sequence[Fold], cohort: Cohort) -> None:
    """Write folds as CSV with the columns `COLUMNS`, complete or not at all.

    Parameters
    ----------
    path
        The .csv file.
    folds
        What to write.
    cohort
        The slides, for their cases and labels.

    Raises
    ------
    OverwriteError, OutputError
        If it cannot be written.
    """
    slides = cohort.by_id
    rows = [
        (fold.name, slide_id, slides[slide_id].case_id, slides[slide_id].label, part)
        for fold in folds
        for part in ("train", "val", "test")
        for slide_id in getattr(fold, part)
    ]
    write_text(path, csv_text([COLUMNS, *rows]), is_splits)


def read_splits(path: Path) -> tuple[Fold, ...]:
    """Read the folds that `write_splits` wrote, in the order of the file.

    Raises
    ------
    FormatError
        If the columns, a part or a name are not those of `write_splits`.
    """
    folds: dict[str, dict[str, list[str]]] = {}
    for row in read_table(path):
        folds.setdefault(row[0], {"train": [], "val": [], "test": []})[row[4]].append(plain_cell(row[1]))
    return tuple(Fold(name, **{part: tuple(ids) for part, ids in parts.items()}) for name, parts in folds.items())


def read_table(path: Path) -> list[list[str]]:
    """Read the rows that `write_splits` wrote, with the five cells of `COLUMNS`.

    Raises
    ------
    FormatError
        If the columns, a part or a name are not those of `write_splits`.
    """
    return read_split_rows(path)


def _require_fraction(val_fraction: float) -> None:
    if not 0 < val_fraction < 1:
        raise ConfigError(f"Expected val_fraction between 0 and 1. Got {val_fraction}; 0.2 is a common choice.")


def _table_fold(cohort: Cohort, val_fraction: float, seed: int) -> Fold:
    cases: dict[str | None, set[str]] = {"train": set(), "val": set(), "test": set()}
    for slide in cohort.slides:
        cases[slide.split].add(slide.case_id)
    if cases["val"]:
        return _by_slides(cohort, "fold-0", cases["train"], cases["val"], cases["test"])
    return _fold(cohort, "fold-0", cases["test"], val_fraction, seed)


def _named_tests(cohort: Cohort) -> dict[str, set[str]]:
    values = sorted(
        {slide.fold for slide in cohort.slides if slide.fold is not None}, key=lambda value: (len(value), value)
    )
    return {f"fold-{value}": {slide.case_id for slide in cohort.slides if slide.fold == value} for value in values}


def _drawn_tests(cohort: Cohort, folds: int, seed: int) -> dict[str, set[str]]:
    """Draw whole cases. If each case has one label, each class is spread evenly by case, not by slide."""
    if folds < 2:
        raise ConfigError(f"Expected at least 2 folds; got {folds}. Set folds to 2 or more.")
    cases = cohort.cases
    grouped = [(slide.case_id, cohort.task.stratum(slide.label)) for slide in cohort.slides]
    smallest = min(sum(name in labels for labels in cases.values()) for name in cohort.task.strata)
    if smallest < folds:
        raise CohortError(
            f"Expected at least {folds} cases of every class; the smallest has {smallest}. Lower --folds or add cases."
        )
    if _are_pure(cases):
        names, labels = list(cases), [labels_of_case[0] for labels_of_case in cases.values()]
        drawn = StratifiedKFold(folds, shuffle=True, random_state=seed).split(names, labels)
        tests = [{names[index] for index in test} for _, test in drawn]
    elif (mixed := draw_tests(grouped, folds, seed)) is not None:
        tests = mixed
    else:
        raise CohortError(
            f"Expected {folds} folds that each leave two cases of every class to fit on; whole cases with slides of "
            "several labels cannot be divided so. Change --folds, add cases, or give a column split or fold."
        )
    return {f"fold-{number}": test for number, test in enumerate(tests)}


def _fold(cohort: Cohort, name: str, test: set[str], val_fraction: float, seed: int) -> Fold:
    rest = {case: labels for case, labels in cohort.cases.items() if case not in test}
    rng = np.random.default_rng([seed, *name.encode()])  # one stream per name, so that folds are independent
    val = _draw_val(rest, cohort.task.strata, val_fraction, name, rng)
    return _by_slides(cohort, name, rest.keys() - val, val, test)


def _are_pure(cases: Mapping[str, Sequence[str]]) -> bool:
    """Return whether the slides of each case have one label."""
    return all(len(labels) == 1 for labels in cases.values())


def _draw_val(
    cases: Mapping[str, Sequence[str]],
    classes: Sequence[str],
    val_fraction: float,
    name: str,
    rng: np.random.Generator,
) -> set[str]:
    members = {label: [case for case, labels in cases.items() if label in labels] for label in classes}
    for label, class_cases in members.items():
        if len(class_cases) < 2:
            raise CohortError(
                f"Expected two cases of class '{label}' besides the tested ones in '{name}' (one to train on, one to "
                f"validate on); got {len(class_cases)}. Add cases of that class, or change the folds."
            )
    if _are_pure(cases):
        pure = set[str]()
        for label in order_before_numbers(classes):  # whichever is the positive class, the draw is the same
            class_cases = members[label]
            count = min(max(1, round(val_fraction * len(class_cases))), len(class_cases) - 1)
            pure.update(class_cases[index] for index in rng.choice(len(class_cases), count, replace=False))
        return pure
    if (drawn := draw_validation(cases, val_fraction, rng)) is None:
        raise CohortError(
            f"Expected cases of every class to train on and to validate on in '{name}'; whole cases with slides of "
            "several labels cannot be divided so. Add cases, or give a column split with train, val and test."
        )
    return drawn


def _by_slides(cohort: Cohort, name: str, *cases: set[str]) -> Fold:
    train, val, test = (
        tuple(sorted(slide.slide_id for slide in cohort.slides if slide.case_id in part)) for part in cases
    )
    return Fold(name, train, val, test)
