"""What all stages of a fold share, and how each makes its artefact: only if an input changed."""

import copy
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, Never

import torch
from torch import nn

from lrmil.cohorts.inner_folds import count_cases
from lrmil.cohorts.splits import Fold
from lrmil.configs import TrainConfig
from lrmil.io import atomic, hashing
from lrmil.io.ownership import is_checkpoint
from lrmil.io.tensors import load_into, load_tensors
from lrmil.models.encoders.loading import Encoder
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import encoded_of, features_of, mil_folder, start_of
from lrmil.runs.artefacts import changed_inputs, committing, is_committed
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay
from lrmil.tasks.task import Target, Task
from lrmil.training.loop import Fit, FitRun

Schedule = Literal["selected", "fixed"]
INPUTS = {
    "task": "what is predicted",
    "mil": "settings of the MIL",
    "stage1": "settings of stage 1",
    "stage2": "settings of stage 2",
    "seed": "seed",
    "start": "encoder that the student starts from",
    "train": "training slides, their labels or features",
    "val": "validation slides, their labels or features",
    "slides": "slides or their features",
    "teacher": "teacher",
    "evidence": "teacher's outputs",
    "schedule": "whether validation selects the epoch",
    "inner_folds": "inner folds",
    "models": "trained models",
}


@dataclass(frozen=True, slots=True)
class FoldTask:
    """What all stages of a fold share.

    Attributes
    ----------
    run
        The run's folder.
    fold
        Slide ids to train, validate and test on.
    sources, labels
        Slide id -> where the slide is, and slide id -> its label as the loss needs it.
    cases, strata
        Slide id -> its case, and slide id -> the group in which it counts (`lrmil.tasks.task.Task.stratum`).
    predicts
        What is predicted.
    student_start
        What the LR encoder starts from.
    plan
        Which patches of a slide are read.
    config, device
        Settings of the run, and where it computes.
    """

    run: Path
    fold: Fold
    sources: Mapping[str, SlideSource]
    labels: Mapping[str, Target]
    cases: Mapping[str, str]
    strata: Mapping[str, str]
    predicts: Task
    student_start: Encoder
    plan: PatchPlan
    config: TrainConfig
    device: torch.device

    @property
    def folder(self) -> Path:
        """The folder of the fold's artefacts."""
        return self.run / self.fold.name

    @property
    def slide_ids(self) -> tuple[str, ...]:
        """The id of every slide of the fold."""
        return self.fold.train + self.fold.val + self.fold.test

    def features(self, arm: str, slide_id: str) -> Path:
        """Return the path of the features of a slide whose patches an arm attends to.

        Parameters
        ----------
        arm
            One of `lrmil.runs.arms.ARMS`.
        slide_id
            The slide.
        """
        return features_of(self.run, self.fold.name, slide_id, arm, teacher=self.config.teacher)

    def encoded(self, arm: str, slide_id: str) -> Path:
        """Return the path of the features that an encoder made of a slide for an arm.

        Parameters
        ----------
        arm, slide_id
            As in `features`.
        """
        return encoded_of(self.run, self.fold.name, slide_id, arm)

    def start(self, slide_id: str) -> Path | None:
        """Return the path of the features that the student stays near; None if it need not."""
        config = self.config
        return start_of(self.run, slide_id, own=config.has_own_start) if config.stage1.lambda_keep else None

    @property
    def attended(self) -> int:
        """How many of what the teacher attends to lie along a side of an LR patch."""
        return 1 if self.config.teacher == "region" else self.plan.children

    @property
    def schedule(self) -> Schedule:
        """Whether validation selects the epoch of a MIL; with few validation cases it would select by chance."""
        counts = count_cases(self.fold.val, self.cases, self.strata)
        fewest = min(counts.get(stratum, 0) for stratum in self.predicts.strata)
        return "selected" if fewest >= self.config.mil.select_from else "fixed"

    def mil(self, arm: str) -> Path:
        """Return the folder of an arm's MIL."""
        return mil_folder(self.run, self.fold.name, arm)

    def seed(self, purpose: str) -> int:
        """Return the seed for one purpose in this fold."""
        return int(hashing.sha256_of([self.config.seed, self.fold.name, purpose])[:8], 16)


class Artefact(NamedTuple):
    """The output of a stage of a fold."""

    name: str
    """Name of its folder within the folder of the fold."""
    job: str
    """Name of the stage in Steps."""
    inputs: Mapping[str, object]
    """Everything that it is made from, JSON-ready. Its key is their hash."""


def load_lr_encoder(task: FoldTask) -> Encoder:
    """Load the fold's distilled LR encoder.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    path = task.folder / "lr_encoder/encoder.safetensors"
    return load_into(copy.deepcopy(task.student_start), load_tensors(path), path)


def is_stale(task: FoldTask, artefact: Artefact) -> Generator[Step[Never], None, bool]:
    """Return whether an artefact is absent or was made from other inputs.

    Parameters
    ----------
    task, artefact
        The fold, and its artefact.

    Yields
    ------
    Step
        With a message that names the changed inputs, if there is an artefact.
    """
    folder = task.folder / artefact.name
    if is_committed(folder, artefact.inputs):
        return False
    if changed := [INPUTS[name] for name in changed_inputs(folder, artefact.inputs)]:
        message = f"recomputing, because these changed: {'; '.join(changed)}"
        yield Step((task.fold.name, artefact.job), 0, message=message)
    return True


def train_artefact(
    task: FoldTask,
    artefact: Artefact,
    seed: int,
    fit: Callable[[FitRun], Iterator[Step[Fit]]],
    save: Callable[[Path, nn.Module], None],
) -> Iterator[Step[Never]]:
    """Train an artefact if it is stale, and resume an interrupted training from its checkpoint.

    Parameters
    ----------
    task, artefact
        The fold, and what is trained in it.
    seed
        Determines all randomness of the training.
    fit
        The training, called only if the artefact is stale.
    save
        Writes the trained module into a folder.

    Yields
    ------
    Step
        Of the training.
    """
    if not (yield from is_stale(task, artefact)):
        return
    checkpoint = task.folder / f"{artefact.name}.checkpoint.safetensors"
    fitted = yield from relay(fit(FitRun(seed, checkpoint, hashing.sha256_of(artefact.inputs), task.device)))
    with committing(task.folder / artefact.name, artefact.inputs) as temporary:
        save(temporary, fitted.module)
        for name, document in {"history.json": fitted.history, **fitted.documents}.items():
            atomic.write_json(temporary / name, document)
    atomic.remove_ours(checkpoint, is_checkpoint)
