"""The patches that a run reads, and the features that all its folds share: those of the frozen encoders."""

from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple, Never

from lrmil.configs import TrainConfig
from lrmil.geometry import resolution_ratio
from lrmil.io import atomic
from lrmil.models.encoders.loading import Encoder
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import HR, LR, PATCHES, START
from lrmil.runs.slide_encoding import Computing, Made, encode_slides
from lrmil.runs.start_encoders import StartEncoders
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay


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
    made: Made = Made()
    name: str = ""


def frozen_features(
    out: Path,
    encoders: StartEncoders,
    sources: Sequence[SlideSource],
    plan: PatchPlan,
    config: TrainConfig,
    computing: Computing,
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
    computing
        Where the slides are encoded.

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
    atomic.remove_leftovers(out / PATCHES)
    hr = Made(layers=config.stage1.layers)
    kinds = [_Kind(LR, encoders.teacher), _Kind(HR, encoders.teacher, "hr", hr)]
    if config.stage1.lambda_keep and config.has_own_start:
        kinds.append(_Kind(START, encoders.student, made=Made(student=True), name="LR features of the start"))
    for kind in kinds:
        steps = encode_slides(
            [source for source in sources if source.slide_id not in failed],
            kind.encoder,
            out / kind.folder,
            plan,
            config,
            computing,
            made=kind.made,
            patches=out / PATCHES,
            job=(kind.name or f"{kind.resolution.upper()} features",),
            resolution=kind.resolution,
        )
        outcomes = yield from relay(steps)
        failed |= {outcome.slide_id: outcome.message for outcome in outcomes if outcome.path is None}
    return failed
