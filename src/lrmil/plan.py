"""Train from a folder of slides and a labels table: check, extract, run every fold, report figures, write the bundle.

The same call goes on where an earlier one was stopped: whatever is there and was made from the same inputs is kept.
"""

import datetime
import importlib.metadata
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lrmil import files, metrics
from lrmil.bundle import Bundle, load_bundle, save_bundle
from lrmil.cohort import Cohort, validate_cohort
from lrmil.configs import TrainConfig, to_dict
from lrmil.csv_text import csv_text
from lrmil.devices import pick_device
from lrmil.encoders import Encoder, PatchEncoder, encoder_hash, load_encoder
from lrmil.errors import CohortError
from lrmil.extraction import Outcome, PatchPlan, SlideSource, extract_features
from lrmil.features import read_card
from lrmil.folds import FoldTask, load_lr_encoder, load_mil, read_outputs, run_fold
from lrmil.geometry import resolution_ratio
from lrmil.labels import Problem
from lrmil.run_changes import Earlier, changed_slides, changes_since, note_changes, read_earlier
from lrmil.run_control import LOG, run_lock, stop_requested
from lrmil.run_folder import write_environment
from lrmil.run_log import logged
from lrmil.run_plan import ARMS, settings_hash, write_plan
from lrmil.slide_looks import Look, look_steps, lookalikes
from lrmil.splits import Fold, final_fold, make_folds, write_splits
from lrmil.steps import Step, last

# Made anew at the end of every call, so that none of them ever stands beside another plan.
RESULTS = ("metrics.json", "predictions.csv", "report.html", "report.json")


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
    slides: str | Path, labels: str | Path, out: str | Path, config: TrainConfig | None = None, *, device: str = "auto"
) -> Run:
    """Train from a folder; see `train_steps`."""
    return last(train_steps(slides, labels, out, config, device=device))


