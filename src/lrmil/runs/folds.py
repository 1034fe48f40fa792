"""One fold: teacher, stage 1, LR features, stage 2, finish and baseline, from frozen features (method.md section 3)."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Never

import torch
from torch import Tensor

from lrmil.errors import SlideError
from lrmil.features.store import read_card
from lrmil.io import atomic
from lrmil.io.tensors import save_tensors
from lrmil.runs.arms import ARMS, FINISHED, PATCHES, lr_folder
from lrmil.runs.artefacts import committing, key_of
from lrmil.runs.calibration import make_held_out_answers
from lrmil.runs.encoder_training import train_patch_stage
from lrmil.runs.escalation import make_closer_answers
from lrmil.runs.evidence import make_evidence
from lrmil.runs.finish import finish_student
from lrmil.runs.fold_outputs import load_mil, tensors_of
from lrmil.runs.fold_task import FoldTask, load_lr_encoder, lr_encoder_weights
from lrmil.runs.fold_training import train_on_labels, train_slide_stage
from lrmil.runs.head_choice import choose_head
from lrmil.runs.inner_mils import answer
from lrmil.runs.linear_heads import make_linear_heads
from lrmil.runs.slide_encoding import Made, encode_slides
from lrmil.runs.stages import Artefact, is_stale
from lrmil.steps import Step, relay


def run_fold(task: FoldTask) -> Iterator[Step[Path]]:
    """Train and test the three arms of a fold, their linear heads and the calibration, and skip current artefacts.

    Yields
    ------
    Step
        Of every stage in turn; the last carries the fold's folder.
    """
    atomic.remove_leftovers(task.folder)
    task = yield from choose_head(task)
    yield from train_on_labels(task, "hr_teacher")
    yield from make_evidence(task)
    yield from train_patch_stage(task)
    yield from _lr_features(task, "lr_student", task.slide_ids)
    yield from train_slide_stage(task)
    yield from finish_student(task)
    if task.config.finishes:
        yield from _lr_features(task, FINISHED, task.fold.test)
    yield from train_on_labels(task, "lr_undistilled")
    yield from _outputs(task)
    yield from make_linear_heads(task)
    yield from make_held_out_answers(task)
    yield from make_closer_answers(task)
    yield Step((task.fold.name,), 1, 1, "folds", result=task.folder)


def _lr_features(task: FoldTask, arm: str, slide_ids: Sequence[str]) -> Iterator[Step[Never]]:
    finished = arm == FINISHED
    steps = encode_slides(
        [task.sources[slide_id] for slide_id in slide_ids],
        load_lr_encoder(task, finished=finished),
        lr_folder(task.run, task.fold.name, arm),
        task.plan,
        task.config,
        task.computing,
        patches=task.run / PATCHES,
        made=Made(student=True, weights=lr_encoder_weights(task, finished=finished)),
        job=(task.fold.name, "finished LR features" if finished else "LR features"),
    )
    for outcome in (yield from relay(steps)):
        if outcome.path is None:
            raise SlideError(f"{outcome.slide_id} can no longer be read: {outcome.message}")


def _outputs(task: FoldTask) -> Iterator[Step[Never]]:
    inputs: dict[str, object] = {
        "what": "outputs",
        "models": {arm: key_of(task.mil(task.answering(arm))) for arm in ARMS},
        "slides": {
            arm: {i: read_card(task.features(task.answering(arm), i)).key for i in task.fold.test} for arm in ARMS
        },
    }
    if not (yield from is_stale(task, Artefact("outputs", "test hr_teacher", inputs))):
        return
    probabilities: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
    tensors: dict[str, Tensor] = {"none": torch.zeros(0)}
    for arm in ARMS:
        mil = load_mil(task.mil(task.answering(arm)), task.config.mil)
        for done, slide_id in enumerate(task.fold.test, 1):
            output = answer(task, mil, task.answering(arm), slide_id)
            probabilities[arm][slide_id] = task.predicts.values(output.logits).tolist()
            tensors |= tensors_of(f"{arm}/{slide_id}", output)
            yield Step((task.fold.name, f"test {arm}"), done, len(task.fold.test), "slides")
    with committing(task.folder / "outputs", inputs) as temporary:
        atomic.write_json(temporary / "probabilities.json", probabilities)
        save_tensors(temporary / "outputs.safetensors", tensors)
