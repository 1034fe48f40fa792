"""Collect what each arm says of each test slide of a run, and how far their attention agrees."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import spearmanr

from lrmil.configs import TrainConfig
from lrmil.features.store import read_card, read_index
from lrmil.geometry import resolution_ratio
from lrmil.io.documents import read_csv_rows, require_fold, require_slide_id
from lrmil.runs.arms import ARMS, answering, attended_along, encoded_of, features_of
from lrmil.runs.fold_outputs import SlideOutput, read_outputs
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.task import Task
from lrmil.training.bags import gather_log_mass


@dataclass(frozen=True, slots=True)
class SlideResult:
    """One test slide, JSON-ready: class probabilities of each arm, and how far their attention agrees."""

    slide_id: str
    case_id: str
    fold: str
    label: str
    probabilities: dict[str, list[float]]
    predicted: dict[str, str]
    agreement: dict[str, float | None]
    """LR arm -> Spearman correlation of its attention logits with the teacher's log A_r on LR patches, or None."""
    mpp: float
    """um/px of level 0."""
    mpp_source: str
    calibrated: list[float] | None = None
    """Calibrated probabilities of the student; None if a fold has no calibration."""


def slide_results(
    run: Path, config: TrainConfig, task: Task, calibrations: Mapping[str, Calibration] | None
) -> list[SlideResult]:
    """Read the results of the test slides of a run, in the order of predictions.csv.

    Parameters
    ----------
    run
        Run folder.
    config
        Its settings.
    task
        What is predicted.
    calibrations
        Fold -> calibration of its student; None if a fold has none.

    Raises
    ------
    FormatError
        If a document is damaged.
    """
    rows = [row for row in read_csv_rows(run / "predictions.csv") if row["arm"] == ARMS[0]]
    for row in rows:
        require_fold(row["fold"])
        require_slide_id(row["slide_id"])
    outputs = {fold: read_outputs(run / fold) for fold in {row["fold"] for row in rows}}
    results = []
    for row in rows:
        slide_id, fold = row["slide_id"], row["fold"]
        of_slide = {arm: outputs[fold][arm][slide_id] for arm in ARMS}
        card = read_card(encoded_of(run, fold, slide_id, "hr_teacher"))
        student, calibration = of_slide["lr_student"], calibrations[fold] if calibrations else None
        results.append(
            SlideResult(
                slide_id,
                row["case_id"],
                fold,
                row["label"],
                {arm: output.values.tolist() for arm, output in of_slide.items()},
                {arm: task.answer(output.values).label for arm, output in of_slide.items()},
                _agreement(run, config, fold, slide_id, of_slide),
                card.slide_mpp,
                card.mpp_source,
                task.calibrated(student.logits, calibration).tolist() if calibration else None,
            )
        )
    return results


def _agreement(
    run: Path, config: TrainConfig, fold: str, slide_id: str, outputs: Mapping[str, SlideOutput]
) -> dict[str, float | None]:
    attended = read_index(features_of(run, fold, slide_id, "hr_teacher", teacher=config.teacher))
    children = attended_along(resolution_ratio(config.mpp_lr, config.mpp_hr), teacher=config.teacher)
    found: dict[str, float | None] = {}
    for arm in ARMS[1:]:
        lr = read_index(encoded_of(run, fold, slide_id, answering(arm, finished=config.finishes)))
        log_mass = gather_log_mass(lr, attended, outputs["hr_teacher"].attention_logits, children=children)
        covered = np.isfinite(log_mass)
        found[arm] = spearman(log_mass[covered], outputs[arm].attention_logits[covered])
    return found


def spearman(first: ArrayLike, second: ArrayLike) -> float | None:
    """Return the rank correlation of two (n,) lists; None for n < 3, or if all values of a list are equal."""
    lists = [np.asarray(values) for values in (first, second)]
    if len(lists[0]) < 3 or any(len(np.unique(values)) == 1 for values in lists):
        return None
    return float(spearmanr(*reversed(lists)).statistic)  # this order matches earlier reports to the last bit
