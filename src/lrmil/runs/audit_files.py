"""The documents of a finished run and the artefacts of its folds, as an audit reads them."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from lrmil.cohorts.cohort import Cohort, SlideRecord
from lrmil.cohorts.splits import Fold, read_splits, read_table
from lrmil.configs import TrainConfig
from lrmil.errors import FormatError
from lrmil.features.store import FeaturesCard, read_card
from lrmil.io.documents import ARTEFACTS, read_json_document
from lrmil.io.safe_csv import plain_cell
from lrmil.runs.plan_file import read_plan
from lrmil.runs.sites import read_sites
from lrmil.tasks.choice import task_in

METRICS = "metrics.json"
MAX_NAMED = 5  # slides or cases in one finding


class Finding(NamedTuple):
    """One thing that is not as it should be."""

    where: str
    """The file or folder, relative to the run."""
    message: str
    """What is wrong, in one sentence."""


class Note(NamedTuple):
    """Something that could not be compared, in a sentence."""

    message: str


class Record(NamedTuple):
    """What artefact.json states."""

    key: str
    inputs: Mapping[str, Any]
    sha256: Mapping[str, str] | None
    """File -> hash of its content; None in artefacts of earlier versions."""


@dataclass(frozen=True)  # no slots: cached properties need a __dict__
class RunFiles:
    """The documents of a run.

    Attributes
    ----------
    run
        The run folder.
    config
        Its settings.
    figures
        Content of metrics.json.
    folds
        The folds of splits.csv.
    rows
        Its rows: fold, slide_id, case_id, label, part.
    cohort
        Slides, cases and labels of splits.csv, and sites of sites.json.
    records
        Name of the fold -> name of the artefact -> what it states, of all artefacts that can be read.
    """

    run: Path
    config: TrainConfig
    figures: Mapping[str, Any]
    folds: tuple[Fold, ...]
    rows: Sequence[Sequence[str]]
    cohort: Cohort
    records: Mapping[str, Mapping[str, Record]]

    @property
    def tested(self) -> tuple[Fold, ...]:
        """The folds with test slides."""
        return tuple(fold for fold in self.folds if fold.test)

    @property
    def final(self) -> Fold:
        """The fold of the shipped model."""
        return next((fold for fold in self.folds if fold.name == "final"), self.folds[0])

    @cached_property
    def is_recent(self) -> bool:
        """Whether the run is of a version that keeps hashes, and so a calibration and what its model learned from."""
        return any(record.sha256 is not None for of_fold in self.records.values() for record in of_fold.values())

    @cached_property
    def targets(self) -> Mapping[str, object]:
        """Slide id -> its label as inputs of artefacts state it."""
        return {slide_id: json.loads(json.dumps(target)) for slide_id, target in self.cohort.targets.items()}

    @cached_property
    def _cards(self) -> dict[Path, FeaturesCard | None]:
        return {}

    def card(self, path: Path) -> FeaturesCard | None:
        """Return the card of features, read once; None if it is absent or damaged."""
        if path not in self._cards:
            try:
                self._cards[path] = read_card(path)
            except (FormatError, OSError):
                self._cards[path] = None
        return self._cards[path]

    def case_of(self, slide_id: str) -> str:
        """Return the case of a slide; that of an unknown slide is the slide itself."""
        found = self.cohort.by_id.get(slide_id)
        return found.case_id if found else slide_id


def read_run_files(run: Path) -> RunFiles:
    """Read the documents of a finished run.

    Parameters
    ----------
    run
        The run folder.

    Raises
    ------
    FormatError
        If one of plan.toml, splits.csv and metrics.json is absent, or one of them or sites.json cannot be read.
    """
    config, _, _ = read_plan(run)
    if not os.path.lexists(run / METRICS):
        raise FormatError(
            f"The run in {run} is not finished: it has no {METRICS}. Run the same lrmil train command to finish it."
        )
    try:
        figures = read_json_document(run / METRICS)
        rows = [list(map(plain_cell, row)) for row in read_table(run / "splits.csv")]
        folds = read_splits(run / "splits.csv")
        task = task_in(figures)
        labels = {row[1]: row[3] for row in rows}
        if not folds:
            raise FormatError("splits.csv has no rows.")
        if unknown := task.unknown_labels(labels.values()):
            raise FormatError(unknown)
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise FormatError(
            f"The run in {run} cannot be audited, since its splits.csv or {METRICS} is damaged: {error} Run the same "
            "lrmil train command again."
        ) from error
    cases = {row[1]: row[2] for row in rows}
    sites = read_sites(run)
    slides = tuple(
        SlideRecord(slide_id, Path(), labels[slide_id], cases[slide_id], site=sites.get(slide_id))
        for slide_id in sorted(cases)
    )
    records = {fold.name: _records(run / fold.name) for fold in folds}
    return RunFiles(run, config, figures, folds, rows, Cohort(slides, task), records)


def some(names: Sequence[str] | set[str]) -> str:
    """Name the first of several slides or cases, and how many more there are."""
    named = sorted(names)
    more = f" and {len(named) - MAX_NAMED} more" if len(named) > MAX_NAMED else ""
    return ", ".join(named[:MAX_NAMED]) + more


def _records(fold: Path) -> dict[str, Record]:
    found = {name: _record(fold / name) for name in ARTEFACTS}
    return {name: record for name, record in found.items() if record}


def _record(folder: Path) -> Record | None:
    try:
        document = read_json_document(folder / "artefact.json")
        key, inputs, hashes = document["key"], document["inputs"], document.get("sha256")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    if not isinstance(key, str) or not isinstance(inputs, dict) or not isinstance(hashes, dict | None):
        return None
    return Record(key, inputs, hashes)
