"""Write the results of a training run: metrics, predictions and problems."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrmil.cohorts.cohort import Cohort
from lrmil.cohorts.labels import Problem
from lrmil.cohorts.splits import Fold
from lrmil.configs import AUTO
from lrmil.features.store import read_card
from lrmil.io import atomic
from lrmil.io.ownership import is_out_of_fold_table, is_problems
from lrmil.io.safe_csv import csv_text
from lrmil.runs.arms import ARMS, CALIBRATION
from lrmil.runs.calibrated_figures import calibration_figures, shipped_answers
from lrmil.runs.case_rules import NAME as CASE_RULE
from lrmil.runs.case_rules import case_rule_of, rules_by_case
from lrmil.runs.chosen_heads import NAME as HEAD_CHOICES
from lrmil.runs.chosen_heads import read_choice
from lrmil.runs.differences import OTHERS, STUDENT_MINUS
from lrmil.runs.escalation_figures import escalation_figures
from lrmil.runs.fold_outputs import read_evidence, read_outputs
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.linear_heads import LINEAR_HEAD, LINEAR_HEAD_REASON, read_linear_heads
from lrmil.runs.sites import site_figures
from lrmil.runs.stage1_figures import STAGE1, read_fidelity, stage1_figures
from lrmil.tasks.answers import Target
from lrmil.tasks.by_site import BY_SITE
from lrmil.tasks.case_figures import summarise_by_rule
from lrmil.tasks.task import Task, columns

WITHIN_FOLDS = "within_folds"  # member of an arm's figures


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
        JSON-ready: classes, the metrics of each arm and of its linear head, gap_recovered, how far the student is from
        the other arms, its calibration, the rule of its cases and, where the table has sites, its figures by site, the
        fidelity of stage 1, and of each fold where the teacher's outputs for stage 2 come from and whether they were
        used, and which head it chose if it had to.

    Raises
    ------
    FormatError
        If the outputs, the linear heads or the fidelity of a fold are damaged.
    """
    task, tested = cohort.task, [(fold.name, slide_id) for fold in folds for slide_id in fold.test]
    targets = [cohort.targets[slide_id] for _, slide_id in tested]
    cases = [cohort.by_id[slide_id].case_id for _, slide_id in tested]
    outputs = {fold.name: read_outputs(out / fold.name) for fold in folds}
    values = {arm: np.stack([outputs[fold][arm][slide_id].values for fold, slide_id in tested]) for arm in ARMS}
    linear, no_linear_head = _linear_values(out, folds), _no_linear_head(cohort, folds)
    figures: dict[str, object] = task.to_dict()
    chosen = {one.fold.name: case_rule_of(one) for one in tasks}
    rules = rules_by_case(chosen, tested, tasks[0].cases)
    for arm in ARMS:
        figures[arm] = {
            **summarise_by_rule(task, targets, values[arm], cases, rules),
            LINEAR_HEAD: summarise_by_rule(task, targets, linear[arm], cases, rules) if arm in linear else None,
            LINEAR_HEAD_REASON: no_linear_head,
            WITHIN_FOLDS: task.within_folds(targets, values[arm], cases, [fold for fold, _ in tested]),
            f"{task.score_name}_by_fold": _score_by_fold(task, tested, targets, values[arm]),
            **_cost(arm, folds, tasks),
        }
    shipped = shipped_answers(tasks, {fold: of_arms["lr_student"] for fold, of_arms in outputs.items()})
    figures[CALIBRATION] = calibration_figures(tasks, shipped, rules)
    figures |= escalation_figures(tasks, shipped)
    figures[CASE_RULE] = {fold: one.to_dict() for fold, one in chosen.items()}
    if any(cohort.by_id[slide_id].site for _, slide_id in tested):
        figures[BY_SITE] = site_figures(cohort, tested, shipped)
    figures["evidence"] = {one.fold.name: read_evidence(one.folder).to_dict() for one in tasks}
    if any(one.config.mil.head == AUTO for one in tasks):
        figures[HEAD_CHOICES] = {one.fold.name: read_choice(one.folder).to_dict() for one in tasks}
    scores = {arm: task.score(targets, values[arm]) for arm in ARMS}
    figures["gap_recovered"] = gap_recovered(scores["hr_teacher"], scores["lr_undistilled"], scores["lr_student"])
    figures[STUDENT_MINUS] = {other: _difference(task, targets, values, cases, other) for other in OTHERS}
    fidelity = {one.fold.name: read_fidelity(one.folder) for one in tasks}
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


def _linear_values(out: Path, folds: Sequence[Fold]) -> dict[str, NDArray[np.float64]]:
    """Return what linear heads say of the test slides: arm -> values (n, names), of arms with a head in each fold."""
    heads = [read_linear_heads(out / fold.name, fold.test) for fold in folds]
    found = {arm: [values for head in heads if (values := head[arm]) is not None] for arm in ARMS}
    return {arm: np.concatenate(values) for arm, values in found.items() if len(values) == len(folds)}


def _no_linear_head(cohort: Cohort, folds: Sequence[Fold]) -> str:
    """Return why there is no linear head beside the arms, as the end of a sentence; "" if there is one."""
    problems = {
        fold.name: cohort.task.linear_problem([cohort.targets[slide_id] for slide_id in fold.train + fold.val])
        for fold in folds
    }
    return "; ".join(f"in {name}, {problem}" for name, problem in problems.items() if problem)


def _score_by_fold(
    task: Task, tested: Sequence[tuple[str, str]], targets: Sequence[Target], values: NDArray[np.float64]
) -> dict[str, float | None]:
    rows: dict[str, list[int]] = {}
    for row, (fold, _) in enumerate(tested):
        rows.setdefault(fold, []).append(row)
    return {fold: task.score([targets[row] for row in own], values[own]) for fold, own in rows.items()}


def _difference(
    task: Task, targets: Sequence[Target], values: Mapping[str, NDArray[np.float64]], cases: Sequence[str], other: str
) -> dict[str, object]:
    student, others = task.score(targets, values["lr_student"]), task.score(targets, values[other])
    difference = None if student is None or others is None else student - others
    interval = task.difference_interval(targets, values["lr_student"], values[other], cases)
    return {"difference": difference, "interval": None if interval is None else list(interval)}


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
    atomic.write_text(out / "predictions.csv", csv_text(prediction_rows(out, cohort, folds)), is_out_of_fold_table)


def prediction_rows(out: Path, cohort: Cohort, folds: Sequence[Fold]) -> list[list[str]]:
    """Return the rows of predictions.csv, the first of which is its header; see `write_predictions`."""
    rows = [["slide_id", "case_id", "fold", "arm", "label", *columns(cohort.task, cohort.task.names)]]
    for fold in folds:
        for arm, slides in read_outputs(out / fold.name).items():
            for slide_id, output in slides.items():
                record = cohort.by_id[slide_id]
                row = [slide_id, record.case_id, fold.name, arm, record.label]
                rows.append([*row, *(f"{value:.6f}" for value in output.values)])
    return rows
