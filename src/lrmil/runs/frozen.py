"""The encoders that a run starts from, and the features that all its folds share: those of the frozen encoder."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Never

import torch

from lrmil.configs import TrainConfig
from lrmil.features.extraction import extract_features
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import Encoder, PatchEncoder, encoder_hash, load_encoder
from lrmil.models.encoders.terms import EncoderTerms, terms_warning
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import HR, LR
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay


class StartEncoders(NamedTuple):
    """The frozen encoder, and the one that the student starts from; they may be the same."""

    teacher: Encoder
    student: Encoder

    @property
    def terms(self) -> dict[str, EncoderTerms]:
        """Known terms of use of the weights, of the "teacher" and of the student's "start"."""
        encoders = {"teacher": self.teacher, "start": self.student}
        return {role: encoder.terms for role, encoder in encoders.items() if encoder.terms}

    @property
    def warning(self) -> str:
        """A warning if the terms of use may forbid this training, or ""."""
        terms = self.terms
        return terms_warning(**terms) if len(terms) == 2 else ""


def load_encoders(config: TrainConfig) -> StartEncoders:
    """Load the two encoders; the student gets a projector if its dimension differs from the teacher's.

    Raises
    ------
    EncoderError, ConfigError
        As `load_encoder`.
    """

    def load(name: str, projected_dim: int = 0) -> Encoder:
        return load_encoder(
            name,
            size=config.patch_size,
            embedding=config.embedding,
            pretrained=config.pretrained,
            seed=config.seed,
            projected_dim=projected_dim,
            layers=config.stage1.layers,
        )

    teacher = on_device(load(config.encoder), pick_device("cpu"))  # in the memory layout that `PatchEncoder` needs
    if not config.student_encoder or config.student_encoder == config.encoder:
        return StartEncoders(teacher, teacher)
    student = load(config.student_encoder)
    same = student.dim == teacher.dim
    return StartEncoders(teacher, student if same else load(config.student_encoder, teacher.dim))


def frozen_features(
    out: Path,
    encoder: Encoder,
    sources: Sequence[SlideSource],
    plan: PatchPlan,
    config: TrainConfig,
    *,
    device: torch.device,
) -> Generator[Step[Never], None, dict[str, str]]:
    """Extract LR and HR features with the frozen encoder.

    Parameters
    ----------
    out
        The run's folder.
    encoder
        The frozen encoder; it is not changed.
    sources
        The slides. A slide that fails at LR is skipped at HR.
    plan
        Which patches of a slide are read.
    config
        Settings: layers that stage 1 distils, batch size and threads.
    device
        Where the encoder computes.

    Yields
    ------
    Step
        As `extract_features`.

    Returns
    -------
    dict
        Slide id -> why it failed.
    """
    sha = encoder_hash(encoder)
    failed: dict[str, str] = {}
    layers_of: dict[Literal["lr", "hr"], tuple[int, ...]] = {"lr": (), "hr": config.stage1.layers}
    for resolution, layers in layers_of.items():
        steps = extract_features(
            [source for source in sources if source.slide_id not in failed],
            PatchEncoder(encoder, device, batch_size=config.batch_size, layers=layers),
            sha,
            out / (HR if resolution == "hr" else LR),
            plan,
            resolution=resolution,
            threads=config.threads,
            job=(f"{resolution.upper()} features",),
        )
        outcomes = yield from relay(steps)
        failed |= {outcome.slide_id: outcome.message for outcome in outcomes if outcome.path is None}
    return failed
