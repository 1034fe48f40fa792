"""What a reader of a run's report must not overlook, in sentences."""

from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError

from lrmil.configs import AUTO, TrainConfig
from lrmil.errors import FormatError
from lrmil.reports.run_notes import added_to_student
from lrmil.runs.arms import ARMS
from lrmil.runs.differences import find_differences
from lrmil.runs.evidence import faded
from lrmil.runs.fold_outputs import Evidence
from lrmil.runs.linear_heads import below_linear_head
from lrmil.tasks.task import Task

SHORT_NAMES = {"hr_teacher": "HR teacher", "lr_undistilled": "baseline", "lr_student": "LR student"}
SHOWN_DIGITS = 3
MIN_LEAD = 0.01  # AUROC: a share of a smaller lead of the teacher means nothing


def remarks_on(figures: Mapping[str, Any], task: Task, config: TrainConfig) -> list[str]:
    """Return sentences that a reader must not overlook.

    Parameters
    ----------
    figures, task
        As for `lrmil.reports.headline.headline`.
    config
        Settings of the run.

    Raises
    ------
    FormatError
        If its evidence cannot be read.
    """
    scores = {arm: figures[arm][task.score_name] for arm in ARMS}
    if None in scores.values():
        return [task.wording.undefined]
    remarks = []
    if _is_below(scores["hr_teacher"], scores["lr_undistilled"]):
        remarks.append(
            "The teacher is below the baseline: trained on these labels, the high-resolution MIL did worse than the "
            "low-resolution one. What the student gains then comes from the high-resolution embeddings (stage 1)."
        )
    if _is_below(scores["lr_student"], scores["lr_undistilled"]):
        undecided = " The interval of the difference contains 0: other test patients may show the opposite."
        remarks.append(
            f"The student is below the baseline: in this run, {added_to_student(config)} made the low-resolution model "
            "worse." + undecided * _is_undecided(figures)
        )
    remarks += _below_linear_heads(figures, task, config)
    poor = {fold: found for fold, found in _evidence(figures).items() if not found.used and found.teacher is not None}
    remarks += [f"In {fold}, {faded(evidence)}." for fold, evidence in poor.items()]
    return remarks + task.remarks([figures[arm] for arm in ARMS])


def gap_in_words(figures: Mapping[str, Any], task: Task) -> str:
    """Return the share of the teacher's lead over the baseline that the student has, or why it is not defined.

    Parameters
    ----------
    figures, task
        As in `remarks_on`.
    """
    teacher, baseline, student = (figures[arm][task.score_name] for arm in ARMS)
    if None in (teacher, baseline, student):
        return f"not defined: the {task.figures[task.score_name]} of an arm is not defined"
    if abs(teacher - baseline) < MIN_LEAD:
        return f"not defined: teacher and baseline differ by less than {MIN_LEAD}"
    if teacher < baseline or figures["gap_recovered"] is None:
        return "not defined: the teacher has no lead over the baseline"
    return f"{100 * figures['gap_recovered']:z.0f} %" + (
        " (the student is above the teacher)" if student > teacher else ""
    )


def _is_below(score: float, other: float) -> bool:
    """Return whether a score is below another by what a reader can see: equal ones may differ in the last bit."""
    return round(score, SHOWN_DIGITS) < round(other, SHOWN_DIGITS)


def _is_undecided(figures: Mapping[str, Any]) -> bool:
    found = find_differences(figures).get("lr_undistilled")
    return found is not None and found.interval is not None and found.interval[1] >= 0


def _below_linear_heads(figures: Mapping[str, Any], task: Task, config: TrainConfig) -> list[str]:
    found = [
        f"of the {name} ({figures[arm][task.score_name]:.3f} against {linear:.3f})"
        for arm, name in SHORT_NAMES.items()
        if (linear := below_linear_head(figures, arm, task.score_name)) is not None
    ]
    arms = f"{', '.join(found[:-1])} and {found[-1]}" if len(found) > 1 else "".join(found)
    advice = (
        ""
        if config.mil.head in ("mean", AUTO)
        else f" Try mil.head = {AUTO}, which chooses the head on inner folds (stage2.inner_folds)."
    )
    before = " The student's linear model has the embeddings of before its finish." * config.finishes
    remark = (
        f"In {task.figures[task.score_name]}, the MIL {arms} is below a linear model on the mean of the same "
        f"embeddings: in this run the simpler model is the better one.{before}{advice}"
    )
    return [remark] if found else []


def _evidence(figures: Mapping[str, Any]) -> dict[str, Evidence]:
    """Return where the teacher's outputs of each fold come from; earlier versions did not state it."""
    try:
        return TypeAdapter(dict[str, Evidence]).validate_python(figures.get("evidence", {}))
    except ValidationError as error:
        raise FormatError(
            "The evidence in metrics.json cannot be read. Run the same lrmil train command again."
        ) from error
