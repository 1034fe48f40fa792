"""The end-to-end finish of a fold's student: encoder and MIL as one artefact, trained from labels and stage 2's terms.

Like those of the other artefacts, its inputs name its slides. No test slide of the fold is among them.
"""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Never

from torch import nn

from lrmil.features.store import read_card
from lrmil.io.tensors import save_tensors
from lrmil.runs.arms import FINISH
from lrmil.runs.artefacts import key_of
from lrmil.runs.fold_outputs import load_mil, save_mil
from lrmil.runs.fold_task import FoldTask, load_lr_encoder
from lrmil.runs.fold_training import by_part, describe_parts, mil_parts, stated_terms, student_bags, student_terms
from lrmil.runs.stages import Artefact, train_artefact
from lrmil.steps import Step
from lrmil.tasks.choice import stated_name
from lrmil.training.finish import FinishedStudent, train_finish
from lrmil.training.loop import Fit, FitRun
from lrmil.training.sampled_patches import SlideBag


def finish_student(task: FoldTask) -> Iterator[Step[Never]]:
    """Train the LR encoder and the MIL of stage 2 together, if the settings ask for it.

    Parameters
    ----------
    task
        The fold, with its student.

    Yields
    ------
    Step
        Of the training.
    """
    if not task.config.finishes:
        return
    train, val = mil_parts(task)
    bag_of, stage2, seed = student_bags(task), student_terms(task), task.seed(FINISH)
    bags = {slide_id: bag_of(slide_id) for slide_id in (*train, *val)}
    inputs: dict[str, object] = {
        "what": FINISH,
        "finish": asdict(task.config.finish),
        "stage2": stated_terms(stage2),
        "seed": seed,
        "schedule": task.schedule,
        "lr_encoder": key_of(task.folder / "lr_encoder"),
        "lr_student": key_of(task.mil("lr_student")),
        "evidence": key_of(task.folder / "evidence"),
        **by_part(train, val, lambda i: [bags[i].target, read_card(bags[i].features).key]),
    }
    if stated_name(task.predicts):
        inputs |= {"task": task.predicts.to_dict()}

    job = task.fold.name, FINISH

    def fit(run: FitRun) -> Iterator[Step[Fit]]:
        yield Step(job, 0, message=describe_parts(train, val))
        student = FinishedStudent(load_lr_encoder(task), load_mil(task.mil("lr_student"), task.config.mil))
        learned, selecting = ([SlideBag(bags[i], task.sources[i]) for i in part] for part in (train, val))
        yield from train_finish(
            job,
            student,
            learned,
            selecting,
            run,
            task=task.predicts,
            config=task.config.finish,
            balance=task.config.mil.balance,
            stage2=stage2,
            threads=task.config.threads,
        )

    yield from train_artefact(task, Artefact(FINISH, FINISH, inputs), seed, fit, _save)


def _save(folder: Path, module: nn.Module) -> None:
    if not isinstance(module, FinishedStudent):
        raise TypeError(f"Expected a FinishedStudent from the finish. Got {type(module).__name__}.")
    save_tensors(folder / "encoder.safetensors", module.encoder.state_dict())
    save_mil(folder, module.mil)
