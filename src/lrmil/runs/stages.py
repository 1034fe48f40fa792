"""How a trained artefact is made: only if an input changed, and resumed where it was interrupted."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Never, Protocol

import torch
from torch import nn

from lrmil.io import atomic, hashing
from lrmil.io.ownership import is_checkpoint
from lrmil.runs.artefacts import changed_inputs, committing, is_committed
from lrmil.steps import Job, Step, relay
from lrmil.training.loop import Fit, FitRun

INPUTS = {
    "task": "what is predicted",
    "mil": "settings of the MIL",
    "stage1": "settings of stage 1",
    "stage2": "settings of stage 2",
    "finish": "settings of the end-to-end finish",
    "seed": "seed",
    "start": "encoder that the student starts from",
    "train": "training slides, their labels or features",
    "val": "validation slides, their labels or features",
    "slides": "slides or their features",
    "teacher": "teacher",
    "evidence": "teacher's outputs",
    "schedule": "whether validation selects the epoch",
    "inner_folds": "inner folds",
    "lr_encoder": "LR encoder of stage 1",
    "lr_student": "LR student of stage 2",
    "models": "trained models",
    "candidates": "heads to choose from",
    "linear_head": "linear head",
    "within_regions": "attention within regions",
    "start_map": "map with which stage 1 begins",
    "held_out": "folds for the calibration",
    "students": "students of the calibration",
    "teachers": "teachers of the inner folds",
    "pairs": "folds for the calibration, or inner folds",
    "regions": "number of regions to look into",
}


class Place(Protocol):
    """Where artefacts are made, such as a fold."""

    @property
    def folder(self) -> Path:
        """The folder that contains them."""
        ...

    @property
    def job(self) -> str:
        """What Steps call the place."""
        ...

    @property
    def device(self) -> torch.device:
        """Where they are trained."""
        ...


class Artefact(NamedTuple):
    """The output of a stage."""

    name: str
    """Name of its folder within that of the place."""
    job: str
    """Name of the stage in Steps."""
    inputs: Mapping[str, object]
    """Everything that it is made from, JSON-ready. Its key is their hash."""


def is_stale(place: Place, artefact: Artefact) -> Generator[Step[Never], None, bool]:
    """Return whether an artefact is absent or was made from other inputs.

    Parameters
    ----------
    place, artefact
        The fold or other place, and its artefact.

    Yields
    ------
    Step
        With a message that names the changed inputs, if there is an artefact.
    """
    folder = place.folder / artefact.name
    if is_committed(folder, artefact.inputs):
        return False
    if changed := [INPUTS[name] for name in changed_inputs(folder, artefact.inputs) if name in INPUTS]:
        message = f"recomputing, because these changed: {'; '.join(changed)}"
        yield Step((place.job, artefact.job), 0, message=message)
    return True


def train_artefact(
    place: Place,
    artefact: Artefact,
    seed: int,
    fit: Callable[[FitRun], Iterator[Step[Fit]]],
    save: Callable[[Path, nn.Module], None],
) -> Iterator[Step[Never]]:
    """Train an artefact if it is stale, and resume an interrupted training from its checkpoint.

    Parameters
    ----------
    place, artefact
        The fold or other place, and what is trained in it.
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
    if not (yield from is_stale(place, artefact)):
        return
    run = fit_run(place, artefact, seed)
    fitted = yield from relay(fit(run))
    with committing(place.folder / artefact.name, artefact.inputs) as temporary:
        save(temporary, fitted.module)
        for name, document in {"history.json": fitted.history, **fitted.documents}.items():
            atomic.write_json(temporary / name, document)
    atomic.remove_ours(run.checkpoint, is_checkpoint)


def fit_run(place: Place, artefact: Artefact, seed: int) -> FitRun:
    """Return how an artefact is trained; parameters as for `train_artefact`."""
    checkpoint = place.folder / f"{artefact.name}.checkpoint.safetensors"
    return FitRun(seed, checkpoint, hashing.sha256_of(artefact.inputs), place.device)


def as_one_stage(job: Job, trainings: Sequence[tuple[Iterator[Step[Never]], int]]) -> Iterator[Step[Never]]:
    """Run trainings one after the other as one stage with one count.

    Parameters
    ----------
    job
        Name of the stage.
    trainings
        Each training, with its number of optimisation steps.

    Yields
    ------
    Step
        Optimisation steps done, of those of all trainings. What several trainings say is said once.
    """
    done, total, said = 0, sum(steps for _, steps in trainings), {""}
    for training, steps in trainings:
        with closing(training):  # type: ignore[type-var]
            for step in training:
                message = "" if step.message in said else step.message
                said.add(message)
                yield Step(job, done + step.done, total, "steps", message=message)
        done += steps
