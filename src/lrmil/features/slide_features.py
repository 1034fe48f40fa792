"""Extract the features of one slide into a folder, unless current ones are there."""

import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError, TissueError
from lrmil.features.appearance import appearance
from lrmil.features.chosen_patches import choose_patches
from lrmil.features.encoding import concatenate, encode_patches
from lrmil.features.store import FORMAT, Features, FeaturesCard, is_current, write_features
from lrmil.io import hashing
from lrmil.io.ownership import is_features, require_free
from lrmil.models.encoders.contract import EncoderContract
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.finite import require_finite
from lrmil.patches.kept import Found, keep_patches
from lrmil.patches.plan import PatchPlan
from lrmil.patches.tissue import GivenMask, Tissue, tissue_of
from lrmil.raster import Raster
from lrmil.slides.failures import MORE_TISSUE
from lrmil.slides.identity import unchanged
from lrmil.slides.inputs import Inputs
from lrmil.slides.opening import open_source
from lrmil.slides.parts import changed_at
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.slides.workers import require_shared
from lrmil.steps import Job, Step

# Increase this when the same slide and settings give other patches or pixels (tissue, missing bytes, sampling), so that
# earlier features are recomputed.
EXTRACTION_VERSION = 3


@dataclass(frozen=True, slots=True)
class Extraction:
    """How the features of each slide are extracted.

    Attributes
    ----------
    load
        Returns the encoder; another process loads its own.
    contract
        How it computes embeddings.
    encoder_hash, out, plan, resolution, threads, job, tissue
        As for `lrmil.features.extraction.extract_features`.
    inputs
        All that is read.
    patches
        Folder in which the patches of slides without a mask are kept for other resolutions and encoders; None for none.
    """

    load: Callable[[], PatchEncoder]
    encoder_hash: str
    contract: EncoderContract
    out: Path
    plan: PatchPlan
    resolution: Literal["lr", "hr"]
    threads: int
    job: Job
    inputs: Inputs
    tissue: Mapping[str, Raster | GivenMask]
    patches: Path | None = None

    def patches_path(self, source: SlideSource) -> Path | None:
        """Return the file of a slide's patches; None if they are not kept."""
        if self.patches is None or source.slide_id in self.tissue:
            return None
        return self.patches / f"{source.slide_id}.safetensors"


def features_path(out: Path, source: SlideSource) -> Path:
    """Return the path of a slide's features in the folder `out`."""
    return out / f"{source.slide_id}.zarr"


def unreadable_note(failed: int, total: int) -> tuple[str, ...]:
    """Return a note about how many of `total` patches were left out; empty when none was.

    Parameters
    ----------
    failed, total
        Number of unreadable patches, and of all patches.

    Returns
    -------
    tuple of str
        One sentence, or nothing.
    """
    if not failed:
        return ()
    share = f"{100 * failed / total:.0f} %" if failed >= 0.01 * total else "less than 1 %"
    return (f"{failed} of {total} patches ({share}) could not be read and were left out.",)


def require_readable(failed: int, total: int, max_failed: float, notes: Sequence[str] = ()) -> None:
    """Require a slide with tissue of which enough patches can be read.

    Parameters
    ----------
    failed, total
        Number of unreadable patches, and of all patches.
    max_failed
        Largest share of unreadable patches, 0 to 1.
    notes
        Sentences about the tissue, added to the message.

    Raises
    ------
    TissueError
        If there is no patch.
    SlideError
        If the share of unreadable patches is above `max_failed`.
    """
    if total == 0:
        raise TissueError(" ".join(("The slide has no tissue that fills a patch.", MORE_TISSUE, *notes)))
    if failed > max_failed * total:
        raise SlideError(
            f"Expected at most {max_failed:.0%} unreadable patches. Got {failed} of {total}; "
            "the file is probably damaged. Copy or scan it again."
        )


class _Keys(NamedTuple):
    """Hashes of what features are made from."""

    whole: str
    damaged: str
    """For a damaged slide: it changes when the file is written again."""


class _Opened(NamedTuple):
    """An open slide, and what its features are made from."""

    source: SlideSource
    slide: Slide
    masks: tuple[Tissue, ...]
    """The mask that was given, if one was."""
    encoder: PatchEncoder
    keys: _Keys


