"""What stage 2 learns from: the teacher's outputs on slides that it has not seen, and whether they beat the baseline.

A teacher is sure of its own training slides, whatever it has understood. Teachers of inner folds give each slide the
outputs of one that was trained without it; the same folds show whether the teacher is better than the baseline at all.
"""

from collections.abc import Generator, Iterator, Mapping
from typing import Never

from lrmil.cohorts.inner_folds import InnerFolds
from lrmil.configs import TrainConfig
from lrmil.io import atomic
from lrmil.io.tensors import save_tensors
from lrmil.models.heads.head import BagOutput
from lrmil.runs.artefacts import committing, key_of
from lrmil.runs.fold_outputs import EVIDENCE, Evidence, load_mil, tensors_of
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.inner_mils import (
    COMPARED,
    against_labels,
    answer,
    inner_folds_of,
    inner_keys,
    out_of_fold,
    slide_keys,
    train_inner_mils,
)
from lrmil.runs.stages import Artefact, is_stale
from lrmil.steps import Step

JOB = "evidence"
NO_WEIGHT = "the weights of the losses against the teacher are 0"


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
    needed = is_needed(task.config)
    inner = inner_folds_of(task) if needed else InnerFolds((), NO_WEIGHT)
    yield from train_inner_mils(task, inner, [task.head])
    inputs = _inputs(task, inner)
    if not (yield from is_stale(task, Artefact("evidence", JOB, inputs))):
        return
    if inner.reason and needed and task.config.stage2.inner_folds:
        yield Step((task.fold.name, JOB), 0, message=inner.reason)
    outputs, evidence = yield from _gather(task, inner, needed=needed)
    if not evidence.used:
        count = len(outputs) * (len(COMPARED) if inner.held_out else 1)
        yield Step((task.fold.name, JOB), count, count, "slides", message=faded(evidence))
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
        That of a fold in which the teacher has no weight, or a score below the baseline.
    """
    if evidence.teacher is None or evidence.baseline is None:
        return f"{evidence.reason or 'the teacher is not used'}: stage 2 learns from labels alone"
    return (
        f"on slides of inner folds, the teacher's score {evidence.teacher:.3f} is below the baseline's "
        f"{evidence.baseline:.3f}: stage 2 learns from labels alone"
    )


def is_needed(config: TrainConfig) -> bool:
    """Return whether anything is learned from the teacher's outputs, so that they are worth the MILs of inner folds."""
    stage2 = config.stage2
    in_stage_2 = stage2.lambda_bag or stage2.lambda_soft or stage2.lambda_hard or stage2.warm_start
    return bool(in_stage_2) or config.stage1.weighting == "teacher_attention" or config.decision.with_teacher


def _inputs(task: FoldTask, inner: InnerFolds) -> dict[str, object]:
    return {
        "what": "evidence",
        "teacher": key_of(task.mil("hr_teacher")) if not inner.held_out else None,
        "models": inner_keys(task, inner),
        "inner_folds": [list(inner.held_out), inner.reason],
        "slides": slide_keys(task, COMPARED if inner.held_out else COMPARED[:1]),
    }


def _gather(
    task: FoldTask, inner: InnerFolds, *, needed: bool
) -> Generator[Step[Never], None, tuple[Mapping[str, BagOutput], Evidence]]:
    """Return the teacher's output for each slide, and what it is worth."""
    if not inner.held_out:
        own = yield from _own_outputs(task)
        return own, Evidence(reason=inner.reason, used=needed)
    head = task.head
    outputs = yield from out_of_fold(task, inner, [head], (task.fold.name, JOB))
    teacher, baseline = (task.predicts.score(*against_labels(task, outputs[head, arm])) for arm in COMPARED)
    used = teacher is None or baseline is None or teacher >= baseline
    evidence = Evidence(
        inner_folds=len(inner.held_out), reason=inner.reason, teacher=teacher, baseline=baseline, used=used
    )
    return outputs[head, "hr_teacher"], evidence


def _own_outputs(task: FoldTask) -> Generator[Step[Never], None, dict[str, BagOutput]]:
    """Return the outputs of the teacher for the slides that it was trained on."""
    found: dict[str, BagOutput] = {}
    slide_ids = task.fold.train + task.fold.val
    mil = load_mil(task.mil("hr_teacher"), task.config.mil)
    for done, slide_id in enumerate(slide_ids, 1):
        found[slide_id] = answer(task, mil, "hr_teacher", slide_id)
        yield Step((task.fold.name, JOB), done, len(slide_ids), "slides")
    return found
