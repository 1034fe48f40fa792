"""Write the results of a training run: metrics, predictions, problems and the model to ship."""

import datetime
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lrmil import __version__
from lrmil.cohorts.cohort import Cohort
from lrmil.cohorts.labels import Problem
from lrmil.cohorts.splits import Fold
from lrmil.configs import TrainConfig, stated
from lrmil.features.store import read_card
from lrmil.io import atomic, hashing
from lrmil.io.ownership import is_out_of_fold_table, is_problems
from lrmil.io.safe_csv import csv_text
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.runs.arms import ARMS
from lrmil.runs.earlier import write_model
from lrmil.runs.fold_outputs import load_mil, read_evidence, read_outputs
from lrmil.runs.fold_task import FoldTask, load_lr_encoder
from lrmil.runs.plan_file import settings_hash
from lrmil.runs.stage1_figures import STAGE1, read_fidelity, stage1_figures
from lrmil.tasks.task import columns


def write_problems(out: Path, problems: Sequence[Problem], failed: dict[str, str]) -> None:
    """Write problems.json: problems of the table, and slides that were left out (slide id -> why).

    Parameters
    ----------
    out
        Run folder.
    problems
        Problems of table and slides.
    failed
        Slide id -> why it failed.

    Raises
    ------
    OverwriteError, OutputError
        If the file cannot be written.
    """
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
    atomic.write_json(out / "problems.json", rows, is_problems)


def figures_of(out: Path, cohort: Cohort, folds: Sequence[Fold], tasks: Sequence[FoldTask]) -> dict[str, object]:
    """Compute metrics.json: each arm on the test slides, pooled and by fold, and the cost of a slide.

    Parameters
    ----------
    out
        Run folder.
    cohort
        The slides and the task.
    folds
        The folds with test slides.
    tasks
        The tasks of all trained folds.

    Returns
    -------
    dict
        JSON-ready: classes, the metrics of each arm, gap_recovered, the fidelity of stage 1, and of each fold where the
        teacher's outputs for stage 2 come from and whether they were used.

    Raises
    ------
    FormatError
        If the outputs or the fidelity of a fold are damaged.
    """
    outputs = {fold.name: read_outputs(out / fold.name) for fold in folds}
    task = cohort.task
    figures: dict[str, object] = task.to_dict()
    scores: dict[str, float | None] = {}
    for arm in ARMS:
        pooled = [(slide_id, outputs[fold.name][arm][slide_id]) for fold in folds for slide_id in fold.test]
        targets, values = [cohort.targets[i] for i, _ in pooled], np.stack([output.values for _, output in pooled])
        summary = task.summarise(targets, values, [cohort.by_id[slide_id].case_id for slide_id, _ in pooled])
        per_fold = {
            fold.name: task.score(
                [cohort.targets[slide_id] for slide_id in fold.test],
                np.stack([outputs[fold.name][arm][slide_id].values for slide_id in fold.test]),
            )
            for fold in folds
        }
        scores[arm] = task.score(targets, values)
        figures[arm] = {**summary, f"{task.score_name}_by_fold": per_fold, **_cost(arm, folds, tasks)}
    figures["evidence"] = {task.fold.name: read_evidence(task.folder).to_dict() for task in tasks}
    figures["gap_recovered"] = gap_recovered(scores["hr_teacher"], scores["lr_undistilled"], scores["lr_student"])
    fidelity = {task.fold.name: read_fidelity(task.folder) for task in tasks}
    figures[STAGE1] = stage1_figures(fidelity, [fold.name for fold in folds])
    return figures


def gap_recovered(teacher: float | None, baseline: float | None, student: float | None) -> float | None:
    """Return the student's share of the teacher's lead over the baseline; None if that lead is below 0.01.

    Parameters
    ----------
    teacher, baseline, student
        Scores of the arms, such as AUROC; None if undefined.
    """
    if teacher is None or baseline is None or student is None or teacher - baseline < 0.01:
        return None
    return (student - baseline) / (teacher - baseline)


