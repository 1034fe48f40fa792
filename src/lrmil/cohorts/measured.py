"""Choose the part of a labelled cohort that a model is measured on, and say which it is."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

from lrmil.cohorts.cohort import Cohort
from lrmil.errors import CohortError, ConfigError

SPLITS = ("train", "val", "test")
ALL = "all"
PARTS = (*SPLITS, ALL)


class Part(NamedTuple):
    """What of a labels table is measured."""

    name: str
    """One of `PARTS`."""
    slides: int
    """Number of its slides."""
    table_slides: int
    """Number of slides in the table."""
    splits: Mapping[str, int]
    """Split -> number of slides of the part; empty if the table has no column "split"."""

    def explain(self) -> str:
        """Return which slides are measured, in a sentence."""
        if self.name != ALL:
            return f"Measured slides: the {self.name} part of the table, {self.slides} of {self.table_slides}."
        if self.splits:
            counts = ", ".join(f"{count} {name}" for name, count in self.splits.items())
            return f"Measured slides: the whole table, {self.slides} ({counts})."
        return (
            f"Measured slides: the whole table, {self.slides}; it has no column 'split', which would say whether the "
            "model learned from them."
        )


def measured_part(cohort: Cohort, name: str = "") -> tuple[Cohort, Part]:
    """Return the slides of a part of a cohort, and what they are.

    Parameters
    ----------
    cohort
        All slides of the table.
    name
        One of `PARTS`; "" for "test" if the table has test slides, else "all".

    Raises
    ------
    ConfigError
        If there is no part of that name.
    CohortError
        If the table has no column "split", or no slide in that part.
    """
    if name not in ("", *PARTS):
        raise ConfigError(f"Expected one of the parts {', '.join(PARTS)}. Got '{name}'.")
    of_split: Counter[str] = Counter(slide.split for slide in cohort.slides if slide.split)
    name = name or ("test" if of_split["test"] else ALL)
    splits = {split: of_split[split] for split in SPLITS if of_split[split]}
    if name == ALL:
        return cohort, Part(ALL, len(cohort.slides), len(cohort.slides), splits)
    if not splits:
        raise CohortError(
            f"The labels table has no column 'split', so there is no part '{name}'. Add the column, or leave --part "
            "out to measure all slides."
        )
    if name not in splits:
        counts = ", ".join(f"{count} {split}" for split, count in splits.items())
        raise CohortError(
            f"No slide of the labels table has the split '{name}'; it has {counts}. Choose another --part."
        )
    chosen = replace(cohort, slides=tuple(slide for slide in cohort.slides if slide.split == name))
    return chosen, Part(name, len(chosen.slides), len(cohort.slides), {name: splits[name]})
