"""Train from a folder of slides and a labels table: check, extract, run every fold, report figures, write the bundle.

The same call goes on where an earlier one was stopped: whatever is there and was made from the same inputs is kept.
"""

import dataclasses
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lrmil.cohorts.cohort import Cohort, CohortReport, TableOptions, validate_cohort
from lrmil.cohorts.screening import Look, far_levels, look_steps, lookalikes
from lrmil.cohorts.splits import Fold, final_fold, make_folds, write_splits
from lrmil.configs import TrainConfig
from lrmil.errors import CohortError
from lrmil.features.extraction import READING, SlideSource, extract_features
from lrmil.geometry import resolution_ratio
from lrmil.io import atomic, hashing
from lrmil.io.documents import refuse_links
from lrmil.io.ownership import is_metrics
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import Encoder, PatchEncoder, default_size, encoder_hash, load_encoder
from lrmil.models.encoders.terms import warning_before_training
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import features_folder, features_of
from lrmil.runs.changes import Earlier, changed_slides, changes_since, note_changes, read_earlier
from lrmil.runs.control import run_lock, stop_requested
from lrmil.runs.earlier import put_by, require_run_place
from lrmil.runs.environment import write_environment
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.folds import run_fold
from lrmil.runs.jobs import TRAIN
from lrmil.runs.log import logged
from lrmil.runs.plan_file import write_plan
from lrmil.runs.results import figures_of, write_bundle, write_predictions, write_problems
from lrmil.runs.watch import LOG
from lrmil.slides.inputs import Inputs, local_encoder
from lrmil.steps import Step, last, relay

WRITTEN = ("plan.toml", "splits.csv", "predictions.csv", "metrics.json", "model")


