"""The trained artefacts of a fold: the MILs of the three arms and the LR encoder (method.md section 3).

The inputs of each name its slides. No test slide of the fold is among them.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Never, TypeVar

from torch import Tensor, nn

from lrmil.features.store import read_card
from lrmil.io.tensors import load_tensors, save_tensors
from lrmil.models.encoders.loading import encoder_hash
from lrmil.models.heads.head import MILHead
from lrmil.runs.artefacts import key_of
from lrmil.runs.fold_outputs import read_teacher_outputs, save_mil
from lrmil.runs.fold_task import Artefact, FoldTask, train_artefact
from lrmil.steps import Step
from lrmil.tasks.choice import stated_name
from lrmil.training.bags import Bag, student_bag
from lrmil.training.loop import Fit, FitRun
from lrmil.training.pairs import PairedSlide
from lrmil.training.patch_stage import Student, train_student
from lrmil.training.slide_stage import train_mil

T = TypeVar("T")


def train_on_labels(task: FoldTask, arm: str) -> Iterator[Step[Never]]:
    """Train the MIL of an arm that learns from labels alone.

    Parameters
    ----------
    task
        The fold.
    arm
        hr_teacher or lr_undistilled.

    Yields
    ------
    Step
        Of the training.
    """
    yield from _train_mil(
        task, arm, lambda slide_id: Bag(slide_id, task.features(arm, slide_id), task.labels[slide_id])
    )


def train_slide_stage(task: FoldTask) -> Iterator[Step[Never]]:
    """Train the MIL of the student, stage 2: from labels and from the teacher's outputs."""
    outputs = read_teacher_outputs(task.folder)

    def bag(slide_id: str) -> Bag:
        lr, hr = (task.features(arm, slide_id) for arm in ("lr_student", "hr_teacher"))
        return student_bag(slide_id, lr, hr, task.labels[slide_id], outputs[slide_id], children=task.plan.children)

    warm = task.config.stage2.warm_start
    start = load_tensors(task.mil("hr_teacher") / "mil.safetensors") if warm else None
    yield from _train_mil(task, "lr_student", bag, start=start, distil=True)


def train_patch_stage(task: FoldTask) -> Iterator[Step[Never]]:
    """Train the LR encoder, stage 1: from the HR features of the patches nested in its own."""
    config = task.config.stage1
    attended = config.weighting == "teacher_attention"

    def keys(slide_id: str) -> list[str]:
        return [read_card(task.features(arm, slide_id)).key for arm in ("lr_undistilled", "hr_teacher")]

    seed = task.seed("stage1")
    inputs = {
        "what": "lr_encoder",
        "stage1": asdict(config),
        "seed": seed,
        "start": encoder_hash(task.student_start),
        "evidence": key_of(task.folder / "evidence") if attended else None,
        **_by_part(task, keys),
    }

    def fit(run: FitRun) -> Iterator[Step[Fit]]:
        outputs = read_teacher_outputs(task.folder) if attended else {}

        def pair(slide_id: str) -> PairedSlide:
            lr, hr = (task.features(arm, slide_id) for arm in ("lr_undistilled", "hr_teacher"))
            attention = outputs[slide_id].attention_logits if attended else None
            return PairedSlide(task.sources[slide_id], lr, hr, task.plan.children, attention)

        return train_student(
            (task.fold.name, "stage 1"),
            task.student_start,
            [pair(slide_id) for slide_id in task.fold.train],
            [pair(slide_id) for slide_id in task.fold.val],
            run,
            config=config,
            threads=task.config.threads,
        )

    yield from train_artefact(task, Artefact("lr_encoder", "stage 1", inputs), seed, fit, _save_encoder)


def _train_mil(
    task: FoldTask,
    arm: str,
    bag_of: Callable[[str], Bag],
    *,
    start: dict[str, Tensor] | None = None,
    distil: bool = False,
) -> Iterator[Step[Never]]:
    config, name = task.config, task.mil(arm).name
    train, val = ([bag_of(slide_id) for slide_id in part] for part in (task.fold.train, task.fold.val))
    bags = {bag.slide_id: bag for bag in (*train, *val)}
    seed = task.seed("mil")
    inputs: dict[str, object] = {
        "what": name,
        "mil": asdict(config.mil),
        "seed": seed,
        **_by_part(task, lambda slide_id: [bags[slide_id].target, read_card(bags[slide_id].features).key]),
    }
    if stated_name(task.predicts):
        inputs |= {"task": task.predicts.to_dict()}
    if distil:
        inputs |= {"stage2": asdict(config.stage2), "evidence": key_of(task.folder / "evidence")}

    def fit(run: FitRun) -> Iterator[Step[Fit]]:
        return train_mil(
            (task.fold.name, name),
            train,
            val,
            run,
            task=task.predicts,
            config=config.mil,
            stage2=config.stage2 if distil else None,
            start=start,
        )

    yield from train_artefact(task, Artefact(name, name, inputs), seed, fit, _save_mil)


def _by_part(task: FoldTask, of: Callable[[str], T]) -> Mapping[str, dict[str, T]]:
    """Something of each slide to train and to validate on."""
    parts = {"train": task.fold.train, "val": task.fold.val}
    return {part: {slide_id: of(slide_id) for slide_id in slide_ids} for part, slide_ids in parts.items()}


def _save_encoder(folder: Path, module: nn.Module) -> None:
    if not isinstance(module, Student):
        raise TypeError(f"Expected a Student from stage 1. Got {type(module).__name__}.")
    save_tensors(folder / "encoder.safetensors", module.encoder.state_dict())


def _save_mil(folder: Path, module: nn.Module) -> None:
    if not isinstance(module, MILHead):
        raise TypeError(f"Expected a MIL from the slide stage. Got {type(module).__name__}.")
    save_mil(folder, module)
