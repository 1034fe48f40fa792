"""Metrics of a shipped model on labelled slides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lrmil.cohorts.cohort import TableOptions, validate_cohort
from lrmil.errors import CohortError
from lrmil.io import atomic
from lrmil.io.ownership import is_evaluation, require_free
from lrmil.models.bundle import Bundle
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.slides.checksums import Checksum
from lrmil.slides.inputs import Inputs
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay

EVALUATION = "evaluation.json"


class Evaluation(NamedTuple):
    """How a model did."""

    metrics: Mapping[str, object]
    failed: dict[str, str]
    """Slide id -> why it could not be classified; such slides are not in the metrics."""
    classified: int
    """How many slides are in the metrics."""


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
) -> Iterator[Step[Evaluation]]:
    """Classify a labelled cohort into `out` and compare, also as ``out/evaluation.json``.

    Parameters
    ----------
    slides, labels, bundle, out
        The cohort, the model, and the folder of the predictions.
    options
        How the slides are classified.
    mpp
        Slide id -> um/px of level 0, for slides of which the labels table gives none.
    objective_power
        Whether the stated magnification may stand in for a missing um/px.
    checksums
        Slide id -> what the content of its files must be; see `lrmil.slides.checksums.verify`.
    inputs
        Files and folders that are read besides slides and labels; see `lrmil.prediction.batch.predict_slides`.
    table
        How the labels table is read; see `validate_cohort`.

    Raises
    ------
    OverwriteError
        If `out` lies in something that is read, or holds an evaluation.json or a run that is not of an evaluation.
    CohortError
        If the table has problems, or a label is nothing that the model can say.
    """
    table = replace(table or TableOptions(), task=bundle.task.name)
    report = validate_cohort(slides, labels, folds=None, options=table)
    if report.cohort is None:
        raise CohortError(report.explain())
    cohort = report.cohort
    if unknown := bundle.task.unknown_labels(slide.label for slide in cohort.slides):
        raise CohortError(unknown)
    sources = [
        SlideSource(
            slide.slide_id,
            slide.path,
            slide.mpp or (mpp or {}).get(slide.slide_id),
            objective_power,
            (checksums or {}).get(slide.slide_id, ()),
        )
        for slide in cohort.slides
    ]
    read = (labels, *inputs)
    Inputs(sources, read).require_clear([out, out / EVALUATION])
    require_free(out / EVALUATION, is_evaluation)
    for done, sentence in enumerate(report.warnings, start=1):
        yield Step(("labels table",), done, len(report.warnings), "warnings", message=sentence)
    rows = yield from relay(predict_slides(sources, bundle, out, options, inputs=read))
    good = [row for row in rows if row.status != "failed"]
    failed = {row.slide_id: row.message for row in rows if row.status == "failed"}
    if not good:
        raise CohortError(f"Expected slides that can be classified. Got none; the first failed with: {rows[0].message}")
    labelled = [cohort.by_id[row.slide_id] for row in good]
    summary = bundle.task.summarise(
        [bundle.task.target(slide.label) for slide in labelled],
        np.array([[row.probabilities[name] for name in bundle.task.names] for row in good]),
        [slide.case_id for slide in labelled],
    )
    document = {"metrics": summary, "failed": failed, "bundle_sha256": bundle.sha256}
    atomic.write_json(out / EVALUATION, document, is_evaluation)
    yield Step(("evaluate",), len(rows), len(rows), "slides", result=Evaluation(summary, failed, len(good)))
