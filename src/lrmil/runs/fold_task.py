"""What all stages of a fold share, and how each makes its artefact: only if an input changed."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import torch

from lrmil.cohorts.cohort import Cohort
from lrmil.cohorts.inner_folds import count_cases
from lrmil.cohorts.splits import Fold
from lrmil.configs import AUTO, HeadName, TrainConfig
from lrmil.errors import ConfigError
from lrmil.io import hashing
from lrmil.io.tensors import load_into, load_tensors
from lrmil.models.encoders.loading import Encoder
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import (
    FINISH,
    answering,
    attended_along,
    encoded_of,
    features_of,
    mil_folder,
    nested_of,
    start_of,
)
from lrmil.runs.slide_encoding import Computing
from lrmil.slides.source import SlideSource
from lrmil.tasks.answers import Target
from lrmil.tasks.task import Task

Schedule = Literal["selected", "fixed"]


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
    config, computing
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
    computing: Computing

    @property
    def device(self) -> torch.device:
        """Where the networks of the fold are trained."""
        return self.computing.device

    @property
    def folder(self) -> Path:
        """The folder of the fold's artefacts."""
        return self.run / self.fold.name

    @property
    def job(self) -> str:
        """What Steps call the fold."""
        return self.fold.name

    @property
    def slide_ids(self) -> tuple[str, ...]:
        """The id of every slide of the fold."""
        return self.fold.train + self.fold.val + self.fold.test

    def features(self, arm: str, slide_id: str) -> Path:
        """Return the path of the features of a slide whose patches an arm attends to.

        Parameters
        ----------
        arm
            One of `lrmil.runs.arms.ARMS`, or `FINISHED`.
        slide_id
            The slide.
        """
        return features_of(self.run, self.fold.name, slide_id, arm, teacher=self.config.teacher)

    def nested(self, arm: str, slide_id: str) -> Path | None:
        """Return the path of the features of the HR patches that an arm weighs within its regions; None if it does not.

        Parameters
        ----------
        arm, slide_id
            As in `features`.
        """
        return nested_of(self.run, slide_id, arm, teacher=self.config.teacher)

    def encoded(self, arm: str, slide_id: str) -> Path:
        """Return the path of the features that an encoder made of a slide for an arm.

        Parameters
        ----------
        arm, slide_id
            As in `features`.
        """
        return encoded_of(self.run, self.fold.name, slide_id, arm)

    def answering(self, arm: str) -> str:
        """Return the name of what answers for an arm; see `lrmil.runs.arms.answering`."""
        return answering(arm, finished=self.config.finishes)

    def start(self, slide_id: str) -> Path | None:
        """Return the path of the features that the student stays near; None if it need not."""
        config = self.config
        return start_of(self.run, slide_id, own=config.has_own_start) if config.stage1.lambda_keep else None

    @property
    def attended(self) -> int:
        """How many of what the teacher attends to lie along a side of an LR patch."""
        return attended_along(self.plan.children, teacher=self.config.teacher)

    @property
    def schedule(self) -> Schedule:
        """Whether validation selects the epoch of a MIL; with few validation cases it would select by chance."""
        counts = count_cases(self.fold.val, self.cases, self.strata)
        fewest = min(counts.get(stratum, 0) for stratum in self.predicts.strata)
        return "selected" if fewest >= self.config.mil.select_from else "fixed"

    def mil(self, arm: str) -> Path:
        """Return the folder of an arm's MIL."""
        return mil_folder(self.run, self.fold.name, arm)

    @property
    def head(self) -> HeadName:
        """The MIL head that the settings name.

        Raises
        ------
        ConfigError
            If they leave it to be chosen, and `lrmil.runs.head_choice.choose_head` has not.
        """
        head = self.config.mil.head
        if head == AUTO:
            raise ConfigError(f'Expected a MIL head in the settings of {self.fold.name}. Got "{AUTO}"; choose one.')
        return head

    def with_head(self, head: HeadName) -> Self:
        """Return the fold with a MIL head in its settings."""
        return replace(self, config=replace(self.config, mil=replace(self.config.mil, head=head)))

    def seed(self, purpose: str) -> int:
        """Return the seed for one purpose in this fold."""
        return int(hashing.sha256_of([self.config.seed, self.fold.name, purpose])[:8], 16)


def fold_tasks(
    run: Path,
    folds: Sequence[Fold],
    cohort: Cohort,
    sources: Mapping[str, SlideSource],
    student_start: Encoder,
    plan: PatchPlan,
    config: TrainConfig,
    computing: Computing,
) -> list[FoldTask]:
    """Return what the stages of each fold share.

    Parameters
    ----------
    run, sources, student_start, plan, config, computing
        As in `FoldTask`.
    folds
        The folds.
    cohort
        The slides with their cases and labels.
    """
    return [
        FoldTask(
            run=run,
            fold=fold,
            sources=sources,
            labels=cohort.targets,
            cases={slide.slide_id: slide.case_id for slide in cohort.slides},
            strata={slide.slide_id: cohort.task.stratum(slide.label) for slide in cohort.slides},
            predicts=cohort.task,
            student_start=student_start,
            plan=plan,
            config=config,
            computing=computing,
        )
        for fold in folds
    ]


def lr_encoder_weights(task: FoldTask, *, finished: bool = False) -> Path:
    """Return the file of the weights of `load_lr_encoder`.

    Parameters
    ----------
    task, finished
        As there.
    """
    return task.folder / (FINISH if finished else "lr_encoder") / "encoder.safetensors"


def load_lr_encoder(task: FoldTask, *, finished: bool = False) -> Encoder:
    """Load the fold's distilled LR encoder.

    Parameters
    ----------
    task
        The fold.
    finished
        Whether after the end-to-end finish.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    path = lr_encoder_weights(task, finished=finished)
    return load_into(copy.deepcopy(task.student_start), load_tensors(path), path)
