"""Slides to features on disk, one committed output per slide; one bad slide does not stop the rest."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError, TissueError
from lrmil.features.encoding import concatenate, encode_patches
from lrmil.features.store import FORMAT, Features, FeaturesCard, is_current, require_same_encoder, write_features
from lrmil.geometry import Grid
from lrmil.io import atomic, hashing
from lrmil.io.locks import output_lock
from lrmil.io.ownership import is_features, require_free
from lrmil.models.encoders.contract import EncoderContract, contract_of
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.finite import require_finite
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import GivenMask, Tissue, tissue_of
from lrmil.raster import Raster
from lrmil.slides.each import IN_PROCESS, Executor, Outcome, Work, each
from lrmil.slides.identity import unchanged
from lrmil.slides.inputs import Inputs
from lrmil.slides.parts import changed_at
from lrmil.slides.slide import Slide, open_source
from lrmil.slides.source import SlideSource
from lrmil.steps import Job, Step

# Counts up when the same slide and settings come to give other patches or pixels (tissue, holes, sampling): what was
# computed before is then made again.
EXTRACTION_VERSION = 3


class Extracted(NamedTuple):
    """What became of one slide."""

    slide_id: str
    path: Path | None
    """The features, None when the slide failed."""
    message: str = ""
    """Why it failed, in one sentence."""
    reason: str = ""
    """The same in one word, of `lrmil.slides.failures.Failure`."""
    computed: bool = True
    """False when the features were already there."""


@dataclass(frozen=True, slots=True)
class Extraction:
    """What is done with each slide.

    Attributes
    ----------
    load
        Returns the encoder: the one in use here, or in another process one that is loaded there.
    encoder_hash, contract
        Of that encoder.
    out
        Folder of the features.
    plan, resolution
        Which patches are meant: the LR ones, or their covered HR children.
    threads
        Threads that read a slide.
    job
        Name of the Steps.
    inputs
        All that is read.
    tissue
        Slide id -> mask to use.
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


def extract_features(
    slides: Sequence[SlideSource],
    encoder: PatchEncoder,
    encoder_hash: str,
    out: Path,
    plan: PatchPlan,
    *,
    resolution: Literal["lr", "hr"] = "lr",
    threads: int = 2,
    job: Job = ("extract",),
    inputs: Sequence[Path] = (),
    tissue: Mapping[str, Raster | GivenMask] | None = None,
    executor: Executor = IN_PROCESS,
    load: Callable[[], PatchEncoder] | None = None,
) -> Iterator[Step[list[Extracted]]]:
    """Encode the LR patches (or their covered HR children) of every slide into ``out/<slide_id>.zarr``.

    A slide whose features are there and were made from the same file, settings and encoder is skipped. For a damaged
    slide, features are reused only until the file changes, because the sampled fingerprint may miss a repair. A slide
    that cannot be read, or fails in whatever way, is an `Extracted` with a message. `tissue` has masks by slide id; the
    tissue of the other slides is found.

    Parameters
    ----------
    inputs
        Other files and folders that are read: no output takes the place of one, or lies in one.
    executor
        Where the slides are worked on; see `lrmil.slides.each`.
    load
        Loads the same encoder in another process, as a picklable function of paths and names that keeps what it loaded
        (`functools.lru_cache`). Without it the encoder itself is sent to each process.

    Yields
    ------
    Step
        One per batch (patches) and, at the end of each slide, one that counts the slides. The last carries the outcomes
        in the order of `slides`.

    Raises
    ------
    OverwriteError
        If `out` lies in something that is read. Where the features of one slide alone are in the way of other files,
        that slide fails.
    OutputError
        If `out` cannot be written, or its disk is full: that concerns every slide.
    EncoderError
        If the encoder fails: that concerns every slide, too.
    FormatError
        If the encoder gives other embeddings than when features that are there were made with its weights.
    RunError
        If another process writes into `out`.
    """
    read = Inputs(slides, inputs)
    read.require_clear([out])
    atomic.make_folder(out)
    with output_lock(out):
        atomic.remove_leftovers(out)
        contract = contract_of(encoder.encoder)
        require_same_encoder((_features_path(out, slide) for slide in slides), encoder_hash, contract)
        load = load or partial(_same, encoder)
        what = Extraction(load, encoder_hash, contract, out, plan, resolution, threads, job, read, tissue or {})
        work: Work[bool] = partial(_extract_one, what)
        outcomes: list[Extracted] = []
        with closing(each(work, slides, executor, job=job)) as steps:
            for step in steps:
                if step.result is not None and step.result.finished:
                    outcomes.append(_outcome_of(step.result, out))
                yield Step(step.job, step.done, step.total, step.unit, message=step.message, metrics=step.metrics)
        yield Step(job, len(slides), len(slides), "slides", result=outcomes)


def unreadable_note(failed: int, total: int) -> tuple[str, ...]:
    """Say how much of a slide was left out; nothing when nothing was."""
    if not failed:
        return ()
    share = f"{100 * failed / total:.0f} %" if failed >= 0.01 * total else "less than 1 %"
    return (f"{failed} of {total} patches ({share}) could not be read and were left out.",)


