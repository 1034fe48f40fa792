"""Stage 1 alone, without labels: slides become a reusable LR encoder (method.md sections 5 and 10)."""

import copy
import dataclasses
import random
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Never

import torch

from lrmil.configs import TrainConfig
from lrmil.errors import CohortError, ConfigError, EncoderError
from lrmil.features.store import read_card
from lrmil.io import atomic, hashing
from lrmil.io.ownership import require_free
from lrmil.io.tensors import load_into, load_tensors
from lrmil.models.devices import pick_device
from lrmil.models.encoders.distilled import (
    CARD,
    CONFIG,
    WEIGHTS,
    is_encoder_card,
    is_encoder_config,
    is_encoder_weights,
    make_card,
    read_encoder_card,
    save_encoder,
)
from lrmil.models.encoders.loading import default_size, encoder_hash
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import HR, LR, start_of
from lrmil.runs.artefacts import is_committed, key_of
from lrmil.runs.control import run_lock
from lrmil.runs.encoder_training import save_student
from lrmil.runs.frozen import frozen_features, plan_of
from lrmil.runs.slide_encoding import Computing
from lrmil.runs.stage1_figures import read_fidelity
from lrmil.runs.stages import Artefact, fit_run, train_artefact
from lrmil.runs.start_encoders import StartEncoders, load_encoders
from lrmil.slides.inputs import Inputs, local_encoder
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay
from lrmil.training.fidelity_figures import Fidelity
from lrmil.training.loop import Fit, FitRun
from lrmil.training.pairs import PairedSlide
from lrmil.training.patch_stage import train_student
from lrmil.training.processes import from_first, joined, rank
from lrmil.training.start_map import start_map_input

WORK = "work"  # folder of features, checkpoint and lock within that of the encoder; it may be deleted afterwards
LR_ENCODER = "lr_encoder"


@dataclass(frozen=True, slots=True)
class Distilled:
    """A distilled LR encoder.

    Attributes
    ----------
    folder
        Its folder; ``local-dir:FOLDER`` for timm and for `TrainConfig.student_encoder`.
    fidelity
        How well it matches the teacher on the slides that it did not learn from.
    failed
        Slide id -> why it was left out.
    """

    folder: Path
    fidelity: Fidelity
    failed: dict[str, str]


def distil_steps(
    slides: Sequence[SlideSource],
    out: str | Path,
    config: TrainConfig | None = None,
    *,
    device: str = "auto",
    inputs: Sequence[Path] = (),
) -> Iterator[Step[Distilled]]:
    """Distil an HR encoder into an LR encoder on slides without labels. The same call resumes an interrupted one.

    Started by torchrun, its processes train together (`lrmil.training.processes`); the first does all else.

    Parameters
    ----------
    slides
        Two or more; a part of them (`TrainConfig.val_fraction`) selects the step to stop at and measures the fidelity.
    out
        Folder of the encoder: config.json and model.safetensors as timm reads them, and lrmil.json.
    config
        Settings; those of stage 1, the encoders, resolutions and patches are used. None for the defaults.
    device
        "auto" or a name of `available_devices`.
    inputs
        Other files and folders that are read. No output may replace one or lie in one.

    Yields
    ------
    Step
        Of every stage in turn; the last carries the `Distilled`, except in processes that only train along.

    Raises
    ------
    ConfigError
        If the settings need a teacher MIL or a projector, which there is none of here.
    CohortError
        If fewer than two slides can be read.
    EncoderError
        If an encoder cannot be loaded.
    OverwriteError, OutputError
        If `out` lies in an input, cannot be written, or contains files of those names that lrmil did not write.
    RunError
        If the same folder is written by another process.
    """
    out, config = Path(out), _complete(config or TrainConfig())
    local = [local_encoder(name) for name in (config.encoder, config.student_encoder)]
    Inputs(slides, (*inputs, *local)).require_clear([out])
    owners = {WEIGHTS: is_encoder_weights, CONFIG: is_encoder_config, CARD: is_encoder_card}
    for name, ours in owners.items():
        require_free(out / name, ours)
    with joined(device) as own:
        work = _Work(out, tuple(slides), config, pick_device(own))
        if rank():
            yield from _train_along(work)
            return
        atomic.make_folder(out / WORK)
        with run_lock(out / WORK):
            atomic.remove_leftovers(out / WORK)
            yield from _distil(work)


def _complete(config: TrainConfig) -> TrainConfig:
    """Return the settings with a size of patches, if they fit a distillation without labels."""
    if config.stage1.weighting != "uniform":
        raise ConfigError(
            'Expected stage1.weighting = "uniform" without labels, which a teacher\'s attention needs. Got '
            f'"{config.stage1.weighting}".'
        )
    if config.patch_size:
        return config
    return dataclasses.replace(config, patch_size=default_size(config.encoder, pretrained=config.pretrained))


