"""Evaluate a model on labelled slides."""

from collections.abc import Callable, Iterator, Mapping, Sequence
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
from lrmil.models.card import CASE_RULE
from lrmil.models.learned_from import MEMBER, LearnedFrom
from lrmil.models.origins import unseen_remarks
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.table import PredictionRow
from lrmil.slides.checksums import Checksum
from lrmil.slides.each import IN_PROCESS, Executor
from lrmil.slides.inputs import Inputs
from lrmil.slides.shards import Shard
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay
from lrmil.tasks.abstention import Abstention, abstention_figures, abstention_in_words
from lrmil.tasks.answers import Answer
from lrmil.tasks.by_site import BY_SITE, figures_by_site
from lrmil.tasks.case_figures import summarise_by_rule
from lrmil.tasks.case_rule import MEAN, CaseRule
from lrmil.tasks.task import Task

EVALUATION = "evaluation.json"
MIDDLE = 0.5  # from which on one of two classes is the most probable


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
    abstention: Abstention | None = None
    """Which of the slides are uncertain, and how often the others are wrong; None if no answer is right or wrong."""
    learned_from: Seen | None = None
    """What of these the model has seen; None if the model does not state what it learned from."""
    case_rule: CaseRule = MEAN
    """How the slides of a case were answered as one."""
    by_site: list[dict[str, object]] | None = None
    """The metrics of each site (`lrmil.tasks.by_site.figures_by_site`); None if the table has no sites."""
    looked_closer: int = 0
    """Slides that the teacher of the model looked at, so that the answer is its own."""
    unseen: tuple[str, ...] = ()
    """Sentences about slides of sites and scanners that were in no training slide."""

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

    @property
    def abstained(self) -> str:
        """A sentence on the slides that are uncertain, or ""."""
        return "" if self.abstention is None else abstention_in_words(self.abstention)

    @property
    def closer(self) -> str:
        """A sentence that the teacher has a part in the metrics, or ""."""
        if not self.looked_closer:
            return ""
        return (
            f"The teacher looked closer at {self.looked_closer} of these {self.classified} slides: the metrics are of "
            "its answers there, and of the student's elsewhere."
        )

    def to_dict(self) -> dict[str, object]:
        """Return what files and programs are told, JSON-ready."""
        seen = self.learned_from and self.learned_from._asdict()
        about = {"part": self.part._asdict(), MEMBER: seen, CASE_RULE: self.case_rule, BY_SITE: self.by_site}
        figures = {"metrics": self.metrics, "abstention": self.abstention, "failed": self.failed}
        return {**figures, **about, "looked_closer": self.looked_closer, "unseen": list(self.unseen)}


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
    executor: Executor = IN_PROCESS,
    load: Callable[[], Bundle] | None = None,
    shard: Shard | None = None,
) -> Iterator[Step[Evaluation]]:
    """Classify a labelled cohort into `out` and write its metrics to ``out/evaluation.json``.

    Parameters
    ----------
    slides, labels, bundle, out, options
        The cohort, the model, the folder of the predictions, and how the slides are classified.
    mpp, objective_power
        Slide id -> um/px of level 0 where the table has none; whether a missing one is derived from the magnification.
    checksums, inputs
        Slide id -> checksums of its files (`verify`); other files and folders that are read (`predict_slides`).
    table, part
        How the labels table is read (`validate_cohort`), and which of its slides are measured (`measured_part`).
    executor, load, shard
        As in `predict_slides`. A shard has no metrics, and evaluation.json is that of the call that gathers.

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
    _require_writable(out, sources, read)
    for done, sentence in enumerate((*warnings, measured.explain()), start=1):
        yield Step(("labels table",), done, len(warnings) + 1, "messages", message=sentence)
    chosen = [source for source in sources if source.slide_id in cohort.by_id]
    if shard is None:
        atomic.remove_ours(out / EVALUATION, is_evaluation)  # or it would stand beside other predictions
    steps = predict_slides(chosen, bundle, out, options, inputs=read, executor=executor, load=load, shard=shard)
    rows = yield from relay(steps)
    result = _evaluate(rows, cohort, bundle, measured) if shard is None else _without_metrics(rows, measured)
    if shard is None:
        atomic.write_json(out / EVALUATION, {**result.to_dict(), "bundle_sha256": bundle.sha256}, is_evaluation)
    yield Step(("evaluate",), len(rows), len(rows), "slides", result=result)


def _require_writable(out: Path, sources: Sequence[SlideSource], read: Sequence[Path]) -> None:
    Inputs(sources, read).require_clear([out, out / EVALUATION])
    require_free(out / EVALUATION, is_evaluation)


def _without_metrics(rows: Sequence[PredictionRow], part: Part) -> Evaluation:
    failed = _failed(rows)
    return Evaluation({}, failed, len(rows) - len(failed), part)


def _failed(rows: Sequence[PredictionRow]) -> dict[str, str]:
    return {row.slide_id: row.message for row in rows if row.status == "failed"}


def _read_cohort(slides: Path, labels: Path, bundle: Bundle, table: TableOptions) -> tuple[Cohort, Sequence[str]]:
    """Return a cohort of the model's task, and the warnings about its table."""
    report = validate_cohort(slides, labels, folds=None, options=replace(table, task=bundle.task.name))
    return report.require(), report.warnings


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
    failed = _failed(rows)
    if not good:
        raise CohortError(f"No slide could be classified. The first failed with: {rows[0].message}")
    labelled = [cohort.by_id[row.slide_id] for row in good]
    targets, cases = [task.target(slide.label) for slide in labelled], [slide.case_id for slide in labelled]
    values = np.array([[row.probabilities[name] for name in task.names] for row in good])
    sites, looked = [slide.site for slide in labelled], [row.looked_closer for row in good]
    thresholds, of_cases = thresholds_of(bundle, looked, cases)
    abstention: Abstention | None = None
    if task.is_wrong(labelled[0].label, good[0].label) is not None:
        answers = [
            Answer(row.label, row.probabilities, row.status, tuple(row.reason.split()), row.plausible) for row in good
        ]
        abstention = abstention_figures(task, targets, answers)
    return Evaluation(
        summarise_by_rule(task, targets, values, cases, dict.fromkeys(cases, bundle.case_rule), thresholds, of_cases),
        failed,
        len(good),
        part,
        abstention=abstention,
        learned_from=_seen(good, cohort, bundle.learned_from),
        case_rule=bundle.case_rule,
        by_site=figures_by_site(task, targets, values, cases, sites, thresholds) if any(sites) else None,
        looked_closer=sum(looked),
        unseen=unseen_remarks(bundle.origins, sites, [row.notes for row in good]),
    )


