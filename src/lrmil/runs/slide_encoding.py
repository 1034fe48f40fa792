"""Encode the slides of a run, here or in other processes, which load the very same encoder."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from lrmil.configs import TrainConfig
from lrmil.features.extraction import Extracted, extract_features
from lrmil.io.tensors import load_into, load_tensors
from lrmil.models.devices import pick_device
from lrmil.models.elsewhere import load_same
from lrmil.models.encoders.loading import Encoder, PatchEncoder, encoder_hash
from lrmil.patches.plan import PatchPlan
from lrmil.runs.start_encoders import load_encoders
from lrmil.slides.each import IN_PROCESS, Executor
from lrmil.slides.inputs import local_encoder
from lrmil.slides.source import SlideSource
from lrmil.steps import Job, Step


@dataclass(frozen=True, slots=True)
class Computing:
    """Where the slides of a run are opened and encoded.

    Attributes
    ----------
    device
        Where this process computes.
    executor
        Where slides are processed.
    elsewhere
        Device of other processes, as in `pick_device`; "auto" is the fastest of each.
    threads
        Threads that read a slide; None for those of the settings.
    """

    device: torch.device
    executor: Executor = IN_PROCESS
    elsewhere: str = "auto"
    threads: int | None = None


class Made(NamedTuple):
    """From what another process makes an encoder of a run, beside the settings."""

    student: bool = False
    """Whether it is, or was made from, the encoder that the student starts from."""
    weights: Path | None = None
    """Weights of a distilled encoder; None for those that it started from."""
    layers: tuple[int, ...] = ()
    """Blocks whose class tokens it returns."""


@dataclass(frozen=True, slots=True)
class RunEncoder:
    """Call it to get an encoder of a run, loaded once in each process.

    Attributes
    ----------
    config, made
        Settings of the run, and what else it is made from.
    sha256
        What its `encoder_hash` must be.
    device
        Where it will compute, as in `pick_device`.
    """

    config: TrainConfig
    made: Made
    sha256: str
    device: str

    def __call__(self) -> PatchEncoder:
        """Return the encoder.

        Raises
        ------
        RunError
            If it cannot be loaded here, or is another one.
        """
        return _loaded(self)


def encode_slides(
    sources: Sequence[SlideSource],
    encoder: Encoder,
    out: Path,
    plan: PatchPlan,
    config: TrainConfig,
    computing: Computing,
    *,
    made: Made,
    patches: Path,
    job: Job,
    resolution: Literal["lr", "hr"] = "lr",
) -> Iterator[Step[list[Extracted]]]:
    """Extract features with an encoder of a run, unless current ones are there.

    Parameters
    ----------
    sources, out, plan, patches, job, resolution
        As for `extract_features`.
    encoder, made
        The encoder, and from what another process makes the same.
    config
        Settings of the run, with the side of the patches.
    computing
        Where this happens.

    Yields
    ------
    Step
        As `extract_features`.

    Raises
    ------
    OverwriteError, OutputError, RunError, EncoderError, FormatError
        As `extract_features`.
    """
    sha256, executor = encoder_hash(encoder), computing.executor
    here = executor is IN_PROCESS
    load = None if here else RunEncoder(_absolute(config), _shared(made), sha256, computing.elsewhere)
    device = computing.device if here else torch.device("cpu")  # other processes have their own
    return extract_features(
        sources,
        PatchEncoder(encoder, device, batch_size=config.batch_size, layers=made.layers),
        sha256,
        out,
        plan,
        resolution=resolution,
        threads=config.threads if computing.threads is None else computing.threads,
        job=job,
        executor=executor,
        load=load,
        patches=patches.absolute(),
    )


def _absolute(config: TrainConfig) -> TrainConfig:
    """Return settings whose encoders are found in any working folder."""
    teacher, student = local_encoder(config.encoder), local_encoder(config.student_encoder)
    return replace(
        config,
        encoder=str(teacher.absolute()) if teacher else config.encoder,
        student_encoder=str(student.absolute()) if student else config.student_encoder,
    )


def _shared(made: Made) -> Made:
    return made._replace(weights=made.weights and made.weights.absolute())


@lru_cache(maxsize=1)
def _loaded(same: RunEncoder) -> PatchEncoder:
    config, made = same.config, same.made

    def load() -> PatchEncoder:
        starts = load_encoders(config)
        encoder = starts.student if made.student else starts.teacher
        if made.weights is not None:
            encoder = load_into(copy.deepcopy(encoder), load_tensors(made.weights), made.weights)
        return PatchEncoder(encoder, pick_device(same.device), batch_size=config.batch_size, layers=made.layers)

    return load_same("encoder", load, lambda loaded: encoder_hash(loaded.encoder), same.sha256)
