"""Train from a folder of slides and a labels table: check, extract, run every fold, write metrics and the model.

The same call resumes an interrupted one: artefacts of the same inputs are kept.
"""

import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Never

from lrmil.cohorts.cohort import Cohort, CohortReport, TableOptions
from lrmil.cohorts.labels import Problem
from lrmil.cohorts.screening import Screened, far_levels, near_duplicates, screen_steps
from lrmil.cohorts.splits import Fold, folds_and_final, without_failed, write_splits
from lrmil.cohorts.test_part import cohort_to_train
from lrmil.configs import TrainConfig, require_consistent
from lrmil.features.slide_features import EXTRACTION_VERSION
from lrmil.io import atomic, hashing
from lrmil.io.documents import require_no_links
from lrmil.io.ownership import is_metrics
from lrmil.models.devices import pick_device
from lrmil.models.encoders.loading import default_size, encoder_hash
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import encoded_of
from lrmil.runs.case_rules import require_case_rule
from lrmil.runs.changes import PreviousRun, changed_slides, changes_since, read_previous_run, record_changes
from lrmil.runs.control import run_lock, stop_requested
from lrmil.runs.distilled_start import look_at_start
from lrmil.runs.earlier import require_free_run, set_aside_results
from lrmil.runs.environment import write_environment
from lrmil.runs.fold_task import fold_tasks
from lrmil.runs.folds import run_fold
from lrmil.runs.frozen import frozen_features, plan_of
from lrmil.runs.jobs import TRAIN
from lrmil.runs.log import logged
from lrmil.runs.plan_file import write_plan
from lrmil.runs.regions import region_features
from lrmil.runs.results import figures_of, write_predictions, write_problems
from lrmil.runs.shipping import write_bundle
from lrmil.runs.sites import write_sites
from lrmil.runs.slide_encoding import Computing
from lrmil.runs.start_encoders import load_encoders
from lrmil.runs.watch import LOG
from lrmil.slides.each import IN_PROCESS, Executor
from lrmil.slides.inputs import Inputs, local_encoder
from lrmil.slides.source import SlideSource
from lrmil.slides.workers import kept_executor, share_threads
from lrmil.steps import Step, last, relay