def _cost(arm: str, folds: Sequence[Fold], tasks: Sequence[FoldTask]) -> dict[str, float | None]:
    """Return the mean seconds, bytes and patches to read and encode a test slide for an arm."""
    cards, task_of = [], {task.fold.name: task for task in tasks}
    for fold in folds:
        task = task_of[fold.name]
        cards += [read_card(task.encoded(task.answering(arm), slide_id)) for slide_id in fold.test]
    read = [card.bytes_read for card in cards if card.bytes_read is not None]
    return {
        "seconds_per_slide": float(np.mean([card.seconds for card in cards])),
        "bytes_per_slide": float(np.mean(read)) if read else None,
        "patches_per_slide": float(np.mean([card.total for card in cards])),
    }


def write_predictions(out: Path, cohort: Cohort, folds: Sequence[Fold]) -> None:
    """Write predictions.csv: the test slides of every fold under each arm, out of fold; see `figures_of`.

    Raises
    ------
    FormatError
        If the outputs of a fold are damaged.
    OverwriteError, OutputError
        If the table cannot be written.
    """
    rows = [["slide_id", "case_id", "fold", "arm", "label", *columns(cohort.task, cohort.task.names)]]
    for fold in folds:
        for arm, slides in read_outputs(out / fold.name).items():
            for slide_id, output in slides.items():
                record = cohort.by_id[slide_id]
                row = [slide_id, record.case_id, fold.name, arm, record.label]
                rows.append([*row, *(f"{value:.6f}" for value in output.values)])
    atomic.write_text(out / "predictions.csv", csv_text(rows), is_out_of_fold_table)


def write_bundle(
    out: Path,
    task: FoldTask,
    cohort: Cohort,
    config: TrainConfig,
    figures: dict[str, object],
    *,
    terms: dict[str, object],
    replace: bool = False,
) -> None:
    """Write the student of the final fold as the model to ship, with its provenance, and load it as a check.

    Parameters
    ----------
    out
        Run folder.
    task
        The final fold.
    cohort, config
        Slides and settings of the run.
    figures
        Content of metrics.json.
    terms
        Terms of use of the start encoders, JSON-ready.
    replace
        Whether an earlier model may be deleted.

    Raises
    ------
    FormatError, ModelError
        If an artefact of the fold is damaged, or the written model cannot be loaded.
    OverwriteError, OutputError
        If the model cannot be written.
    """
    write_model(
        out,
        figures,
        Bundle(
            task=cohort.task,
            mpp=config.mpp_lr,
            patch_size=config.patch_size,
            min_tissue=config.min_tissue,
            max_failed=config.max_failed,
            encoder=load_lr_encoder(task, finished=config.finishes),
            mil=load_mil(task.mil(task.answering("lr_student")), config.mil),
            mil_config=config.mil,
            training=_provenance(task, cohort, config),
            metrics=figures,
            terms=terms,
        ),
        replace=replace,
    )
    load_bundle(out / "model")  # a run is not finished if its model cannot be loaded


def _provenance(task: FoldTask, cohort: Cohort, config: TrainConfig) -> dict[str, object]:
    """Return what a model says of its training."""
    return {
        "cohort": hashing.sha256_of([[slide.slide_id, slide.label, slide.case_id] for slide in cohort.slides]),
        "slides": len(task.fold.train),
        "cases": len({cohort.by_id[slide_id].case_id for slide_id in task.fold.train}),
        "validation_slides": len(task.fold.val),
        "schedule": task.schedule,
        "settings": {
            **stated(config),
            "encoder": public_name(config.encoder),
            "student_encoder": public_name(config.student_encoder),
        },
        "settings_sha256": settings_hash(config),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": __version__,
    }


def public_name(encoder: str) -> str:
    """Return the name of an encoder without its folder, which may name the machine or its user."""
    source, _, place = encoder.partition(":")
    return f"local-dir:{Path(place).name}" if source == "local-dir" else encoder
