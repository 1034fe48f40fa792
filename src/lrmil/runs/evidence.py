"""What stage 2 learns from: the teacher's outputs on slides that it has not seen, and whether they beat the baseline.

A teacher is sure of its own training slides, whatever it has understood. Teachers of inner folds give each slide the
outputs of one that was trained without it; the same folds show whether the teacher is better than the baseline at all.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from typing import Never

import numpy as np
import torch

from lrmil.cohorts.inner_folds import InnerFolds, draw_inner_folds
from lrmil.features.store import read_card, read_features
from lrmil.io import atomic
from lrmil.io.tensors import save_tensors
from lrmil.models.heads.head import BagOutput, predict_bag
from lrmil.runs.artefacts import committing, key_of
from lrmil.runs.fold_outputs import EVIDENCE, Evidence, load_mil, tensors_of
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import inner_folder, train_inner
from lrmil.runs.stages import Artefact, is_stale
from lrmil.steps import Step

COMPARED = ("hr_teacher", "lr_undistilled")
JOB = "evidence"


def make_evidence(task: FoldTask) -> Iterator[Step[Never]]:
    """Write the teacher's outputs on the training and validation slides of a fold.

    Parameters
    ----------
    task
        The fold, with its teacher.

    Yields
    ------
    Step
        Of the trainings of the inner folds, if there are any, and one per slide.
    """
    slide_ids = task.fold.train + task.fold.val
    folds, seed = task.config.stage2.inner_folds, task.seed("inner folds")
    inner = draw_inner_folds(slide_ids, task.cases, task.strata, folds=folds, seed=seed)
    for arm in COMPARED:
        for number, held_out in enumerate(inner.held_out):
            yield from train_inner(task, arm, number, held_out)
    inputs = _inputs(task, inner)
    if not (yield from is_stale(task, Artefact("evidence", JOB, inputs))):
        return
    if inner.reason and folds:
        yield Step((task.fold.name, JOB), 0, message=inner.reason)
    outputs, evidence = yield from _gather(task, inner)
    if not evidence.used:
        yield Step((task.fold.name, JOB), len(slide_ids), len(slide_ids), "slides", message=faded(evidence))
    with committing(task.folder / "evidence", inputs) as temporary:
        tensors = [tensors_of(slide_id, output) for slide_id, output in outputs.items()]
        save_tensors(
            temporary / "evidence.safetensors", {name: value for one in tensors for name, value in one.items()}
        )
        atomic.write_json(temporary / EVIDENCE, evidence.to_dict())


def faded(evidence: Evidence) -> str:
    """Say that stage 2 does not learn from the teacher, and why.

    Parameters
    ----------
    evidence
        Scores of a teacher below the baseline.
    """
    return (
        f"on slides of inner folds, the teacher's score {evidence.teacher:.3f} is below the baseline's "
        f"{evidence.baseline:.3f}: stage 2 learns from labels alone"
    )


def _inputs(task: FoldTask, inner: InnerFolds) -> dict[str, object]:
    slide_ids = task.fold.train + task.fold.val
    numbers = range(len(inner.held_out))
    arms = COMPARED if inner.held_out else COMPARED[:1]
    return {
        "what": "evidence",
        "teacher": key_of(task.mil("hr_teacher")) if not inner.held_out else None,
        "models": {arm: [key_of(inner_folder(task, arm, number)) for number in numbers] for arm in COMPARED},
        "inner_folds": [list(inner.held_out), inner.reason],
        "slides": {i: [task.labels[i], *(read_card(task.features(arm, i)).key for arm in arms)] for i in slide_ids},
    }


def _gather(
    task: FoldTask, inner: InnerFolds
) -> Generator[Step[Never], None, tuple[Mapping[str, BagOutput], Evidence]]:
    """Return the teacher's output for each slide, and what it is worth."""
    slide_ids = task.fold.train + task.fold.val
    if not inner.held_out:
        found = yield from _outputs(task, "hr_teacher", [(task.mil("hr_teacher").name, slide_ids)])
        return found, Evidence(reason=inner.reason)
    outputs: dict[str, dict[str, BagOutput]] = {}
    for arm in COMPARED:
        models = [(inner_folder(task, arm, number).name, held) for number, held in enumerate(inner.held_out)]
        outputs[arm] = yield from _outputs(task, arm, models)
    teacher, baseline = (_score(task, outputs[arm]) for arm in COMPARED)
    used = teacher is None or baseline is None or teacher >= baseline
    evidence = Evidence(
        inner_folds=len(inner.held_out), reason=inner.reason, teacher=teacher, baseline=baseline, used=used
    )
    return outputs["hr_teacher"], evidence


def _outputs(
    task: FoldTask, arm: str, models: Sequence[tuple[str, Sequence[str]]]
) -> Generator[Step[Never], None, dict[str, BagOutput]]:
    """Return the outputs on slides by the MILs of the folders that are named with them."""
    found: dict[str, BagOutput] = {}
    total = sum(len(slide_ids) for _, slide_ids in models)
    for name, slide_ids in models:
        mil = load_mil(task.folder / name, task.config.mil)
        for slide_id in slide_ids:
            embeddings = read_features(task.features(arm, slide_id)).embeddings
            found[slide_id] = predict_bag(mil, torch.from_numpy(embeddings))
            yield Step((task.fold.name, JOB), len(found), total, "slides")
    return found


def _score(task: FoldTask, outputs: Mapping[str, BagOutput]) -> float | None:
    values = np.stack([task.predicts.values(output.logits) for output in outputs.values()])
    return task.predicts.score([task.labels[slide_id] for slide_id in outputs], values)