WRITTEN = ("plan.toml", "splits.csv", "predictions.csv", "metrics.json", "model")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run.

    Attributes
    ----------
    folder
        The run folder.
    model
        The bundle to ship.
    metrics
        What metrics.json holds (docs/formats.md): per arm n_slides, n_cases, seconds and bytes read per slide, and the
        figures of the task, of a classification auroc, auroc_ci, balanced_accuracy, brier, nll and ece; gap_recovered;
        student_minus.
    failed
        Slide id -> why it was left out.
    """

    folder: Path
    model: Path
    metrics: dict[str, object]
    failed: dict[str, str]


def train(
    slides: str | Path,
    labels: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    device: str = "auto",
    options: TableOptions | None = None,
    replace: bool = False,
    strict: bool = False,
    executor: Executor = IN_PROCESS,
) -> Run:
    """Train the three arms on a cohort and write the model.

    Parameters
    ----------
    slides
        Folder of slides, searched recursively.
    labels
        csv, tsv or xlsx with slide_id, label and optionally case_id, split, fold, mpp, site.
    out
        Run folder. A run in it is resumed, and only what is stale is recomputed.
    config
        Settings; None for the defaults.
    device
        "auto" or a name of `available_devices`.
    options
        How the labels table is read; see `validate_cohort`.
    replace
        Whether to replace results and model of a finished run if they change, and keep none in ``out/earlier-1``.
    strict
        Whether to refuse a distilled `TrainConfig.student_encoder` that has seen a test slide, without its label.
        Otherwise the report says so.
    executor
        Where slides are opened and encoded, such as `lrmil.slides.workers.Workers`. Everything else is done here.

    Returns
    -------
    Run
        The finished run.

    Raises
    ------
    CohortError
        If the table has errors (all are in the message), too few slides can be read, or `strict` refuses.
    EncoderError, ConfigError
        If the encoder cannot be loaded, or the settings contradict each other.
    FormatError
        If `out` contains a run of another version, or links.
    OverwriteError
        If `out` lies in an input, or a file that lrmil did not write has the name of an output.
    RunError
        If another training is running in `out`, or there is no such worker.
    Stopped
        Soon after `lrmil.runs.control.request_stop`. The same call resumes.
    """
    steps = train_steps(
        slides, labels, out, config, device=device, options=options, replace=replace, strict=strict, executor=executor
    )
    return last(steps)


def train_steps(
    slides: str | Path,
    labels: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    device: str = "auto",
    options: TableOptions | None = None,
    replace: bool = False,
    strict: bool = False,
    inputs: Sequence[Path] = (),
    executor: Executor = IN_PROCESS,
) -> Iterator[Step[Run]]:
    """Train as `train` does, and report the progress.

    Parameters
    ----------
    slides, labels, out, config, device, options, replace, strict, executor
        As in `train`.
    inputs
        Other files and folders that are read. No output may replace one or lie in one.

    Yields
    ------
    Step
        Of every stage in turn; the last carries the Run.

    Raises
    ------
    CohortError, ConfigError, EncoderError, FormatError, OverwriteError, RunError, Stopped
        As `train`.
    """
    slides, labels, out, config = Path(slides).absolute(), Path(labels).absolute(), Path(out), config or TrainConfig()
    require_consistent(config)
    torch_device = pick_device(device)
    report, cohort = cohort_to_train(slides, labels, config, options=options)
    require_case_rule(config, cohort.task)
    if not config.patch_size:
        config = dataclasses.replace(config, patch_size=default_size(config.encoder, pretrained=config.pretrained))
    read = (labels, *inputs, local_encoder(config.encoder), local_encoder(config.student_encoder))
    sources = [SlideSource(slide.slide_id, slide.path) for slide in cohort.slides]
    Inputs(sources, read).require_clear([out, *(out / name for name in WRITTEN)])
    atomic.make_folder(out)
    with run_lock(out), kept_executor(executor) as kept:
        require_no_links(out)
        stop_requested(out)  # discard a request to an earlier call
        previous = read_previous_run(out)
        require_free_run(out, replace=replace)
        atomic.remove_leftovers(out)
        set_aside_results(out, replace=replace)
        write_plan(out, config, str(slides), str(labels), options=options, task=cohort.task)
        computing = Computing(torch_device, kept, device, share_threads(config.threads, executor))
        work = _Work(out, report, cohort, config, plan_of(config), computing, replace, previous, strict)
        yield from logged(
            _run(work),
            out / LOG,
            plan=hashing.sha256_file(out / "plan.toml"),
            hidden=(slides, labels.parent, out.resolve(), Path.home()),
            asked_to_stop=lambda: stop_requested(out),
        )


@dataclass(frozen=True, slots=True)
class _Work:
    """The inputs and the folder of a training."""

    out: Path
    report: CohortReport
    cohort: Cohort
    config: TrainConfig
    plan: PatchPlan
    computing: Computing
    replace: bool
    """Whether to replace the results of a finished run."""
    previous: PreviousRun | None
    strict: bool
    """Whether to refuse a student encoder that has seen a test slide."""

    @property
    def sources(self) -> dict[str, SlideSource]:
        """Slide id -> where the slide is."""
        power = self.config.use_objective_power
        return {one.slide_id: SlideSource(one.slide_id, one.path, one.mpp, power) for one in self.cohort.slides}


def _run(work: _Work) -> Generator[Step[Run], None, None]:
    out, cohort, config = work.out, work.cohort, work.config
    write_environment(out, work.computing.device)
    for done, sentence in enumerate(work.report.warnings, start=1):
        yield Step(("labels table",), done, len(work.report.warnings), "warnings", message=sentence)
    encoders = load_encoders(config)
    for sentence in encoders.warnings(with_teacher=config.decision.with_teacher):
        yield Step(("terms of use",), 1, 1, message=sentence)
    folds, final = folds_and_final(cohort, folds=config.folds, val_fraction=config.val_fraction, seed=config.seed)
    write_splits(out / "splits.csv", folds if final in folds else (*folds, final), cohort)  # for the progress

    sources, executor = list(work.sources.values()), work.computing.executor
    screened = yield from relay(screen_steps(sources, lr=config.mpp_lr, executor=executor))
    fingerprints = {slide.slide_id: slide.fingerprint for slide in screened if slide.fingerprint}
    start = yield from look_at_start(config, fingerprints, folds, strict=work.strict)
    yield from _report_changes(work, (*folds, final), fingerprints, encoder_hash(encoders.teacher))
    problems = _problems(work, folds, screened)
    failed = yield from frozen_features(out, encoders, sources, work.plan, config, work.computing)
    write_problems(out, problems, failed)
    if config.teacher != "patch":
        read = [slide.slide_id for slide in cohort.slides if slide.slide_id not in failed]
        yield from region_features(out, read, work.plan)
    folds, final = tuple(without_failed(fold, cohort, failed) for fold in folds), without_failed(final, cohort, failed)
    trained = folds if final in folds else (*folds, final)
    write_splits(out / "splits.csv", trained, cohort)
    write_sites(out, cohort)

    tasks = fold_tasks(out, trained, cohort, work.sources, encoders.student, work.plan, config, work.computing)
    for task in tasks:
        yield from relay(run_fold(task))
    figures = figures_of(out, cohort, folds, tasks) | start
    write_predictions(out, cohort, folds)
    write_bundle(out, tasks[trained.index(final)], cohort, figures, encoders, replace=work.replace)
    atomic.write_json(out / "metrics.json", figures, is_metrics)
    yield Step(TRAIN, len(trained), len(trained), "folds", result=Run(out, out / "model", figures, failed))


def _report_changes(
    work: _Work, folds: Sequence[Fold], fingerprints: Mapping[str, str], encoder_sha: str
) -> Iterator[Step[Never]]:
    """Report what changed since the previous call and what is recomputed, and record it."""
    if work.previous is None:
        return

    def features(slide_id: str) -> Path:
        return encoded_of(work.out, None, slide_id, "lr_undistilled")

    messages = changes_since(work.previous, work.config, work.cohort, folds)
    messages += changed_slides(work.sources.values(), fingerprints, features, encoder_sha, EXTRACTION_VERSION)
    record_changes(work.out, messages)
    for done, sentence in enumerate(messages, 1):
        yield Step(("changes",), done, len(messages), message=sentence)


def _problems(work: _Work, folds: Sequence[Fold], screened: Sequence[Screened]) -> list[Problem]:
    """Return the problems of the table, and those that screening found."""
    tested = {slide_id: fold.name for fold in folds for slide_id in fold.test}
    alike = near_duplicates(screened, work.cohort, tested=tested)
    return [*work.report.problems, *alike, *far_levels(screened, work.config.mpp_lr)]
