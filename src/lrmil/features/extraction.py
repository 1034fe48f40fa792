"""Extract the features of slides into a folder; a slide that fails does not stop the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

from lrmil.features.kinds import require_same_encoder
from lrmil.features.slide_features import Extraction, extract_slide, features_path
from lrmil.io import atomic
from lrmil.io.locks import output_lock
from lrmil.models.encoders.golden import contract_of
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches.plan import PatchPlan
from lrmil.patches.tissue import GivenMask
from lrmil.raster import Raster
from lrmil.slides.each import IN_PROCESS, Executor, Outcome, Work, each
from lrmil.slides.inputs import Inputs
from lrmil.slides.shards import Shard
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
    shard: Shard | None = None,
    patches: Path | None = None,
) -> Iterator[Step[list[Extracted]]]:
    """Encode the LR patches (or their covered HR children) of every slide into ``out/<slide_id>.zarr``.

    A slide is skipped if its features were made from the same file, settings and encoder; those of a damaged slide are
    reused until the file changes, as the sampled fingerprint may miss a repair. A slide that fails has a message.

    Parameters
    ----------
    slides, threads, out, job
        The slides, threads that read one (0 for as many as cores), folder of the features, and name of the Steps.
    encoder, encoder_hash
        The encoder with its device, and the hash of its weights.
    plan, resolution
        Which patches are encoded: the LR ones, or their covered HR children.
    inputs
        Other files and folders that are read. No output may replace one or lie in one.
    tissue, patches
        Slide id -> mask to use, and the folder that keeps the patches of other slides: their tissue is found once.
    executor, load, shard
        Where slides are processed, and what loads the same encoder there (`each`), without which it is sent; a share
        of the slides.

    Yields
    ------
    Step
        One per batch (patches) and, at the end of each slide, one that counts the slides. The last carries the outcomes
        in the order of `slides` (of the shard).

    Raises
    ------
    OverwriteError, OutputError, RunError
        If `out` lies in an input, cannot be written, or is written by another process. If only the features of one
        slide would replace a foreign file, that slide fails.
    EncoderError, FormatError
        If the encoder fails, or gives other embeddings now than those of the same weights in `out`.
    """
    read = Inputs(slides, inputs)
    read.require_clear([out])
    atomic.make_folder(out)
    with output_lock(out, shard=str(shard or "")):
        load, contract = load or partial(_same, encoder), contract_of(encoder.encoder)
        where, given = out.absolute(), tissue or {}
        what = Extraction(load, encoder_hash, contract, where, plan, resolution, threads, job, read, given, patches)
        yield from _extract(what, slides if shard is None else shard.of(slides), executor, out)


def _same(encoder: PatchEncoder) -> PatchEncoder:
    return encoder


def _extract(
    what: Extraction, slides: Sequence[SlideSource], executor: Executor, out: Path
) -> Iterator[Step[list[Extracted]]]:
    require_same_encoder((features_path(what.out, slide) for slide in slides), what.encoder_hash, what.contract)
    work: Work[bool] = partial(extract_slide, what)
    outcomes: list[Extracted] = []
    with closing(each(work, slides, executor, job=what.job)) as steps:
        for step in steps:
            if step.result is not None and step.result.finished:
                outcomes.append(_outcome_of(step.result, out))
            yield step.without_result()
    yield Step(what.job, len(slides), len(slides), "slides", result=outcomes)


def _outcome_of(outcome: Outcome[bool], out: Path) -> Extracted:
    source, failure = outcome.source, outcome.failure
    if failure is not None:
        return Extracted(source.slide_id, None, failure.message, failure.reason)
    return Extracted(source.slide_id, features_path(out, source), computed=bool(outcome.value))
