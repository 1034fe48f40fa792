"""Classify many slides with one model: a table of predictions, and the files of each slide."""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TypeAlias

import torch

from lrmil.io import atomic
from lrmil.models.bundle import Bundle
from lrmil.models.devices import on_device, pick_device
from lrmil.patches.tissue import Given
from lrmil.prediction.batch_outputs import BatchOutcome, BatchOutputs
from lrmil.prediction.closer_look import require_teacher
from lrmil.prediction.files import remove_prediction
from lrmil.prediction.one import predict_one
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import PredictionRow, PredictionTable, failed_row, row_of
from lrmil.slides.each import IN_PROCESS, Executor, Outcome, Work, each
from lrmil.slides.inputs import Inputs
from lrmil.slides.shards import Shard
from lrmil.slides.source import SlideSource
from lrmil.slides.workers import require_shared
from lrmil.steps import Step, relay_all

_Answer: TypeAlias = Prediction | PredictionRow  # another process sends the row alone: its answer is on disk
WITHOUT_READING = ("name", "output")  # failures that do not depend on the content of the slide


@dataclass(frozen=True, slots=True)
class Classification:
    """How each slide of a batch is classified.

    Attributes
    ----------
    load
        Returns the model; another process loads its own.
    outputs
        Where the files of each slide are written.
    options, tissue
        As for `predict_slides`.
    inputs
        All that is read.
    """

    load: Callable[[], Bundle]
    outputs: BatchOutputs
    options: PredictOptions
    inputs: Inputs
    tissue: Mapping[str, Given]


def predict_slides(
    slides: Sequence[SlideSource],
    bundle: Bundle,
    out: Path,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Mapping[str, Given] | None = None,
    inputs: Sequence[Path] = (),
    executor: Executor = IN_PROCESS,
    load: Callable[[], Bundle] | None = None,
    shard: Shard | None = None,
) -> Iterator[Step[list[PredictionRow]]]:
    """Classify slides into a folder, and skip slides whose answer is from the same file and model.

    The answer of a damaged slide is reused only until its file changes, because the sampled fingerprint may miss a
    repair. If a checksum is stated, an answer must have been compared with it.

    Parameters
    ----------
    slides, bundle, out, options
        The slides, the model, the folder of the table and of each slide's files, and how slides are classified.
    tissue
        Slide id -> mask to use instead of `segment_tissue`, or regions that limit the tissue.
    inputs
        Other files and folders that are read, such as the model. No output may replace one or lie in one.
    executor, load
        Where slides are processed, and what loads the same model there (`each`), with its teacher if
        `options.escalate`; without `load`, the model is sent.
    shard
        Classify only this share of the slides, and write no table; the same call without it reads the answers.

    Yields
    ------
    Step
        One per batch and per slide; the last carries a PredictionRow per slide (of the shard), in order.

    Raises
    ------
    OverwriteError, OutputError, RunError, ConfigError
        If `out` lies in an input, cannot be written, or is written by another process; if there is no such worker,
        device or teacher. If only the outputs of one slide would replace a foreign file, that slide fails.
    """
    rows: list[PredictionRow] = []
    chosen = slides if shard is None else shard.of(slides)
    steps = predict_batch(
        chosen,
        bundle,
        BatchOutputs(out, shard=shard),
        options,
        tissue=tissue,
        inputs=Inputs(slides, inputs),
        executor=executor,
        load=load,
    )
    with closing(steps):
        for step in steps:
            if step.result is not None and step.result.row is not None:
                rows.append(step.result.row)
            yield step.without_result()
    yield Step(("predict",), len(rows), len(chosen), "slides", result=rows)


