"""Low-resolution inference: LR patches -> LR encoder -> LR MIL. No finer level of the slide is read."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrmil.errors import ConfigError
from lrmil.features.appearance import appearance
from lrmil.features.encoding import Encoded, concatenate, encode_patches
from lrmil.features.slide_features import require_readable, unreadable_note
from lrmil.models.bundle import Bundle
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.familiarity import unfamiliar
from lrmil.models.heads.head import BagOutput, MILHead, predict_bag
from lrmil.patches.layout import Patches
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import GivenMask, Tissue, tissue_of
from lrmil.prediction.attention import attention_raster
from lrmil.prediction.clock import Clock
from lrmil.prediction.closer_look import require_teacher, settle_steps
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.slides.identity import unchanged
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.steps import Step, last


def predict(
    slide: str | Path | Slide,
    bundle: Bundle,
    device: str = "auto",
    mpp: float | None = None,
    *,
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Raster | GivenMask | None = None,
    escalate: bool = False,
) -> Prediction:
    """Classify one slide.

    Parameters
    ----------
    slide, bundle, device, mpp, batch_size, threads, uncertain_below, tissue, escalate
        As in `predict_steps`.

    Returns
    -------
    Prediction
        The answer, with the attention of each patch.

    Raises
    ------
    SlideError, ResolutionError, TissueError
        As `predict_steps`.
    """
    steps = predict_steps(
        slide,
        bundle,
        device,
        mpp,
        batch_size=batch_size,
        threads=threads,
        uncertain_below=uncertain_below,
        tissue=tissue,
        escalate=escalate,
    )
    return last(steps)


def predict_steps(
    slide: str | Path | Slide,
    bundle: Bundle,
    device: str = "auto",
    mpp: float | None = None,
    *,
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Raster | GivenMask | None = None,
    escalate: bool = False,
    live: bool = False,
) -> Iterator[Step[Prediction]]:
    """Classify one slide and report the progress.

    Parameters
    ----------
    slide
        A path, or an open `Slide` (which stays open).
    bundle
        From `load_bundle`. It is not changed, so several threads may use it at once, also on several devices.
    device
        "auto" or a name of `available_devices`.
    mpp
        Resolution of level 0 in um/px, instead of that in the metadata.
    batch_size, threads
        Patches per encoding batch and decoding threads; they do not change the result.
    uncertain_below
        Status "uncertain" when the highest probability is below this, besides the reasons of the model itself.
    tissue
        Mask to use instead of `segment_tissue`.
    escalate
        Whether the teacher looks closer at the slide if it is uncertain (`lrmil.prediction.closer_look`).
    live
        Whether each Step carries the Prediction so far, with status "partial", for a viewer that shows it.

    Yields
    ------
    Step
        One per batch of patches; the last carries the Prediction.

    Raises
    ------
    SlideError, ResolutionError, TissueError
        If the slide cannot be read, its resolution is unknown or too coarse, it has no tissue, or too many patches are
        unreadable.
    ConfigError
        If `mpp` is given with an open slide, or `escalate` with a model that was loaded without its teacher.
    """
    start = time.perf_counter()
    if isinstance(slide, Slide) and mpp is not None:
        raise ConfigError("Pass mpp to open_slide: an open slide already has its resolution.")
    options = PredictOptions(
        device=device,
        batch_size=batch_size,
        threads=threads,
        uncertain_below=uncertain_below,
        escalate=escalate,
        live=live,
    )
    with ExitStack() as stack:
        opened = slide if isinstance(slide, Slide) else stack.enter_context(open_slide(slide, mpp=mpp))
        yield from classify_steps(opened, bundle, options, tissue=tissue, start=start)


def classify_steps(
    slide: Slide,
    bundle: Bundle,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Raster | GivenMask | None = None,
    start: float | None = None,
) -> Iterator[Step[Prediction]]:
    """Classify an open slide as `predict_steps` does.

    Parameters
    ----------
    slide, bundle, tissue
        As in `predict_steps`.
    options
        How the slide is classified.
    start
        Time when opening the slide began, in seconds of `time.perf_counter`; None for now.

    Yields
    ------
    Step
        As `predict_steps`.

    Raises
    ------
    SlideError, ResolutionError, TissueError
        As `predict_steps`.
    """
    start = time.perf_counter() if start is None else start
    if options.escalate:
        require_teacher(bundle)
    with ExitStack() as reading:
        reading.enter_context(unchanged(slide))
        bytes_before = slide.bytes_read
        clock = Clock(start)
        clock.mark("open")
        found = tissue_of(slide, tissue)
        patches = patches_of(slide, _plan_of(bundle), found)
        require_readable(patches.undecided, len(patches) + patches.undecided, bundle.max_failed, found.notes)
        clock.mark("tissue")
        encoder = PatchEncoder(bundle.encoder, pick_device(options.device), batch_size=options.batch_size)
        source = "segmented" if tissue is None else "given"
        mil = on_device(bundle.mil, torch.device("cpu"))
        answer = _Answer(slide, bundle, mil, patches, found, source, bytes_before)
        if options.live:
            yield Step((slide.slide_id,), 0, len(patches), "patches", answer.partial([]))
        encoded = yield from _encode(answer, encoder, options)
        failed = len(encoded.failed) + patches.undecided
        require_readable(failed, len(patches) + patches.undecided, bundle.max_failed)
        reading.close()  # raises if the slide changed meanwhile
        clock.mark("patches")
        output = predict_bag(answer.mil, torch.from_numpy(encoded.embeddings))
        clock.mark("mil")
        timings = {**clock.stages, "total": time.perf_counter() - start}
        result = answer.complete(encoded, output, uncertain_below=options.uncertain_below, timings=timings)
    yield from settle_steps(slide, bundle, result, options, tissue=tissue)


def _plan_of(bundle: Bundle) -> PatchPlan:
    """Return which patches of a slide a model reads."""
    return PatchPlan(bundle.mpp, bundle.patch_size, min_tissue=bundle.min_tissue, max_failed=bundle.max_failed)


def _encode(
    answer: "_Answer", encoder: PatchEncoder, options: PredictOptions
) -> Generator[Step[Prediction], None, Encoded]:
    """Read and encode all patches, with a Step for each batch."""
    slide, patches = answer.slide, answer.patches
    parts = []
    for part in encode_patches(slide, patches.level0_yx, patches.grid, encoder, threads=options.threads):
        parts.append(part)
        read = sum(len(part.positions) + len(part.failed) for part in parts)
        yield Step((slide.slide_id,), read, len(patches), "patches", answer.partial(parts) if options.live else None)
    return concatenate(parts)


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known of a slide before its patches are read, from which its Prediction is made."""

    slide: Slide
    bundle: Bundle
    mil: MILHead
    patches: Patches
    tissue: Tissue
    tissue_source: str
    bytes_before: int | None

    def partial(self, parts: Sequence[Encoded]) -> Prediction:
        seen = [part for part in parts if len(part.positions)]
        failed = sum(len(part.failed) for part in parts)
        if not seen:
            return self._prediction(np.zeros(0, np.int64), np.zeros(0), failed, status="partial")
        encoded = concatenate(parts)
        output = predict_bag(self.mil, torch.from_numpy(encoded.embeddings))
        return self._prediction(encoded.positions, output.attention, failed, status="partial")

    def complete(
        self, encoded: Encoded, output: BagOutput, *, uncertain_below: float, timings: dict[str, float]
    ) -> Prediction:
        task = self.bundle.task
        said = task.answer(self.bundle.values(output.logits), self.bundle.decision, uncertain_below=uncertain_below)
        look = appearance(encoded.colours, encoded.embeddings)
        failed = len(encoded.failed) + self.patches.undecided
        total = len(self.patches) + self.patches.undecided
        answer = said.with_doubts(unfamiliar(self.bundle.familiarity, look, patches=total, failed=failed))
        found = self._prediction(encoded.positions, output.attention, len(encoded.failed), status=answer.status)
        return replace(
            found,
            label=answer.label,
            probabilities=answer.values,
            timings=timings,
            threshold=self.bundle.decision.threshold,
            reasons=answer.reasons,
            plausible=answer.plausible,
            appearance=look,
        )

    def _prediction(
        self,
        positions: NDArray[np.int64],
        attention: NDArray[np.float64],
        failed: int,
        *,
        status: str,
    ) -> Prediction:
        slide, patches = self.slide, self.patches
        failed += patches.undecided
        of_all = np.full(len(patches), np.nan)
        of_all[positions] = attention
        cell_mm = [side * slide.mpp / 1000 for side in self.tissue.mask.cell_yx]
        return Prediction(
            slide_id=slide.slide_id,
            label="",
            probabilities={},
            status=status,
            attention=attention_raster(
                of_all, patches.index, step_level0=patches.size_level0, origin_yx=patches.grid.origin_yx
            ),
            patches=Patches(patches.grid, 1, patches.index[positions], patches.children_covered[positions]),
            patch_attention=attention,
            mpp=slide.mpp,
            mpp_source=str(slide.mpp_source),
            tissue_mm2=float(np.count_nonzero(self.tissue.mask.array) * cell_mm[0] * cell_mm[1]),
            tissue_source=self.tissue_source,
            timings={},
            failed_patches=failed,
            bytes_read=None if slide.bytes_read is None else slide.bytes_read - (self.bytes_before or 0),
            slide_fingerprint=slide.fingerprint,
            bundle_sha256=self.bundle.sha256,
            notes=(
                *slide.notes,
                *self.tissue.notes,
                *unreadable_note(failed, len(patches) + patches.undecided),
                *self.bundle.notes_on(slide.fingerprint, slide.scanner),
            ),
            checksum=slide.checksum,
            task=self.bundle.task,
        )
