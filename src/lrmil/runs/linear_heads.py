"""A linear head beside each arm of a fold, which learns from the mean embeddings of the same slides.

An arm that loses to it does not weigh patches to advantage.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Never

import numpy as np
from numpy.typing import NDArray
from pydantic import FiniteFloat, TypeAdapter

from lrmil.errors import FormatError
from lrmil.features.store import read_card, read_features
from lrmil.io import atomic
from lrmil.runs.arms import ARMS
from lrmil.runs.artefacts import committing, damaged, read_document
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.stages import Artefact, is_stale
from lrmil.steps import Step
from lrmil.tasks.choice import stated_name

FOLDER = "linear_heads"
VALUES = "values.json"
LINEAR_HEAD = "linear_head"  # member of each arm in metrics.json
LINEAR_HEAD_REASON = "linear_head_reason"  # another: why there is none
MAX_LOSS = 0.01  # of the score: what a linear head may lead by without a remark

Values = dict[str, list[FiniteFloat]]


def make_linear_heads(task: FoldTask) -> Iterator[Step[Never]]:
    """Write what a linear head of each arm says of the test slides of a fold; nothing without test slides.

    Parameters
    ----------
    task
        The fold, with the features of all arms.

    Yields
    ------
    Step
        One per slide and arm.
    """
    fold, job = task.fold, (task.fold.name, "linear heads")
    if not fold.test:
        return
    learned = fold.train + fold.val
    targets = [task.labels[slide_id] for slide_id in learned]
    problem = task.predicts.linear_problem(targets)
    keys = {arm: {i: read_card(task.features(arm, i)).key for i in learned + fold.test} for arm in ARMS}
    inputs: dict[str, object] = {
        "what": FOLDER,
        "train": {slide_id: task.labels[slide_id] for slide_id in learned},
        "slides": [list(fold.test), keys],
        "linear_head": [task.predicts.linear_settings(), problem],
    }
    if stated_name(task.predicts):
        inputs |= {"task": task.predicts.to_dict()}
    if not (yield from is_stale(task, Artefact(FOLDER, job[1], inputs))):
        return
    found: dict[str, Values | None] = dict.fromkeys(ARMS)
    slide_ids = learned + fold.test
    for place, arm in enumerate(() if problem else ARMS):
        means = []
        for slide_id in slide_ids:
            means.append(read_features(task.features(arm, slide_id)).embeddings.mean(axis=0, dtype=np.float64))
            yield Step(job, place * len(slide_ids) + len(means), len(ARMS) * len(slide_ids), "slides")
        embeddings, tested = np.stack(means[: len(learned)]), np.stack(means[len(learned) :])
        values = task.predicts.linear_values(embeddings, targets, tested)
        found[arm] = dict(zip(fold.test, values.tolist(), strict=True))
    with committing(task.folder / FOLDER, inputs) as temporary:
        atomic.write_json(temporary / VALUES, found)


def read_linear_heads(fold: Path, slide_ids: Sequence[str]) -> dict[str, NDArray[np.float64] | None]:
    """Read what linear heads say of the test slides of a fold: arm -> values (m, names); None without a head.

    Parameters
    ----------
    fold
        Folder of the fold.
    slide_ids
        Its test slides, m.

    Raises
    ------
    FormatError
        If it is absent or damaged.
    """
    path, what = fold / FOLDER / VALUES, "the values of the linear heads"
    found = read_document(path, TypeAdapter(dict[str, Values | None]), what)
    try:
        of_arms = {arm: found[arm] for arm in ARMS}
        return {arm: None if of is None else np.array([of[i] for i in slide_ids]) for arm, of in of_arms.items()}
    except (KeyError, ValueError) as error:
        raise FormatError(damaged(path, what)) from error


def below_linear_head(figures: Mapping[str, Any], arm: str, score: str) -> float | None:
    """Return the score of an arm's linear head if the arm is more than `MAX_LOSS` below it; else None.

    Parameters
    ----------
    figures
        Content of metrics.json; earlier versions state no linear heads.
    arm
        One of `lrmil.runs.arms.ARMS`.
    score
        Name of the score.
    """
    head, own = (figures[arm].get(LINEAR_HEAD) or {}).get(score), figures[arm][score]
    return head if head is not None and own is not None and head - own > MAX_LOSS else None
