"""Slides to features on disk, one committed output per slide; one bad slide does not stop the rest."""

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import SlideError, TissueError
from lrmil.features.encoding import encode_patches, join
from lrmil.features.store import FORMAT, Features, FeaturesCard, is_current, require_same_encoder, write_features
from lrmil.io import atomic, hashing
from lrmil.io.locks import output_lock
from lrmil.io.ownership import is_features, require_free
from lrmil.models.encoders.contract import EncoderContract, contract_of
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.finite import require_finite
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import GivenMask, tissue_of
from lrmil.raster import Raster
from lrmil.slides.failures import failure_of, unfit_names
from lrmil.slides.identity import unchanged
from lrmil.slides.inputs import Inputs
from lrmil.slides.parts import changed_at
from lrmil.slides.slide import open_source
from lrmil.slides.source import SlideSource as SlideSource
from lrmil.steps import Job, Step

# Counts up when the same slide and settings come to give other patches or pixels (tissue, holes, sampling): what was
# computed before is then made again.
READING = 3


class Outcome(NamedTuple):
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
) -> Iterator[Step[list[Outcome]]]:
    """Encode the LR patches (or their covered HR children) of every slide into ``out/<slide_id>.zarr``.

    A slide whose features are there and were made from the same file, settings and encoder is passed over; of a damaged
    slide they count until its file is written again, since the fingerprint may not see what was mended. A slide
    that cannot be read, or fails in whatever way, is an `Outcome` with a message. `tissue` has masks by slide id; the
    tissue of the other slides is found.

    Parameters
    ----------
    inputs
        Other files and folders that are read: no output takes the place of one, or lies in one.

    Yields
    ------
    Step
        One per batch (patches) and, at the end of each slide, one whose metrics tell the slides done. The last carries
        the outcomes in the order of `slides`.

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
        require_same_encoder((out / f"{slide.slide_id}.zarr" for slide in slides), encoder_hash, contract)
        outcomes: list[Outcome] = []
        unfit, given = unfit_names(slides), tissue or {}
        yield Step(job, 0, len(slides), "slides")
        for slide in slides:
            try:
                if slide.path in unfit:
                    outcomes.append(Outcome(slide.slide_id, None, unfit[slide.path].message, unfit[slide.path].reason))
                    yield Step(job, len(outcomes), len(slides), "slides", message=_named(outcomes[-1]))
                    continue
                read.require_clear([out / f"{slide.slide_id}.zarr"])
                mask = given.get(slide.slide_id)
                computed = yield from _extract_one(
                    slide, encoder, encoder_hash, contract, out, plan, resolution, threads, job, mask
                )
                outcome = Outcome(slide.slide_id, out / f"{slide.slide_id}.zarr", computed=computed)
            except Exception as error:  # noqa: BLE001 - whatever one slide does, the others go on
                failure = failure_of(error, slide)
                outcome = Outcome(slide.slide_id, None, failure.message, failure.reason)
            outcomes.append(outcome)
            yield Step(job, len(outcomes), len(slides), "slides", message=_named(outcome))
        yield Step(job, len(slides), len(slides), "slides", result=outcomes)


def loss_note(failed: int, total: int) -> tuple[str, ...]:
    """Say how much of a slide was left out; nothing when nothing was."""
    if not failed:
        return ()
    share = f"{100 * failed / total:.0f} %" if failed >= 0.01 * total else "less than 1 %"
    return (f"{failed} of {total} patches ({share}) could not be read and were left out.",)


def check_failures(failed: int, total: int, max_failed: float, notes: Sequence[str] = ()) -> None:
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


def _named(outcome: Outcome) -> str:
    return f"{outcome.slide_id}: {outcome.message}" if outcome.message else ""


def _extract_one(
    source: SlideSource,
    encoder: PatchEncoder,
    encoder_hash: str,
    contract: EncoderContract,
    out: Path,
    plan: PatchPlan,
    resolution: Literal["lr", "hr"],
    threads: int,
    job: Job,
    given: Raster | GivenMask | None,
) -> Generator[Step[list[Outcome]], None, bool]:
    path = out / f"{source.slide_id}.zarr"
    with ExitStack() as stack:
        slide = stack.enter_context(open_source(source))
        slide.require_mpp(plan.mpp)  # earlier features do not count for a slide that is refused now
        fingerprint = slide.fingerprint
        made_from = [FORMAT, READING, fingerprint, source.mpp, encoder_hash, list(encoder.layers), resolution]
        masks = [] if given is None else [tissue_of(slide, given)]
        key = hashing.sha256_of([*made_from, _plain(plan), *(tissue.mask.sha256 for tissue in masks)])
        key_if_damaged = hashing.sha256_of([key, changed_at(source.path)])
        if is_current(path, key, key_if_damaged, checksum=slide.checksum):
            return False
        require_free(path, is_features)
        stack.enter_context(unchanged(slide))
        start = time.perf_counter()
        patches = patches_of(slide, plan, *masks)
        if resolution == "lr":
            grid, index, corners = patches.grid, patches.index, patches.level0_yx
            undecided = patches.undecided
        else:
            grid = patches.children_grid
            slide.require_mpp(grid.mpp)
            index = patches.children_index[patches.children_covered]
            corners = patches.children_level0_yx[patches.children_covered]
            undecided = patches.children_undecided
        total = len(index) + undecided
        check_failures(undecided, total, plan.max_failed, patches.notes)
        parts = []
        for part in encode_patches(slide, corners, grid, encoder, threads=threads):
            parts.append(part._replace(layers=tuple(map(_halved, part.layers))))
            read = sum(len(part.positions) + len(part.failed) for part in parts)
            yield Step((*job, source.slide_id), read, len(index), "patches")
        encoded = join(parts)
        failed = len(encoded.failed) + undecided
        check_failures(failed, total, plan.max_failed)
        card = FeaturesCard(
            slide_id=source.slide_id,
            slide_fingerprint=fingerprint,
            slide_mpp=slide.mpp,
            mpp_source=str(slide.mpp_source),
            mpp=grid.mpp,
            size=grid.size,
            origin_yx=grid.origin_yx,
            encoder_hash=encoder_hash,
            key=key_if_damaged if failed or slide.damaged else key,
            total=total,
            failed=failed,
            seconds=time.perf_counter() - start,
            bytes_read=slide.bytes_read,
            notes=(*slide.notes, *patches.notes, *loss_note(failed, total)),
            checksum=slide.checksum,
            encoder=contract.to_dict(),
            reading=READING,
        )
    layers = dict(zip(encoder.layers, encoded.layers, strict=True))
    write_features(path, Features(card, index[encoded.positions], encoded.embeddings, layers))
    return True


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