@dataclass(frozen=True, slots=True)
class Run:
    """A finished training run.

    Attributes
    ----------
    folder
        Everything the run wrote.
    model
        The bundle to ship.
    metrics
        What metrics.json holds: per arm auroc, auroc_ci, balanced_accuracy, n_slides, n_cases, seconds and bytes read
        per slide; gap_recovered.
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
) -> Run:
    """Train from a folder; see `train_steps`."""
    return last(train_steps(slides, labels, out, config, device=device, options=options, replace=replace))


def train_steps(
    slides: str | Path,
    labels: str | Path,
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    device: str = "auto",
    options: TableOptions | None = None,
    replace: bool = False,
    inputs: Sequence[Path] = (),
) -> Iterator[Step[Run]]:
    """Train the three arms on a cohort and write the model, and report as the work goes on.

    Parameters
    ----------
    slides
        Folder of slides, searched recursively.
    labels
        csv, tsv or xlsx with slide_id, label and optionally case_id, split, fold, mpp, site.
    out
        Run folder; when it holds an earlier run, that one goes on, and only what is stale is made again.
    config
        Settings; None for the defaults.
    device
        "auto" or a name of `available_devices`.
    options
        How the labels table is read; see `validate_cohort`.
    replace
        Whether results and model of a finished run are replaced when they become others; they are kept in
        ``out/earlier-1`` and so on otherwise.
    inputs
        Other files and folders that are read: no output takes the place of one, or lies in one.

    Raises
    ------
    CohortError
        If the table has problems (all are in the message), or too few slides are left to train on.
    EncoderError, ConfigError
        If the encoder cannot be loaded or the settings do not fit together.
    FormatError
        If `out` holds a run of another version, or parts of it are links to other places.
    OverwriteError
        If `out` lies in something that is read, or a file in it that lrmil did not write has the name of an output.
    RunError
        If another training is at work in `out`.
    Stopped
        Soon after `run_control.request_stop`; the same call goes on from there.
    """
    out, config = Path(out), config or TrainConfig()
    torch_device = pick_device(device)
    report = validate_cohort(Path(slides), Path(labels), folds=config.folds, options=options)
    if not report.ok or report.cohort is None:
        raise CohortError(report.explain())
    if not config.patch_size:
        config = dataclasses.replace(config, patch_size=default_size(config.encoder, pretrained=config.pretrained))
    plan = PatchPlan(
        mpp=config.mpp_lr,
        size=config.patch_size,
        children=resolution_ratio(config.mpp_lr, config.mpp_hr),
        min_tissue=config.min_tissue,
        min_tissue_hr=config.min_tissue_hr,
        max_failed=config.max_failed,
    )
    local = [local_encoder(name) for name in (config.encoder, config.student_encoder)]
    sources = [SlideSource(slide.slide_id, slide.path) for slide in report.cohort.slides]
    Inputs(sources, (Path(labels), *inputs, *local)).require_clear([out, *(out / name for name in WRITTEN)])
    atomic.make_folder(out)
    with run_lock(out):
        refuse_links(out)
        stop_requested(out)  # one from before the start is of an earlier call
        earlier = read_earlier(out)
        require_run_place(out, replace=replace)
        atomic.remove_leftovers(out)
        put_by(out, replace=replace)
        write_plan(out, config, str(slides), str(labels), options=options, classes=report.cohort.classes)
        write_environment(out, torch_device)
        yield from logged(
            _run(out, report, report.cohort, plan, config, earlier, device=str(torch_device), replace=replace),
            out / LOG,
            plan=hashing.sha256_file(out / "plan.toml"),
            hidden=(Path(slides), Path(labels).parent, out.resolve(), Path.home()),
            asked_to_stop=lambda: stop_requested(out),
        )


def _run(
    out: Path,
    report: CohortReport,
    cohort: Cohort,
    plan: PatchPlan,
    config: TrainConfig,
    earlier: Earlier | None,
    *,
    device: str,
    replace: bool,
) -> Generator[Step[Run], None, None]:
    for done, sentence in enumerate(report.warnings, start=1):
        yield Step(("labels table",), done, len(report.warnings), "warnings", message=sentence)
    torch_device = pick_device(device)
    teacher = load_encoder(
        config.encoder,
        size=config.patch_size,
        embedding=config.embedding,
        pretrained=config.pretrained,
        seed=config.seed,
        layers=config.stage1.layers,
    )
    teacher = on_device(teacher, pick_device("cpu"))  # in the layout of every `PatchEncoder`, which shares the weights
    student = _student_start(teacher, config)
    terms = {role: used.terms for role, used in (("teacher", teacher), ("start", student)) if used.terms}
    if warning := warning_before_training(**terms) if len(terms) == 2 else "":
        yield Step(("terms of use",), 1, 1, message=warning)
    folds, final = _draw_folds(cohort, config)
    write_splits(out / "splits.csv", folds if final in folds else (*folds, final), cohort)  # tells how much is to come
    power = config.use_objective_power
    sources = {slide.slide_id: SlideSource(slide.slide_id, slide.path, slide.mpp, power) for slide in cohort.slides}

    looks = yield from relay(look_steps(list(sources.values()), lr=config.mpp_lr))
    yield from _say_changes(out, earlier, config, cohort, (*folds, final), sources, looks, encoder_hash(teacher))
    problems = [
        *report.problems,
        *lookalikes(looks, cohort, tested={i: fold.name for fold in folds for i in fold.test}),
        *far_levels(looks, config.mpp_lr),
    ]
    failed = yield from _frozen_features(out, teacher, list(sources.values()), plan, config, device=device)
    write_problems(out, problems, failed)
    folds, final = tuple(without_failed(fold, cohort, failed) for fold in folds), without_failed(final, cohort, failed)
    trained = folds if final in folds else (*folds, final)
    write_splits(out / "splits.csv", trained, cohort)

    tasks = [
        FoldTask(
            run=out,
            fold=fold,
            sources=sources,
            labels=cohort.class_indices,
            n_classes=len(cohort.classes),
            student_start=student,
            plan=plan,
            config=config,
            device=torch_device,
        )
        for fold in trained
    ]
    for task in tasks:
        yield from relay(run_fold(task))
    figures = figures_of(out, cohort, folds, tasks)
    write_predictions(out, cohort, folds)
    stated: dict[str, object] = {role: one.to_dict() for role, one in terms.items()}
    write_bundle(out, tasks[trained.index(final)], cohort, config, figures, terms=stated, replace=replace)
    atomic.write_json(out / "metrics.json", figures, is_metrics)
    run = Run(out, out / "model", figures, failed)
    yield Step(TRAIN, len(trained), len(trained), "folds", result=run)


def _say_changes(
    out: Path,
    earlier: Earlier | None,
    config: TrainConfig,
    cohort: Cohort,
    folds: Sequence[Fold],
    sources: Mapping[str, SlideSource],
    looks: Sequence[Look],
    encoder_sha: str,
) -> Iterator[Step[Run]]:
    """Say, and keep for the report, what is another than in an earlier call and what is redone for it."""
    if earlier is None:
        return
    fingerprints = {look.slide_id: look.fingerprint for look in looks if look.fingerprint}
    said = changes_since(earlier, config, cohort, folds)
    said += changed_slides(
        sources.values(), fingerprints, lambda i: features_of(out, None, i, "lr_undistilled"), encoder_sha, READING
    )
    note_changes(out, said)
    for done, sentence in enumerate(said, 1):
        yield Step(("changes",), done, len(said), message=sentence)


def _draw_folds(cohort: Cohort, config: TrainConfig) -> tuple[tuple[Fold, ...], Fold]:
    """Folds to test on, and the one of the model that is shipped: fold-0 itself where the table says what is tested.

    Drawn from the whole table, before any slide is opened, so a slide that cannot be read today moves no other.
    """
    folds = make_folds(cohort, folds=config.folds, val_fraction=config.val_fraction, seed=config.seed)
    final = final_fold(cohort, val_fraction=config.val_fraction, seed=config.seed)
    same = (final.train, final.val) == (folds[0].train, folds[0].val)
    return folds, folds[0] if same else final


def without_failed(fold: Fold, cohort: Cohort, failed: Mapping[str, str]) -> Fold:
    """Take the slides that failed out of a fold, and refuse one that lacks a class to train on or slides to test."""
    parts = {name: tuple(i for i in getattr(fold, name) if i not in failed) for name in ("train", "val", "test")}
    missing = set(cohort.classes) - {cohort.by_id[slide_id].label for slide_id in parts["train"]}
    empty = [name for name, slide_ids in parts.items() if getattr(fold, name) and not slide_ids]
    if missing or empty:
        reasons = "; ".join(f"{slide_id}: {message}" for slide_id, message in list(failed.items())[:5])
        raise CohortError(
            f"Expected readable slides of every class in each part of {fold.name}. Got none for "
            f"{', '.join([*sorted(missing), *empty])}, since {len(failed)} slides failed: {reasons}"
        )
    return Fold(fold.name, parts["train"], parts["val"], parts["test"])


def _student_start(teacher: Encoder, config: TrainConfig) -> Encoder:
    if not config.student_encoder or config.student_encoder == config.encoder:
        return teacher

    def load(projected_dim: int) -> Encoder:
        return load_encoder(
            config.student_encoder,
            size=config.patch_size,
            embedding=config.embedding,
            pretrained=config.pretrained,
            seed=config.seed,
            projected_dim=projected_dim,
            layers=config.stage1.layers,
        )

    student = load(0)
    return student if student.dim == teacher.dim else load(teacher.dim)


def _frozen_features(
    out: Path, encoder: Encoder, sources: Sequence[SlideSource], plan: PatchPlan, config: TrainConfig, *, device: str
) -> Generator[Step[Run], None, dict[str, str]]:
    """Extract HR and LR features of the frozen encoder; returns slide id -> why it failed."""
    sha = encoder_hash(encoder)
    failed: dict[str, str] = {}
    wanted: list[tuple[Literal["lr", "hr"], str, tuple[int, ...]]] = [
        ("lr", "lr_undistilled", ()),
        ("hr", "hr_teacher", config.stage1.layers),
    ]
    for resolution, arm, layers in wanted:
        patch_encoder = PatchEncoder(encoder, pick_device(device), batch_size=config.batch_size, layers=layers)
        steps = extract_features(
            [source for source in sources if source.slide_id not in failed],
            patch_encoder,
            sha,
            features_folder(out, None, arm),
            plan,
            resolution=resolution,
            threads=config.threads,
            job=(f"{resolution.upper()} features",),
        )
        outcomes = yield from relay(steps)
        failed |= {outcome.slide_id: outcome.message for outcome in outcomes if outcome.path is None}
    return failed
