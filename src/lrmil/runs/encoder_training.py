"""The LR encoder of a fold: stage 1 (method.md section 5).

The inputs name its slides. No test slide of the fold is among them.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Never

from torch import nn

from lrmil.features.store import read_card
from lrmil.io.tensors import save_tensors
from lrmil.models.encoders.loading import encoder_hash
from lrmil.runs.artefacts import key_of
from lrmil.runs.fold_outputs import read_teacher_outputs
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import by_part
from lrmil.runs.stages import Artefact, train_artefact
from lrmil.steps import Step
from lrmil.training.loop import Fit, FitRun
from lrmil.training.pairs import PairedSlide
from lrmil.training.patch_stage import Student, train_student
from lrmil.training.start_map import start_map_input


def train_patch_stage(task: FoldTask) -> Iterator[Step[Never]]:
    """Train the LR encoder, stage 1: from the HR features of the patches nested in its own."""
    config = task.config.stage1
    attended = config.weighting == "teacher_attention"

    def keys(slide_id: str) -> list[str]:
        start = task.start(slide_id)
        paths = [task.encoded(arm, slide_id) for arm in ("lr_undistilled", "hr_teacher")]
        return [read_card(path).key for path in (*paths, *([start] if start else []))]

    seed = task.seed("stage1")
    inputs = {
        "what": "lr_encoder",
        "stage1": asdict(config),
        "seed": seed,
        "start": encoder_hash(task.student_start),
        **start_map_input(config),
        "evidence": key_of(task.folder / "evidence") if attended else None,
        **by_part(task.fold.train, task.fold.val, keys),
    }

    def fit(run: FitRun) -> Iterator[Step[Fit]]:
        outputs = read_teacher_outputs(task.folder) if attended else {}

        def pair(slide_id: str) -> PairedSlide:
            lr, hr = (task.encoded(arm, slide_id) for arm in ("lr_undistilled", "hr_teacher"))
            attention = outputs[slide_id].attention_logits if attended else None
            return PairedSlide(task.sources[slide_id], lr, hr, task.plan.children, attention, task.start(slide_id))

        return train_student(
            (task.fold.name, "stage 1"),
            task.student_start,
            [pair(slide_id) for slide_id in task.fold.train],
            [pair(slide_id) for slide_id in task.fold.val],
            run,
            config=config,
            threads=task.config.threads,
        )

    yield from train_artefact(task, Artefact("lr_encoder", "stage 1", inputs), seed, fit, save_student)


def save_student(folder: Path, module: nn.Module) -> None:
    """Write the weights of the LR encoder of a `Student` into a folder."""
    if not isinstance(module, Student):
        raise TypeError(f"Expected a Student from stage 1. Got {type(module).__name__}.")
    save_tensors(folder / "encoder.safetensors", module.encoder.state_dict())
