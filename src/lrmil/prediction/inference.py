"""Low-resolution inference: LR patches -> LR encoder -> LR MIL. No finer level of the slide is read."""

import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import torch

from lrmil.errors import ConfigError
from lrmil.features.encoding import Encoded, concatenate, encode_patches
from lrmil.features.slide_features import require_readable
from lrmil.models.bundle import Bundle
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.heads.head import predict_bag
from lrmil.patches.drawn_regions import Regions
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.region_files import read_regions
from lrmil.patches.tissue import Given, GivenMask, Within, tissue_of
from lrmil.prediction.clock import Clock
from lrmil.prediction.closer_look import require_teacher, settle_steps
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.unfinished import Unfinished
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
    regions: Regions | str | Path | None = None,
    escalate: bool = False,
) -> Prediction:
    """Classify one slide.

    Parameters
    ----------
    slide, bundle, device, mpp, batch_size, threads, uncertain_below, tissue, regions, escalate
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
        regions=regions,
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
    regions: Regions | str | Path | None = None,
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
    uncertain_below, escalate, live
        As in `PredictOptions`.
    tissue, regions
        Mask to use instead of `segment_tissue`, and regions outside of which no tissue counts, or their GeoJSON file
        (`lrmil.patches.region_files.read_regions`).

    Yields
    ------
    Step
        One per batch of patches; the last carries the Prediction.

    Raises
    ------
    SlideError, ResolutionError, TissueError
        If the slide cannot be read, has no resolution or too coarse a one, no tissue, or too many unreadable patches.
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
        yield from classify_steps(opened, bundle, options, tissue=_given(tissue, regions), start=start)


def classify_steps(
    slide: Slide,
    bundle: Bundle,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Given | None = None,
    start: float | None = None,
) -> Iterator[Step[Prediction]]:
    """Classify an open slide as `predict_steps` does.

    Parameters
    ----------
    slide, bundle
        As in `predict_steps`.
    tissue
        Mask to use instead of `segment_tissue`, or regions that limit the tissue.
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
        source = "given" if found.unread is None else "segmented"
        mil = on_device(bundle.mil, torch.device("cpu"))
        answer = Unfinished(slide, bundle, mil, patches, found, source, bytes_before)
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


def _given(tissue: Raster | GivenMask | None, regions: Regions | str | Path | None) -> Given | None:
    if regions is None:
        return tissue
    return Within(tissue, regions if isinstance(regions, Regions) else partial(read_regions, Path(regions)))


def _plan_of(bundle: Bundle) -> PatchPlan:
    """Return which patches of a slide a model reads."""
    return PatchPlan(bundle.mpp, bundle.patch_size, min_tissue=bundle.min_tissue, max_failed=bundle.max_failed)


def _encode(
    answer: "Unfinished", encoder: PatchEncoder, options: PredictOptions
) -> Generator[Step[Prediction], None, Encoded]:
    """Read and encode all patches, with a Step for each batch."""
    slide, patches = answer.slide, answer.patches
    parts = []
    for part in encode_patches(slide, patches.level0_yx, patches.grid, encoder, threads=options.threads):
        parts.append(part)
        read = sum(len(part.positions) + len(part.failed) for part in parts)
        yield Step((slide.slide_id,), read, len(patches), "patches", answer.partial(parts) if options.live else None)
    return concatenate(parts)