def predict_batch(
    slides: Sequence[SlideSource],
    bundle: Bundle,
    outputs: BatchOutputs,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Mapping[str, Given] | None = None,
    inputs: Inputs | None = None,
    rewording: Mapping[str, str] | None = None,
    executor: Executor = IN_PROCESS,
    load: Callable[[], Bundle] | None = None,
) -> Generator[Step[BatchOutcome], None, None]:
    """Classify slides as `predict_slides` does, and report the state of each slide.

    Parameters
    ----------
    outputs
        Where the table and the files of each slide are written.
    slides, bundle, options, tissue, executor, load
        As in `predict_slides`.
    inputs
        All that is read, if it is more than the slides.
    rewording
        Words in the message of a failure -> their replacement in the table, such as the remedy in a window.

    Yields
    ------
    Step
        One at the start, without a result. Then one per batch and per slide, with the BatchOutcome of the slide.

    Raises
    ------
    OverwriteError, OutputError, RunError, ConfigError
        As `predict_slides`.
    """
    if load is None:
        chosen = pick_device(options.device)  # a wrong name is not the failure of a slide
        bundle = _placed(bundle, chosen, escalate=options.escalate)
        options = replace(options, device=str(chosen))
    read, path = inputs or Inputs(slides), outputs.table_path
    read.require_clear([outputs.folder, path])
    atomic.make_folder(path.parent)
    with outputs.locked():
        table = None
        if outputs.shard is None:
            table = PredictionTable(path, bundle.task, model=bundle.sha256, rows=outputs.rows)
        here = executor is IN_PROCESS
        written = outputs if here else replace(outputs, folder=outputs.folder.absolute())
        what = Classification(load or partial(_same, bundle), written, options, read, tissue or {})
        work: Work[_Answer] = partial(_predict_one_of if here else _predict_row_of, what)
        running: Generator[Step[Outcome[_Answer]], None, None] = each(work, slides, executor, job=("predict",))
        with closing(running) as steps:
            start = next(steps)
            yield Step(start.job, start.done, start.total, start.unit)
            try:
                for step in steps:
                    yield _note(step, outputs, table, bundle.sha256, rewording or {})
            finally:
                if table is not None:
                    table.write()


def _placed(bundle: Bundle, device: torch.device, *, escalate: bool) -> Bundle:
    """Return a model whose encoders are on a device, so that they are copied once for all slides."""
    networks = bundle.teacher_networks
    if escalate:
        require_teacher(bundle)
    if escalate and networks:
        networks = networks._replace(encoder=on_device(networks.encoder, device))
    return replace(bundle, encoder=on_device(bundle.encoder, device), teacher_networks=networks)


def _same(bundle: Bundle) -> Bundle:
    return bundle


def _predict_one_of(what: Classification, source: SlideSource) -> Generator[Step[_Answer], None, Prediction]:
    """Classify one slide of a batch, and return its answer."""
    folder, tissue = what.outputs.folder_of(source), what.tissue.get(source.slide_id)
    if folder != what.outputs.folder:
        atomic.remove_leftovers(folder)
    steps = predict_one(source, what.load(), folder, what.options, tissue=tissue, inputs=what.inputs)
    return (yield from relay_all(steps))


def _predict_row_of(what: Classification, source: SlideSource) -> Generator[Step[_Answer], None, PredictionRow]:
    """Classify one slide of a batch, and return its row."""
    require_shared(what.outputs.folder)
    return row_of(source.slide_id, (yield from _predict_one_of(what, source)))


def _note(
    step: Step[Outcome[_Answer]],
    outputs: BatchOutputs,
    table: PredictionTable | None,
    model: str,
    rewording: Mapping[str, str],
) -> Step[BatchOutcome]:
    """Add a finished slide to the table, and return its state."""
    found, message = step.result, step.message
    if found is None:
        raise ValueError("A Step of a slide carries no Outcome.")
    source, row = found.source, None
    if found.finished:
        row = _row_of(found, outputs, model)
        row = replace(row, message=_reworded(row.message, rewording))
        if table is not None:
            table.add(row)
        message = f"{row.slide_id}: {row.message}" if row.message else ""
    prediction = None if isinstance(found.value, PredictionRow) else found.value
    outcome = BatchOutcome(source, row, prediction, found.error)
    return Step(step.job, step.done, step.total, step.unit, outcome, message, step.metrics)


def _row_of(found: Outcome[_Answer], outputs: BatchOutputs, model: str) -> PredictionRow:
    """Return the row of a finished slide; if it failed, remove its earlier answer."""
    source, failure = found.source, found.failure
    if failure is None and found.value is not None:
        return found.value if isinstance(found.value, PredictionRow) else row_of(source.slide_id, found.value)
    if failure is None:
        raise ValueError(f"{source.slide_id} has neither a prediction nor a failure.")
    # If the slide is absent, or only its outputs cannot be written, its earlier answer may still be right.
    if failure.reason not in WITHOUT_READING and source.path.exists():
        remove_prediction(outputs.folder_of(source), source.slide_id)
    return failed_row(source.slide_id, failure, model)


def _reworded(message: str, rewording: Mapping[str, str]) -> str:
    for words, others in rewording.items():
        message = message.replace(words, others)
    return message