def thresholds_of(
    bundle: Bundle, looked_closer: Sequence[bool], cases: Sequence[str]
) -> tuple[list[float] | None, dict[str, float] | None]:
    """Return the operating points of slides and of their cases; None where the most probable class is the answer.

    Parameters
    ----------
    bundle
        The model.
    looked_closer
        (n,) whether the answer for each slide is the teacher's. That for a case is, as in `answer_patient`, if all are.
    cases
        (n,) theirs.
    """
    own, of_teacher = (bundle.decision_of(teacher=teacher).threshold for teacher in (False, True))
    if own is None and of_teacher is None:
        return None, None
    points = [MIDDLE if point is None else point for point in (own, of_teacher)]
    by_teacher = dict.fromkeys(cases, True)
    for case, looked in zip(cases, looked_closer, strict=True):
        by_teacher[case] &= looked
    return [points[looked] for looked in looked_closer], {case: points[looked] for case, looked in by_teacher.items()}


def _seen(rows: Sequence[PredictionRow], cohort: Cohort, learned: LearnedFrom | None) -> Seen | None:
    if learned is None:
        return None
    cases = {cohort.by_id[row.slide_id].case_id for row in rows}
    return Seen(sum(learned.has_slide(row.slide_fingerprint) for row in rows), sum(map(learned.has_case, cases)))
