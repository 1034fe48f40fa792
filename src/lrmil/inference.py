"""Low-resolution inference: LR patches -> LR encoder -> LR MIL; no finer level of the slide is ever read."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lrmil.bundle import Bundle
from lrmil.devices import pick_device
from lrmil.encoders import PatchEncoder
from lrmil.errors import ConfigError
from lrmil.explanation import attention_raster
from lrmil.extraction import check_failures, encode_patches, join
from lrmil.mil import predict_bag
from lrmil.patches import Patches, make_patches
from lrmil.raster import Raster
from lrmil.slide import Slide, open_slide
from lrmil.steps import Step, last
from lrmil.tissue import segment_tissue


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer for one slide. Model output, not a diagnosis.

    Attributes
    ----------
    slide_id, label, probabilities
        The slide, its most probable class and the probability of every class.
    status
        "ok", or "uncertain" when the most probable class is below the asked probability.
    attention
        Raster over the LR lattice: attention (sums to 1 over the slide), NaN where no patch was seen.
    patches
        The LR patches that were seen, in the order of `patch_attention`.
    patch_attention
        (n,) attention of each.
    mpp, mpp_source
        Resolution of the slide's level 0 and where it was found.
    timings
        Stage -> seconds: open, tissue, patches (reading and encoding), mil, total.
    failed_patches
        Patches that could not be read; they were left out.
    bytes_read
        Compressed bytes read from the file; None where the reader cannot tell.
    slide_fingerprint, bundle_sha256
        Hashes of the slide and the model.
    """

    slide_id: str
    label: str
    probabilities: dict[str, float]
    status: str
    attention: Raster
    patches: Patches
    patch_attention: NDArray[np.float64]
    mpp: float
    mpp_source: str
    timings: dict[str, float]
    failed_patches: int
    bytes_read: int | None
    slide_fingerprint: str
    bundle_sha256: str


def predict(
    slide: str | Path | Slide,
    bundle: Bundle,
    device: str = "auto",
    mpp: float | None = None,
    *,
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Raster | None = None,
) -> Prediction:
    """Classify one slide; see `predict_steps`."""
    steps = predict_steps(
        slide,
        bundle,
        device,
        mpp,
        batch_size=batch_size,
        threads=threads,
        uncertain_below=uncertain_below,
        tissue=tissue,
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
    tissue: Raster | None = None,
) -> Iterator[Step[Prediction]]:
    """Classify one slide and report as patches are done.

    Parameters
    ----------
    slide
        A path, or an open `Slide` (which stays open).
    bundle
        From `load_bundle`.
    device
        "auto" or a name of `available_devices`.
    mpp
        Resolution of level 0 in um/px when the metadata are not to be used.
    batch_size, threads
        Patches per encoding batch and decoding threads; they do not change the result.
    uncertain_below
        Status "uncertain" when the highest probability is below this.
    tissue
        Mask to use in place of `segment_tissue`.

    Raises
    ------
    SlideError, ResolutionError
        If the slide cannot be read, has no or too coarse a resolution, no tissue, or too many unreadable patches.
    """
    start = time.perf_counter()
    if isinstance(slide, Slide) and mpp is not None:
        raise ConfigError("Expected mpp with a path. Got it with an open slide; give it to open_slide instead.")
    with ExitStack() as stack:
        opened = slide if isinstance(slide, Slide) else stack.enter_context(open_slide(slide, mpp=mpp))
        bytes_before = opened.bytes_read
        fingerprint = opened.fingerprint
        clock = _Clock(start)
        clock.mark("open")
        mask = segment_tissue(opened) if tissue is None else tissue
        patches = make_patches(
            opened, mask, mpp=bundle.mpp, size=bundle.patch_size, children=1, min_tissue=bundle.min_tissue
        )
        check_failures(0, len(patches), bundle.max_failed)
        clock.mark("tissue")
        encoder = PatchEncoder(bundle.encoder, pick_device(device), batch_size=batch_size)
        parts = []
        for part in encode_patches(opened, patches.level0_yx, patches.grid, encoder, threads=threads):
            parts.append(part)
            read = sum(len(part.positions) + len(part.failed) for part in parts)
            yield Step(opened.slide_id, read, len(patches), "patches")
        encoded = join(parts)
        check_failures(len(encoded.failed), len(patches), bundle.max_failed)
        clock.mark("patches")
        output = predict_bag(bundle.mil.cpu(), torch.from_numpy(encoded.embeddings))
        clock.mark("mil")
        seen = Patches(patches.grid, 1, patches.index[encoded.positions], patches.children_covered[encoded.positions])
        attention = np.exp(output.attention_logits.astype(float) - output.attention_logits.max())
        attention /= attention.sum()
        best = int(output.probabilities.argmax())
        yield Step(
            opened.slide_id,
            len(patches),
            len(patches),
            "patches",
            result=Prediction(
                slide_id=opened.slide_id,
                label=bundle.classes[best],
                probabilities=dict(zip(bundle.classes, output.probabilities.tolist(), strict=True)),
                status="ok" if output.probabilities[best] >= uncertain_below else "uncertain",
                attention=attention_raster(
                    attention, seen.index, step_level0=seen.size_level0, origin_yx=seen.grid.origin_yx
                ),
                patches=seen,
                patch_attention=attention,
                mpp=opened.mpp,
                mpp_source=str(opened.mpp_source),
                timings={**clock.stages, "total": time.perf_counter() - start},
                failed_patches=len(encoded.failed),
                bytes_read=None if opened.bytes_read is None else opened.bytes_read - (bytes_before or 0),
                slide_fingerprint=fingerprint,
                bundle_sha256=bundle.sha256,
            ),
        )


class _Clock:
    """Seconds between marks."""

    def __init__(self, start: float) -> None:
        self.stages: dict[str, float] = {}
        self._last = start

    def mark(self, stage: str) -> None:
        now = time.perf_counter()
        self.stages[stage] = now - self._last
        self._last = now