@dataclass(frozen=True, slots=True)
class _Work:
    """The inputs and the folder of a distillation; a `lrmil.runs.stages.Place`."""

    out: Path
    slides: tuple[SlideSource, ...]
    config: TrainConfig
    device: torch.device

    @property
    def folder(self) -> Path:
        """Where its features and artefacts are."""
        return self.out / WORK

    @property
    def job(self) -> str:
        """What Steps call it."""
        return "distil"

    def features(self, slide_id: str) -> tuple[Path, Path, Path | None]:
        """Return the paths of the LR and HR features of a slide, and of the LR features of the start."""
        config = self.config
        start = start_of(self.folder, slide_id, own=config.has_own_start) if config.stage1.lambda_keep else None
        return self.folder / LR / f"{slide_id}.zarr", self.folder / HR / f"{slide_id}.zarr", start


def _distil(work: _Work) -> Generator[Step[Distilled], None, None]:
    config, plan = work.config, plan_of(work.config)
    encoders = load_encoders(config)
    if encoders.student.spec.projected_dim:
        raise ConfigError(
            "Expected stage1.lambda_keep above 0 for a student of another dimension than its teacher's: timm's folders "
            "have no place for a projector. Got 0."
        )
    if encoders.warning:
        yield Step((work.job,), 0, message=encoders.warning)
    failed = yield from frozen_features(work.folder, encoders, work.slides, plan, config, Computing(work.device))
    read = sorted(source.slide_id for source in work.slides if source.slide_id not in failed)
    if len(read) < 2:
        reasons = "; ".join(f"{slide_id}: {message}" for slide_id, message in list(failed.items())[:5])
        raise CohortError(f"Expected two or more slides that can be read. Got {len(read)}. {reasons}".strip())
    artefact, seed, fit = _artefact(work, plan, encoders, read)
    from_first([] if is_committed(work.folder / artefact.name, artefact.inputs) else read)
    yield from train_artefact(work, artefact, seed, fit, save_student)
    _save(work, encoders, read)
    yield Step((work.job,), 1, 1, result=Distilled(work.out, read_fidelity(work.folder), failed))


def _train_along(work: _Work) -> Generator[Step[Never], None, None]:
    """Take part in the training of the first process, once it has the features."""
    encoders = load_encoders(work.config)
    read: list[str] = from_first([])
    if read:
        artefact, seed, fit = _artefact(work, plan_of(work.config), encoders, read)
        yield from relay(fit(fit_run(work, artefact, seed)))


def _artefact(
    work: _Work, plan: PatchPlan, encoders: StartEncoders, read: Sequence[str]
) -> tuple[Artefact, int, Callable[[FitRun], Iterator[Step[Fit]]]]:
    config = work.config
    sources: Mapping[str, SlideSource] = {source.slide_id: source for source in work.slides}
    seed = int(hashing.sha256_of([config.seed, "distil"])[:8], 16)
    drawn = random.Random(seed).sample(read, len(read))
    count = min(max(1, round(config.val_fraction * len(read))), len(read) - 1)
    parts = {"train": sorted(drawn[count:]), "val": sorted(drawn[:count])}

    def pair(slide_id: str) -> PairedSlide:
        lr, hr, start = work.features(slide_id)
        return PairedSlide(sources[slide_id], lr, hr, plan.children, None, start)

    def fit(run: FitRun) -> Iterator[Step[Fit]]:
        train, val = ([pair(slide_id) for slide_id in parts[part]] for part in ("train", "val"))
        job = (work.job, "stage 1")
        return train_student(job, encoders.student, train, val, run, config=config.stage1, threads=config.threads)

    def keys(slide_id: str) -> list[str]:
        return [read_card(path).key for path in work.features(slide_id) if path is not None]

    inputs = {
        "what": LR_ENCODER,
        "stage1": asdict(config.stage1),
        "seed": seed,
        "start": encoder_hash(encoders.student),
        **start_map_input(config.stage1),
        **{part: {slide_id: keys(slide_id) for slide_id in slide_ids} for part, slide_ids in parts.items()},
    }
    return Artefact(LR_ENCODER, "stage 1", inputs), seed, fit


def _save(work: _Work, encoders: StartEncoders, read: Sequence[str]) -> None:
    """Write the encoder with its card, unless that of the same artefact is there."""
    config, key = work.config, key_of(work.folder / LR_ENCODER)
    path = work.folder / LR_ENCODER / "encoder.safetensors"
    try:
        before = read_encoder_card(work.out)
    except EncoderError:  # damaged: it is written again
        before = None
    if before is not None and before.key == key:
        return
    encoder = load_into(copy.deepcopy(encoders.student), load_tensors(path), path)
    card = make_card(
        encoder,
        [read_card(work.features(slide_id)[0]).slide_fingerprint for slide_id in read],
        mpp_hr=config.mpp_hr,
        mpp_lr=config.mpp_lr,
        terms=encoders.terms,
        stage1=asdict(config.stage1),
        fidelity=asdict(read_fidelity(work.folder)),
        key=key,
    )
    save_encoder(work.out, encoder, card)
