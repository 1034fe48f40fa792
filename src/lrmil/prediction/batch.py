"""Many slides through one model: a table, and for each slide its files; one bad slide stops nothing.

A table of predictions, and for each slide what `lrmil.prediction.files` writes.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from lrmil.features.extraction import EXTRACTION_VERSION
from lrmil.io import atomic, hashing
from lrmil.io.locks import exclusive, output_lock
from lrmil.models.bundle import Bundle
from lrmil.models.devices import on_device, pick_device
from lrmil.patches.tissue import GivenMask
from lrmil.prediction.batch_outputs import BatchOutcome, BatchOutputs
from lrmil.prediction.files import (
    FORMAT,
    is_mask_edited,
    read_prediction,
    read_tissue,
    remove_prediction,
    require_free_outputs,
    write_prediction,
)
from lrmil.prediction.inference import classify_steps
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import PredictionRow, PredictionTable, failed_row, row_of
from lrmil.raster import Raster
from lrmil.slides.each import IN_PROCESS, Executor, Outcome, Work, each
from lrmil.slides.failures import require_short_name
from lrmil.slides.inputs import Inputs
from lrmil.slides.parts import changed_at
from lrmil.slides.slide import Slide, open_source
from lrmil.slides.source import SlideSource
from lrmil.steps import Step

WITHOUT_READING = ("name", "output")  # reasons of failures that say nothing of the slide's content


@dataclass(frozen=True, slots=True)
class Classification:
    """What is done with each slide of a batch.

    Attributes
    ----------
    load
        Returns the model: the one in use here, or in another process one that is loaded there.
    outputs
        Where the files of each slide go.
    options
        How they are classified.
    inputs
        All that is read.
    tissue
        Slide id -> mask to use.
    """

    load: Callable[[], Bundle]
    outputs: BatchOutputs
    options: PredictOptions
    inputs: Inputs
    tissue: Mapping[str, Raster | GivenMask]


def predict_slides(
    slides: Sequence[SlideSource],
    bundle: Bundle,
    out: Path,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Mapping[str, Raster | GivenMask] | None = None,
    inputs: Sequence[Path] = (),
    executor: Executor = IN_PROCESS,
    load: Callable[[], Bundle] | None = None,
) -> Iterator[Step[list[PredictionRow]]]:
    """Classify slides into `out`; a slide that is there already, from the same file and model, is skipped.

    The answer of a damaged slide is reused only until its file changes, because the sampled fingerprint may miss a
    repair. Where a checksum is stated, only an answer that was compared with it counts.

    Parameters
    ----------
    slides, out
        What to classify, and the folder of the table and of each slide's files (`lrmil.prediction.files`).
    options
        How they are classified.
    tissue
        Slide id -> mask to use in place of `segment_tissue`.
    inputs
        Other files and folders that are read, such as the model's: no output takes the place of one, or lies in one.
    executor
        Where the slides are worked on; see `lrmil.slides.each`.
    load
        Loads the same model in another process, as a picklable function of its folder that keeps what it loaded
        (`functools.lru_cache`). Without it the model itself is sent to each process.

    Yields
    ------
    Step
        Per batch and per slide; the last carries a PredictionRow per slide, in order. A slide that fails stops no other.

    Raises
    ------
    OverwriteError
        If `out` lies in something that is read. Where the outputs of one slide alone are in the way of other files,
        that slide fails.
    OutputError
        If `out` cannot be written, or its disk is full: that concerns every slide.
    RunError
        If another process writes into `out`.
    """
    rows: list[PredictionRow] = []
    steps = predict_batch(
        slides,
        bundle,
        BatchOutputs(out),
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
            yield Step(step.job, step.done, step.total, step.unit, message=step.message, metrics=step.metrics)
    yield Step(("predict",), len(rows), len(slides), "slides", result=rows)


def predict_batch(
    slides: Sequence[SlideSource],
    bundle: Bundle,
    outputs: BatchOutputs,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Mapping[str, Raster | GivenMask] | None = None,
    inputs: Inputs | None = None,
    rewording: Mapping[str, str] | None = None,
    executor: Executor = IN_PROCESS,
    load: Callable[[], Bundle] | None = None,
) -> Generator[Step[BatchOutcome], None, None]:
    """Classify slides as `predict_slides` does, and say with each Step which slide it is about and how that went.

    Parameters
    ----------
    outputs
        Where the table and the files of each slide go.
    options, tissue, executor, load
        As in `predict_slides`.
    inputs
        All that is read, where it is more than the slides.
    rewording
        Words in the message of a failure -> what the table says in their place, as the remedies of a window.

    Yields
    ------
    Step
        One without a result at the start, then one per batch and per slide, those of a slide with its BatchOutcome.

    Raises
    ------
    OverwriteError, OutputError, RunError
        As `predict_slides`.
    """
    chosen = pick_device(options.device)  # a wrong name concerns no slide
    bundle = replace(bundle, encoder=on_device(bundle.encoder, chosen))  # copied once for all
    options = replace(options, device=str(chosen))
    read, path = inputs or Inputs(slides), outputs.table_path
    read.require_clear([outputs.folder, path])
    atomic.make_folder(path.parent)
    busy = f"Another process is writing the table {path.name}. Wait for it, then classify these slides again."
    with output_lock(outputs.folder) if outputs.table is None else exclusive(outputs.lock, busy=busy):
        atomic.remove_leftovers(path.parent, of=path.stem if outputs.table else "")
        table = PredictionTable(path, bundle.task, model=bundle.sha256, rows=outputs.rows)
        what = Classification(load or partial(_same, bundle), outputs, options, read, tissue or {})
        work: Work[Prediction] = partial(_predict_one_of, what)
        with closing(each(work, slides, executor, job=("predict",))) as steps:
            start = next(steps)
            yield Step(start.job, start.done, start.total, start.unit)
            try:
                for step in steps:
                    yield _note(step, outputs, table, bundle.sha256, rewording or {})
            finally:
                table.write()


def predict_one(
    source: SlideSource,
    bundle: Bundle,
    out: Path,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Raster | GivenMask | None = None,
    inputs: Inputs | None = None,
) -> Generator[Step[Prediction], None, None]:
    """Classify one slide into `out`, or read the answer that is there already from the same slide, mask and model.

    Parameters
    ----------
    source
        The slide; its files are named after its id.
    options
        How it is classified.
    tissue
        As in `predict_steps`.
    inputs
        What is read, where it is more than the slide.

    Raises
    ------
    OverwriteError
        If a file that lrmil did not write, or an input, has the name of an output.
    SlideError, ResolutionError
        As `predict_steps`.
    """
    require_short_name(source.slide_id)
    with open_source(source) as slide:
        slide.require_mpp(bundle.mpp)  # an earlier answer does not count for a slide that is refused now
        saved = read_tissue(out, source.slide_id) if options.saved_masks else None
        tissue = tissue if saved is None else saved
        mask = tissue.read(slide) if isinstance(tissue, GivenMask) else tissue
        key, key_if_damaged = _keys(source, slide, bundle, options, mask)
        # A mask that is read back is equal only up to rounding, so its key is another.
        as_saved = saved is not None and not is_mask_edited(out, source.slide_id)
        keys = () if as_saved else (key, key_if_damaged)
        prediction = read_prediction(out, source.slide_id, keys=keys, task=bundle.task)
        if prediction is not None and as_saved and prediction.tissue_source != "given":
            prediction = None
        if prediction is not None and not _counts(prediction, source, slide, bundle, options.uncertain_below):
            prediction = None
        job = ("predict", source.slide_id)
        if prediction is None:
            require_free_outputs(out, source.slide_id, mask, inputs or Inputs([source]))
            given = GivenMask(lambda _: mask, tissue.note) if mask and isinstance(tissue, GivenMask) else mask
            for step in classify_steps(slide, bundle, options, tissue=given):
                prediction = step.result
                yield replace(step, job=job)
            if prediction is None:
                raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
            used = key_if_damaged if prediction.failed_patches or slide.damaged else key
            bounds = options.subtract_bounds
            write_prediction(out, source.slide_id, prediction, slide, key=used, tissue=mask, subtract_bounds=bounds)
        total = len(prediction.patches) + prediction.failed_patches
        yield Step(job, total, total, "patches", prediction)


def _same(bundle: Bundle) -> Bundle:
    return bundle


def _predict_one_of(what: Classification, source: SlideSource) -> Generator[Step[Prediction], None, Prediction]:
    """Classify one slide of a batch and return its answer."""
    folder, prediction = what.outputs.folder_of(source), None
    if folder != what.outputs.folder:
        atomic.remove_leftovers(folder)
    given = what.tissue.get(source.slide_id)
    with closing(predict_one(source, what.load(), folder, what.options, tissue=given, inputs=what.inputs)) as steps:
        for step in steps:
            prediction = step.result
            yield step
    if prediction is None:
        raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
    return prediction


def _note(
    step: Step[Outcome[Prediction]],
    outputs: BatchOutputs,
    table: PredictionTable,
    model: str,
    rewording: Mapping[str, str],
) -> Step[BatchOutcome]:
    """Put a slide that is finished into the table, and say how it went."""
    found, message = step.result, step.message
    if found is None:
        raise ValueError("Expected a Step of a slide. Got one without an Outcome.")
    source, row = found.source, None
    if found.finished:
        row = _row_of(found, outputs, model)
        row = replace(row, message=_reworded(row.message, rewording))
        table.add(row)
        message = f"{row.slide_id}: {row.message}" if row.message else ""
    outcome = BatchOutcome(source, row, found.value, found.error)
    return Step(step.job, step.done, step.total, step.unit, outcome, message, step.metrics)


def _row_of(found: Outcome[Prediction], outputs: BatchOutputs, model: str) -> PredictionRow:
    """Return the line of the table of a finished slide; of one that failed an earlier answer is removed."""
    source, failure = found.source, found.failure
    if failure is None and found.value is not None:
        return row_of(source.slide_id, found.value)
    if failure is None:
        raise ValueError(f"Expected a prediction or a failure of {source.slide_id}. Got neither.")
    # Nothing is known to be wrong with an earlier answer of a slide that is not there now, or cannot be written.
    if failure.reason not in WITHOUT_READING and source.path.exists():
        remove_prediction(outputs.folder_of(source), source.slide_id)
    return failed_row(source.slide_id, failure, model)


def _reworded(message: str, rewording: Mapping[str, str]) -> str:
    for words, others in rewording.items():
        message = message.replace(words, others)
    return message


def _keys(
    source: SlideSource, slide: Slide, bundle: Bundle, options: PredictOptions, mask: Raster | None
) -> tuple[str, str]:
    """Hash what an answer is made from; the second counts for a damaged slide, until its file is written again."""
    bounds = ["bounds subtracted"] if options.subtract_bounds else []
    made_from = [slide.fingerprint, source.mpp, bundle.sha256, options.uncertain_below, mask and mask.sha256, *bounds]
    key = hashing.sha256_of([FORMAT, EXTRACTION_VERSION, *made_from])
    return key, hashing.sha256_of([key, changed_at(source.path)])


def _counts(prediction: Prediction, source: SlideSource, slide: Slide, bundle: Bundle, uncertain_below: float) -> bool:
    """Return whether a saved answer counts: its document was not edited, and it was compared with stated checksums."""
    return _is_of(prediction, slide, bundle, uncertain_below) and (
        not source.checksums or prediction.checksum == slide.checksum
    )


def _is_of(prediction: Prediction, slide: Slide, bundle: Bundle, uncertain_below: float) -> bool:
    """Return whether a saved answer can be of this slide and model: its key says so, but the rest may be edited."""
    grid, failed = prediction.patches.grid, prediction.failed_patches
    values = np.array([prediction.probabilities[name] for name in bundle.task.names])
    answer = bundle.task.answer(values, uncertain_below=uncertain_below)
    return (
        (prediction.slide_fingerprint, prediction.bundle_sha256) == (slide.fingerprint, bundle.sha256)
        and (prediction.mpp, grid.slide_mpp, grid.mpp, grid.size)
        == (slide.mpp, slide.mpp, bundle.mpp, bundle.patch_size)
        and failed <= bundle.max_failed * (len(prediction.patches) + failed)
        and prediction.status == answer.status
    )