def extract_slide(work: Extraction, source: SlideSource) -> Generator[Step[bool], None, bool]:
    """Write the features of one slide; return False if they were current.

    Parameters
    ----------
    work
        How features are extracted.
    source
        The slide.

    Yields
    ------
    Step
        One per batch of patches.

    Raises
    ------
    SlideError, ResolutionError, TissueError
        If the slide cannot be used.
    OverwriteError
        If its features would replace a foreign file.
    ModelError, RunError
        If an output of the encoder is not finite, or the folder is not there.
    """
    require_shared(work.out)
    path = features_path(work.out, source)
    work.inputs.require_clear([path, *filter(None, [work.patches_path(source)])])
    encoder, given = work.load(), work.tissue.get(source.slide_id)
    with ExitStack() as stack:
        slide = stack.enter_context(open_source(source))
        slide.require_mpp(work.plan.mpp)  # a slide that is refused now must not keep its earlier features
        fingerprint = slide.fingerprint
        masks = () if given is None else (tissue_of(slide, given),)
        made_from = [
            FORMAT,
            EXTRACTION_VERSION,
            fingerprint,
            source.mpp,
            work.encoder_hash,
            list(encoder.layers),
            work.resolution,
        ]
        key = hashing.sha256_of([*made_from, _plain(work.plan), *(tissue.mask.sha256 for tissue in masks)])
        keys = _Keys(key, hashing.sha256_of([key, changed_at(source.path)]))
        if is_current(path, keys.whole, keys.damaged, checksum=slide.checksum):
            return False
        require_free(path, is_features)
        stack.enter_context(unchanged(slide))
        features, found = yield from _encode(work, _Opened(source, slide, masks, encoder, keys))
    write_features(path, features)
    if found is not None:
        keep_patches(found)
    return True


def _encode(work: Extraction, opened: _Opened) -> Generator[Step[bool], None, tuple[Features, Found | None]]:
    source, slide, encoder = opened.source, opened.slide, opened.encoder
    start = time.perf_counter()
    path = work.patches_path(source)
    chosen = choose_patches(slide, work.plan, work.resolution, opened.masks, path, version=EXTRACTION_VERSION)
    total = len(chosen.index) + chosen.undecided
    require_readable(chosen.undecided, total, work.plan.max_failed, chosen.notes)
    parts = []
    for part in encode_patches(slide, chosen.level0_yx, chosen.grid, encoder, threads=work.threads):
        parts.append(part._replace(layers=tuple(map(_halved, part.layers))))
        done = sum(len(part.positions) + len(part.failed) for part in parts)
        yield Step((*work.job, source.slide_id), done, len(chosen.index), "patches")
    encoded = concatenate(parts)
    failed = len(encoded.failed) + chosen.undecided
    require_readable(failed, total, work.plan.max_failed)
    card = FeaturesCard(
        slide_id=source.slide_id,
        slide_fingerprint=slide.fingerprint,
        slide_mpp=slide.mpp,
        mpp_source=str(slide.mpp_source),
        mpp=chosen.grid.mpp,
        size=chosen.grid.size,
        origin_yx=chosen.grid.origin_yx,
        encoder_hash=work.encoder_hash,
        key=opened.keys.damaged if failed or slide.damaged else opened.keys.whole,
        total=total,
        failed=failed,
        seconds=time.perf_counter() - start + chosen.seconds_before,
        bytes_read=None if slide.bytes_read is None else slide.bytes_read + chosen.bytes_before,
        notes=(*slide.notes, *chosen.notes, *unreadable_note(failed, total)),
        checksum=slide.checksum,
        encoder=work.contract.to_dict(),
        reading=EXTRACTION_VERSION,
        appearance=appearance(encoded.colours, encoded.embeddings),
        scanner=slide.scanner,
    )
    layers = dict(zip(encoder.layers, encoded.layers, strict=True))
    return Features(card, chosen.index[encoded.positions], encoded.embeddings, layers), chosen.found


def _halved(tokens: NDArray[np.floating]) -> NDArray[np.float16]:
    """Convert class tokens to float16.

    Raises
    ------
    ModelError
        If a value exceeds the range of float16 (65,504).
    """
    with np.errstate(over="ignore"):
        half = tokens.astype(np.float16)
    require_finite("a layer of the encoder, as float16", half)
    return half


def _plain(plan: PatchPlan) -> list[float]:
    return [plan.mpp, plan.size, plan.children, plan.min_tissue, plan.min_tissue_hr, plan.max_failed]
