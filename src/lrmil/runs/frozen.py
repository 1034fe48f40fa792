"""The encoders that a run starts from, and the features that all its folds share: those of the frozen encoder."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Never

import torch

from lrmil.configs import TrainConfig
from lrmil.features.extraction import extract_features
from lrmil.geometry import resolution_ratio
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import Encoder, PatchEncoder, encoder_hash, load_encoder
from lrmil.models.encoders.terms import EncoderTerms, describe_terms, terms_warning
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import HR, LR, START
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

    def warnings(self, *, with_teacher: bool) -> list[str]:
        """Return what whoever trains must know of the terms of use.

        Parameters
        ----------
        with_teacher
            Whether the model is to keep the frozen encoder.
        """
        found = [self.warning] if self.warning else []
        if with_teacher and (terms := self.teacher.terms) and not terms.random:
            found.append(
                f"The model is going to hold the weights of its teacher, {describe_terms(terms, 'teacher')}. Whoever "
                "passes it on passes them on."
            )
        return found


def load_encoders(config: TrainConfig) -> StartEncoders:
    """Load the two encoders.

    The student gets a projector if its embedding itself is to match a teacher of another dimension.

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
    if not config.has_own_start:
        return StartEncoders(teacher, teacher)
    student = on_device(load(config.student_encoder), pick_device("cpu"))
    if student.dim != teacher.dim and not config.stage1.lambda_keep:
        student = load(config.student_encoder, teacher.dim)
    return StartEncoders(teacher, student)


def plan_of(config: TrainConfig) -> PatchPlan:
    """Return which patches of a slide a run reads."""
    return PatchPlan(
        mpp=config.mpp_lr,
        size=config.patch_size,
        children=resolution_ratio(config.mpp_lr, config.mpp_hr),
        min_tissue=config.min_tissue,
        min_tissue_hr=config.min_tissue_hr,
        max_failed=config.max_failed,
    )


class _Kind(NamedTuple):
    """Features that a run extracts before its folds."""

    folder: str
    encoder: Encoder
    resolution: Literal["lr", "hr"] = "lr"
    layers: tuple[int, ...] = ()
    name: str = ""


def frozen_features(
    out: Path,
    encoders: StartEncoders,
    sources: Sequence[SlideSource],
    plan: PatchPlan,
    config: TrainConfig,
    *,
    device: torch.device,
) -> Generator[Step[Never], None, dict[str, str]]:
    """Extract LR and HR features with the frozen encoder, and LR features with that of the student if it needs them.

    Parameters
    ----------
    out
        The run's folder.
    encoders
        The frozen encoders; they are not changed.
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
    failed: dict[str, str] = {}
    kinds = [_Kind(LR, encoders.teacher), _Kind(HR, encoders.teacher, "hr", config.stage1.layers)]
    if config.stage1.lambda_keep and config.has_own_start:
        kinds.append(_Kind(START, encoders.student, name="LR features of the start"))
    for kind in kinds:
        steps = extract_features(
            [source for source in sources if source.slide_id not in failed],
            PatchEncoder(kind.encoder, device, batch_size=config.batch_size, layers=kind.layers),
            encoder_hash(kind.encoder),
            out / kind.folder,
            plan,
            resolution=kind.resolution,
            threads=config.threads,
            job=(kind.name or f"{kind.resolution.upper()} features",),
        )
        outcomes = yield from relay(steps)
        failed |= {outcome.slide_id: outcome.message for outcome in outcomes if outcome.path is None}
    return failed
