"""Extract the features of slides into a folder; a slide that fails does not stop the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from lrmil.features.slide_features import Extraction, extract_slide, features_path
from lrmil.features.store import require_same_encoder
from lrmil.io import atomic
from lrmil.io.locks import output_lock
from lrmil.models.encoders.contract import contract_of
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches.plan import PatchPlan
from lrmil.patches.tissue import GivenMask
from lrmil.raster import Raster
from lrmil.slides.each import IN_PROCESS, Executor, Outcome, Work, each
from lrmil.slides.inputs import Inputs
from lrmil.slides.source import SlideSource
from lrmil.steps import Job, Step


class Extracted(NamedTuple):
    """The features of one slide, or why it failed."""

    slide_id: str
    path: Path | None
    """The folder of features; None when the slide failed."""
    message: str = ""
    """Why it failed, in one sentence."""
    reason: str = ""
    """The same in one word; see `lrmil.slides.failures.Failure`."""
    computed: bool = True
    """False when current features existed already."""


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

    A slide is skipped if its features were made from the same file, settings and encoder. For a damaged
    slide, features are reused only until the file changes, because the sampled fingerprint may miss a repair. A slide
    that fails, for any reason, is an `Extracted` with a message.

    Parameters
    ----------
    slides
        The slides.
    encoder, encoder_hash
        The encoder with its device, and the hash of its weights.
    out
        Folder of the features, created if absent.
    plan, resolution
        Which patches are encoded: the LR ones, or their covered HR children.
    threads
        Threads that read a slide.
    job
        Name of the Steps.
    inputs
        Other files and folders that are read. No output may replace one or lie in one.
    tissue
        Slide id -> mask to use. The tissue of other slides is segmented.
    executor
        Where the slides are processed; see `lrmil.slides.each`.
    load
        Loads the same encoder in another process. It must be picklable, and should cache the encoder
        (`functools.lru_cache`). Without it, the encoder itself is sent to each process.

    Yields
    ------
    Step
        One per batch (patches) and, at the end of each slide, one that counts the slides. The last carries the outcomes
        in the order of `slides`.

    Raises
    ------
    OverwriteError
        If `out` lies in an input. If only the features of one slide would replace a foreign file, that slide fails.
    OutputError
        If `out` cannot be written, or its disk is full.
    EncoderError
        If the encoder fails.
    FormatError
        If `out` contains features of the same weights, but the encoder now gives other embeddings.
    RunError
        If another process writes into `out`.
    """
    read = Inputs(slides, inputs)
    read.require_clear([out])
    atomic.make_folder(out)
    with output_lock(out):
        atomic.remove_leftovers(out)
        contract = contract_of(encoder.encoder)
        require_same_encoder((features_path(out, slide) for slide in slides), encoder_hash, contract)
        load = load or partial(_same, encoder)
        what = Extraction(load, encoder_hash, contract, out, plan, resolution, threads, job, read, tissue or {})
        work: Work[bool] = partial(extract_slide, what)
        outcomes: list[Extracted] = []
        with closing(each(work, slides, executor, job=job)) as steps:
            for step in steps:
                if step.result is not None and step.result.finished:
                    outcomes.append(_outcome_of(step.result, out))
                yield Step(step.job, step.done, step.total, step.unit, message=step.message, metrics=step.metrics)
        yield Step(job, len(slides), len(slides), "slides", result=outcomes)


def _same(encoder: PatchEncoder) -> PatchEncoder:
    return encoder


def _outcome_of(outcome: Outcome[bool], out: Path) -> Extracted:
    source, failure = outcome.source, outcome.failure
    if failure is not None:
        return Extracted(source.slide_id, None, failure.message, failure.reason)
    return Extracted(source.slide_id, features_path(out, source), computed=bool(outcome.value))