def require_readable(failed: int, total: int, max_failed: float, notes: Sequence[str] = ()) -> None:
    """Refuse a slide of which too much was lost.

    Raises
    ------
    SlideError
        With the count, when there is no patch at all or more than `max_failed` of them could not be read.
    """
    if total == 0:
        said = "Expected tissue on the slide. Got none that fills a patch; look at it, or lower min_tissue."
        raise TissueError(" ".join((said, *notes)))
    if failed > max_failed * total:
        raise SlideError(
            f"Expected at most {max_failed:.0%} unreadable patches. Got {failed} of {total}; "
            "the file is probably damaged: copy or scan it again."
        )


def _same(encoder: PatchEncoder) -> PatchEncoder:
    return encoder


def _features_path(out: Path, source: SlideSource) -> Path:
    return out / f"{source.slide_id}.zarr"


def _outcome_of(outcome: Outcome[bool], out: Path) -> Extracted:
    source, failure = outcome.source, outcome.failure
    if failure is not None:
        return Extracted(source.slide_id, None, failure.message, failure.reason)
    return Extracted(source.slide_id, _features_path(out, source), computed=bool(outcome.value))


class _Keys(NamedTuple):
    """What features are made from, as a hash."""

    whole: str
    damaged: str
    """Of a damaged slide: another one once its file is written again."""


class _Opened(NamedTuple):
    """A slide that is open, and what decides on its features."""

    source: SlideSource
    slide: Slide
    masks: tuple[Tissue, ...]
    """The mask that was given, if one was."""
    encoder: PatchEncoder
    keys: _Keys


def _extract_one(work: Extraction, source: SlideSource) -> Generator[Step[bool], None, bool]:
    """Write the features of one slide; False if they were there."""
    path = _features_path(work.out, source)
    work.inputs.require_clear([path])
    encoder, given = work.load(), work.tissue.get(source.slide_id)
    with ExitStack() as stack:
        slide = stack.enter_context(open_source(source))
        slide.require_mpp(work.plan.mpp)  # earlier features do not count for a slide that is refused now
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
        features = yield from _encode(work, _Opened(source, slide, masks, encoder, keys))
    write_features(path, features)
    return True


@dataclass(frozen=True, slots=True)
class _Chosen:
    """The n patches of a slide at one resolution.

    Attributes
    ----------
    grid
        Their lattice.
    index
        (n, 2) row and column.
    level0_yx
        (n, 2) px of level 0.
    undecided
        Patches that may be tissue, where nothing could be read.
    notes
        Sentences on the tissue.
    """

    grid: Grid
    index: NDArray[np.int32]
    level0_yx: NDArray[np.int64]
    undecided: int
    notes: tuple[str, ...]


def _choose(work: Extraction, opened: _Opened) -> _Chosen:
    patches = patches_of(opened.slide, work.plan, *opened.masks)
    if work.resolution == "lr":
        return _Chosen(patches.grid, patches.index, patches.level0_yx, patches.undecided, patches.notes)
    opened.slide.require_mpp(patches.children_grid.mpp)
    return _Chosen(
        patches.children_grid,
        patches.children_index[patches.children_covered],
        patches.children_level0_yx[patches.children_covered],
        patches.children_undecided,
        patches.notes,
    )


def _encode(work: Extraction, opened: _Opened) -> Generator[Step[bool], None, Features]:
    source, slide, encoder = opened.source, opened.slide, opened.encoder
    start = time.perf_counter()
    chosen = _choose(work, opened)
    total = len(chosen.index) + chosen.undecided
    require_readable(chosen.undecided, total, work.plan.max_failed, chosen.notes)
    parts = []
    for part in encode_patches(slide, chosen.level0_yx, chosen.grid, encoder, threads=work.threads):
        parts.append(part._replace(layers=tuple(map(_halved, part.layers))))
        read = sum(len(part.positions) + len(part.failed) for part in parts)
        yield Step((*work.job, source.slide_id), read, len(chosen.index), "patches")
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
        seconds=time.perf_counter() - start,
        bytes_read=slide.bytes_read,
        notes=(*slide.notes, *chosen.notes, *unreadable_note(failed, total)),
        checksum=slide.checksum,
        encoder=work.contract.to_dict(),
        reading=EXTRACTION_VERSION,
    )
    layers = dict(zip(encoder.layers, encoded.layers, strict=True))
    return Features(card, chosen.index[encoded.positions], encoded.embeddings, layers)


def _halved(tokens: NDArray[np.floating]) -> NDArray[np.float16]:
    """Store class tokens as float16, which holds up to 65,504.

    Raises
    ------
    ModelError
        If they are larger.
    """
    with np.errstate(over="ignore"):
        half = tokens.astype(np.float16)
    require_finite("a layer of the encoder, as float16", half)
    return half


def _plain(plan: PatchPlan) -> list[float]:
    return [plan.mpp, plan.size, plan.children, plan.min_tissue, plan.min_tissue_hr, plan.max_failed]