def train_steps(
    slides: str | Path, labels: str | Path, out: str | Path, config: TrainConfig | None = None, *, device: str = "auto"
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

    Raises
    ------
    CohortError
        If the table has problems (all are in the message), or too few slides are left to train on.
    EncoderError, ConfigError
        If the encoder cannot be loaded or the settings do not fit together.
    FormatError
        If `out` holds a run of another version.
    RunError
        If another training is at work in `out`.
    Stopped
        Soon after `run_control.request_stop`; the same call goes on from there.
    """
    out, config = Path(out), config or TrainConfig()
    torch_device = pick_device(device)
    report = validate_cohort(Path(slides), Path(labels), folds=config.folds)
    if not report.ok or report.cohort is None:
        raise CohortError(report.explain())
    plan = PatchPlan(
        mpp=config.mpp_lr,
        size=config.patch_size,
        children=resolution_ratio(config.mpp_lr, config.mpp_hr),
        min_tissue=config.min_tissue,
        min_tissue_hr=config.min_tissue_hr,
        max_failed=config.max_failed,
    )
    files.make_folder(out)
    with run_lock(out):
        stop_requested(out)  # one from before the start is of an earlier call
        earlier = read_earlier(out)
        files.remove_leftovers(out)
        for name in RESULTS:
            files.remove(out / name)
        write_plan(out, config, str(slides), str(labels))
        write_environment(out, torch_device)
        yield from logged(
            _run(out, report.cohort, report.problems, plan, config, earlier, device=str(torch_device)),
            out / LOG,
            plan=files.sha256_file(out / "plan.toml"),
            hidden=(Path(slides), Path(labels).parent, out.resolve(), Path.home()),
            asked_to_stop=lambda: stop_requested(out),
        )


def _run(
    out: Path,
    cohort: Cohort,
    problems: Sequence[Problem],
    plan: PatchPlan,
    config: TrainConfig,
    earlier: Earlier | None,
    *,
    device: str,
) -> Generator[Step[Run], None, None]:
    torch_device = pick_device(device)
    teacher = load_encoder(
        config.encoder,
        size=config.patch_size,
        embedding=config.embedding,
        pretrained=config.pretrained,
        seed=config.seed,
    )
    student = _student_start(teacher, config)
    for encoder in (teacher, student):
        encoder.check_layers(config.stage1.layers)
    folds, final = _draw_folds(cohort, config)
    write_splits(out / "splits.csv", folds if final in folds else (*folds, final), cohort)  # tells how much is to come
    power = config.use_objective_power
    sources = {slide.slide_id: SlideSource(slide.slide_id, slide.path, slide.mpp, power) for slide in cohort.slides}

    looks = yield from _looks(list(sources.values()))
    yield from _say_changes(out, earlier, config, cohort, (*folds, final), sources, looks, encoder_hash(teacher))
    problems = [*problems, *lookalikes(looks, cohort, tested={i: fold.name for fold in folds for i in fold.test})]
    failed = yield from _frozen_features(out, teacher, list(sources.values()), plan, config, device=device)
    _write_problems(out, problems, failed)
    folds, final = tuple(without_failed(fold, cohort, failed) for fold in folds), without_failed(final, cohort, failed)
    trained = folds if final in folds else (*folds, final)
    write_splits(out / "splits.csv", trained, cohort)

    tasks = [
        FoldTask(
            run=out,
            fold=fold,
            sources=sources,
            labels={slide.slide_id: cohort.classes.index(slide.label) for slide in cohort.slides},
            n_classes=len(cohort.classes),
            student_start=student,
            plan=plan,
            config=config,
            device=torch_device,
        )
        for fold in trained
    ]
    for task in tasks:
        for step in run_fold(task):
            yield Step(step.job, step.done, step.total, step.unit, message=step.message, metrics=step.metrics)
    figures = _figures(out, cohort, folds, tasks)
    _write_predictions(out, cohort, folds)
    files.write_json(out / "metrics.json", figures)
    _write_bundle(out, tasks[trained.index(final)], cohort, config, figures)
    run = Run(out, out / "model", figures, failed)
    yield Step("train", len(trained), len(trained), "folds", result=run)


def _looks(sources: Sequence[SlideSource]) -> Generator[Step[Run], None, tuple[Look, ...]]:
    looks: tuple[Look, ...] = ()
    for step in look_steps(sources):
        looks = step.result or looks
        yield Step(step.job, step.done, step.total, step.unit)
    return looks


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
    said += changed_slides(sources.values(), fingerprints, lambda i: out / f"shared/lr/{i}.zarr", encoder_sha)
    note_changes(out, said)
    for done, sentence in enumerate(said, 1):
        yield Step("changes", done, len(said), message=sentence)


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
        )

    student = load(0)
    return student if student.dim == teacher.dim else load(teacher.dim)


def _frozen_features(
    out: Path, encoder: Encoder, sources: Sequence[SlideSource], plan: PatchPlan, config: TrainConfig, *, device: str
) -> Generator[Step[Run], None, dict[str, str]]:
    """Extract HR and LR features of the frozen encoder; returns slide id -> why it failed."""
    sha = encoder_hash(encoder)
    failed: dict[str, str] = {}
    wanted: list[tuple[Literal["lr", "hr"], tuple[int, ...]]] = [("lr", ()), ("hr", config.stage1.layers)]
    for resolution, layers in wanted:
        patch_encoder = PatchEncoder(encoder, pick_device(device), batch_size=config.batch_size, layers=layers)
        steps = extract_features(
            [source for source in sources if source.slide_id not in failed],
            patch_encoder,
            sha,
            out / "shared" / resolution,
            plan,
            resolution=resolution,
            threads=config.threads,
            job=f"{resolution.upper()} features",
        )
        outcomes: list[Outcome] = []
        for step in steps:
            outcomes = step.result or outcomes
            yield Step(step.job, step.done, step.total, step.unit, message=step.message)
        failed |= {outcome.slide_id: outcome.message for outcome in outcomes if outcome.path is None}
    return failed


def _write_problems(out: Path, problems: Sequence[Problem], failed: dict[str, str]) -> None:
    rows: list[dict[str, object]] = [
        {
            "slide_id": None,
            "row": problem.row,
            "column": problem.column,
            "severity": problem.severity,
            "message": problem.message,
            "hint": problem.hint,
        }
        for problem in problems
    ]
    rows += [
        {
            "slide_id": slide_id,
            "row": None,
            "column": None,
            "severity": "error",
            "message": message,
            "hint": "Left out.",
        }
        for slide_id, message in failed.items()
    ]
    files.write_json(out / "problems.json", rows)


def _figures(out: Path, cohort: Cohort, folds: Sequence[Fold], tasks: Sequence[FoldTask]) -> dict[str, object]:
    """metrics.json: the three arms on the pooled test slides of all folds, per fold, and what each slide cost."""
    outputs = {fold.name: read_outputs(out / fold.name) for fold in folds}
    figures: dict[str, object] = {"classes": list(cohort.classes)}
    values: dict[str, float | None] = {}
    for arm in ARMS:
        pooled = [(slide_id, outputs[fold.name][arm][slide_id]) for fold in folds for slide_id in fold.test]
        summary = metrics.summarise(
            [cohort.class_index(slide_id) for slide_id, _ in pooled],
            np.stack([output.probabilities for _, output in pooled]),
            [cohort.by_id[slide_id].case_id for slide_id, _ in pooled],
            cohort.classes,
        )
        per_fold = {
            fold.name: metrics.auroc(
                [cohort.class_index(slide_id) for slide_id in fold.test],
                np.stack([outputs[fold.name][arm][slide_id].probabilities for slide_id in fold.test]),
            )
            for fold in folds
        }
        values[arm] = summary["auroc"]
        figures[arm] = {**summary, "auroc_by_fold": per_fold, **_cost(arm, folds, tasks)}
    figures["gap_recovered"] = gap_recovered(values["hr_teacher"], values["lr_undistilled"], values["lr_student"])
    return figures


def gap_recovered(teacher: float | None, floor: float | None, student: float | None) -> float | None:
    """Share of the teacher's lead over the floor that the student has; None when that lead is below 0.01 AUROC."""
    if teacher is None or floor is None or student is None or teacher - floor < 0.01:
        return None
    return (student - floor) / (teacher - floor)


def _cost(arm: str, folds: Sequence[Fold], tasks: Sequence[FoldTask]) -> dict[str, float | None]:
    """Mean seconds, bytes and patches of reading and encoding a test slide for an arm."""
    cards = []
    for fold, task in zip(folds, tasks, strict=False):
        path = {"hr_teacher": task.hr, "lr_undistilled": task.lr_frozen, "lr_student": task.lr}[arm]
        cards += [read_card(path(slide_id)) for slide_id in fold.test]
    read = [card.bytes_read for card in cards if card.bytes_read is not None]
    return {
        "seconds_per_slide": float(np.mean([card.seconds for card in cards])),
        "bytes_per_slide": float(np.mean(read)) if read else None,
        "patches_per_slide": float(np.mean([card.total for card in cards])),
    }


def _write_predictions(out: Path, cohort: Cohort, folds: Sequence[Fold]) -> None:
    rows = [["slide_id", "case_id", "fold", "arm", "label", *(f"prob_{name}" for name in cohort.classes)]]
    for fold in folds:
        for arm, slides in read_outputs(out / fold.name).items():
            for slide_id, output in slides.items():
                record = cohort.by_id[slide_id]
                row = [slide_id, record.case_id, fold.name, arm, record.label]
                rows.append([*row, *(f"{value:.6f}" for value in output.probabilities)])
    files.write_text(out / "predictions.csv", csv_text(rows))


def _write_bundle(out: Path, task: FoldTask, cohort: Cohort, config: TrainConfig, figures: dict[str, object]) -> None:
    training = {
        "cohort": files.sha256_of([[slide.slide_id, slide.label, slide.case_id] for slide in cohort.slides]),
        "slides": len(task.fold.train),
        "cases": len({cohort.by_id[slide_id].case_id for slide_id in task.fold.train}),
        "validation_slides": len(task.fold.val),
        "settings": {
            **to_dict(config),
            "encoder": public_name(config.encoder),
            "student_encoder": public_name(config.student_encoder),
        },
        "settings_sha256": settings_hash(config),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": importlib.metadata.version("napari-lrmil"),
    }
    save_bundle(
        out / "model",
        Bundle(
            classes=cohort.classes,
            mpp=config.mpp_lr,
            patch_size=config.patch_size,
            min_tissue=config.min_tissue,
            max_failed=config.max_failed,
            encoder=load_lr_encoder(task),
            mil=load_mil(task.folder / "lr_student", task.n_classes, config.mil),
            mil_config=config.mil,
            training=training,
            metrics=figures,
        ),
    )
    load_bundle(out / "model")  # a model that nobody can load must not be called finished


def public_name(encoder: str) -> str:
    """Name of an encoder without the folder it lies in, which names the machine and its user."""
    source, _, place = encoder.partition(":")
    return f"local-dir:{Path(place).name}" if source == "local-dir" else encoder
