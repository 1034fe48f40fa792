"""Evaluate a model on labelled slides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lrmil.cohorts.cohort import Cohort, TableOptions, validate_cohort
from lrmil.cohorts.measured import Part, measured_part
from lrmil.errors import CohortError
from lrmil.io import atomic
from lrmil.io.ownership import is_evaluation, require_free
from lrmil.models.bundle import Bundle
from lrmil.models.learned_from import MEMBER, LearnedFrom
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.table import PredictionRow
from lrmil.slides.checksums import Checksum
from lrmil.slides.inputs import Inputs
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay
from lrmil.tasks.task import Task

EVALUATION = "evaluation.json"


class Seen(NamedTuple):
    """How many of the evaluated slides and cases the model learned from or was selected on."""

    slides: int
    cases: int


class Evaluation(NamedTuple):
    """The metrics of a model on a cohort."""

    metrics: Mapping[str, object]
    failed: dict[str, str]
    """Slide id -> why it could not be classified. These slides are not in the metrics."""
    classified: int
    """Number of slides in the metrics."""
    part: Part
    """Which slides of the table were to be classified."""
    learned_from: Seen | None = None
    """What of these the model has seen; None if the model does not state what it learned from."""

    @property
    def remark(self) -> str:
        """A sentence that the metrics are not those of new slides, or ""."""
        seen = self.learned_from
        if seen is None or seen == (0, 0):
            return ""
        return (
            f"The model learned from {seen.slides} of these {self.classified} slides and from {seen.cases} of these "
            f"{self.metrics.get('n_cases')} cases, or was selected on them: the metrics are not those of new slides."
        )

    def to_dict(self) -> dict[str, object]:
        """Return what files and programs are told, JSON-ready."""
        seen = self.learned_from and self.learned_from._asdict()
        return {"metrics": self.metrics, "failed": self.failed, "part": self.part._asdict(), MEMBER: seen}


def evaluate_steps(
    slides: Path,
    labels: Path,
    bundle: Bundle,
    out: Path,
    options: PredictOptions = DEFAULTS,
    *,
    mpp: Mapping[str, float] | None = None,
    objective_power: bool = False,
    checksums: Mapping[str, tuple[Checksum, ...]] | None = None,
    inputs: Sequence[Path] = (),
    table: TableOptions | None = None,
    part: str = "",
) -> Iterator[Step[Evaluation]]:
    """Classify a labelled cohort into `out` and write its metrics to ``out/evaluation.json``.

    Parameters
    ----------
    slides, labels, bundle, out
        The cohort, the model, and the folder of the predictions.
    options
        How the slides are classified.
    mpp
        Slide id -> um/px of level 0, used where the labels table has none.
    objective_power
        Whether a missing um/px may be computed from the stated magnification.
    checksums
        Slide id -> checksums of its files; see `lrmil.slides.checksums.verify`.
    inputs
        Other files and folders that are read; see `lrmil.prediction.batch.predict_slides`.
    table, part
        How the labels table is read, and which of its slides are measured: see `validate_cohort`, `measured_part`.

    Yields
    ------
    Step
        Warnings and which slides are measured, then as `predict_slides`; the last carries the Evaluation.

    Raises
    ------
    OverwriteError
        If `out` lies in an input, or contains another file named evaluation.json, or a training run.
    CohortError, ConfigError
        If the table has errors, there is no such part, a label in it is unknown to the model, or every slide fails.
    """
    whole, warnings = _read_cohort(slides, labels, bundle, table or TableOptions())
    cohort, measured = _known_part(whole, part, bundle.task)
    sources = _sources(whole, mpp or {}, checksums or {}, objective_power=objective_power)
    read = (labels, *inputs)
    Inputs(sources, read).require_clear([out, out / EVALUATION])
    require_free(out / EVALUATION, is_evaluation)
    for done, sentence in enumerate((*warnings, measured.explain()), start=1):
        yield Step(("labels table",), done, len(warnings) + 1, "messages", message=sentence)
    atomic.remove_ours(out / EVALUATION, is_evaluation)  # or it would stand beside other predictions
    chosen = [source for source in sources if source.slide_id in cohort.by_id]
    rows = yield from relay(predict_slides(chosen, bundle, out, options, inputs=read))
    result = _evaluate(rows, cohort, bundle, measured)
    atomic.write_json(out / EVALUATION, {**result.to_dict(), "bundle_sha256": bundle.sha256}, is_evaluation)
    yield Step(("evaluate",), len(rows), len(rows), "slides", result=result)


def _read_cohort(slides: Path, labels: Path, bundle: Bundle, table: TableOptions) -> tuple[Cohort, Sequence[str]]:
    """Return a cohort of the model's task, and the warnings about its table."""
    report = validate_cohort(slides, labels, folds=None, options=replace(table, task=bundle.task.name))
    if report.cohort is None:
        raise CohortError(report.explain())
    return report.cohort, report.warnings


def _known_part(cohort: Cohort, part: str, task: Task) -> tuple[Cohort, Part]:
    """Return a part of a cohort whose labels the model knows."""
    chosen, what = measured_part(cohort, part)
    if unknown := task.unknown_labels(slide.label for slide in chosen.slides):
        raise CohortError(unknown)
    return chosen, what


def _sources(
    cohort: Cohort,
    mpp: Mapping[str, float],
    checksums: Mapping[str, tuple[Checksum, ...]],
    *,
    objective_power: bool,
) -> list[SlideSource]:
    return [
        SlideSource(
            slide.slide_id,
            slide.path,
            slide.mpp or mpp.get(slide.slide_id),
            objective_power,
            checksums.get(slide.slide_id, ()),
        )
        for slide in cohort.slides
    ]


def _evaluate(rows: Sequence[PredictionRow], cohort: Cohort, bundle: Bundle, part: Part) -> Evaluation:
    task = bundle.task
    good = [row for row in rows if row.status != "failed"]
    failed = {row.slide_id: row.message for row in rows if row.status == "failed"}
    if not good:
        raise CohortError(f"No slide could be classified. The first failed with: {rows[0].message}")
    labelled = [cohort.by_id[row.slide_id] for row in good]
    summary = task.summarise(
        [task.target(slide.label) for slide in labelled],
        np.array([[row.probabilities[name] for name in task.names] for row in good]),
        [slide.case_id for slide in labelled],
    )
    return Evaluation(summary, failed, len(good), part, _seen(good, cohort, bundle.learned_from))


def _seen(rows: Sequence[PredictionRow], cohort: Cohort, learned: LearnedFrom | None) -> Seen | None:
    if learned is None:
        return None
    cases = {cohort.by_id[row.slide_id].case_id for row in rows}
    return Seen(sum(learned.has_slide(row.slide_fingerprint) for row in rows), sum(map(learned.has_case, cases)))
