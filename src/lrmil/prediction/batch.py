"""Many slides through one model: a table, and for each slide its files; one bad slide stops nothing.

A table of predictions, and for each slide what `lrmil.prediction.files` writes.
"""

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from lrmil.errors import OverwriteError
from lrmil.features.extraction import READING, SlideSource
from lrmil.io import atomic, hashing
from lrmil.io.locks import exclusive, output_lock
from lrmil.models.bundle import Bundle
from lrmil.models.devices import on_device, pick_device
from lrmil.patches.tissue import GivenMask
from lrmil.prediction.batch_outputs import BatchOutputs, Outcome
from lrmil.prediction.files import (
    FORMAT,
    is_mask_edited,
    read_prediction,
    read_tissue,
    remove_prediction,
    require_place,
    write_prediction,
)
from lrmil.prediction.inference import predict_steps
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import PredictionTable, Row, failed_row, row_of
from lrmil.raster import Raster
from lrmil.slides.failures import failure_of, refuse_long_name, unfit_names
from lrmil.slides.inputs import Inputs
from lrmil.slides.parts import changed_at
from lrmil.slides.slide import Slide, open_source
from lrmil.steps import Step


def predict_slides(
    slides: Sequence[SlideSource],
    bundle: Bundle,
    out: Path,
    *,
    device: str = "auto",
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Mapping[str, Raster | GivenMask] | None = None,
    subtract_bounds: bool = False,
    inputs: Sequence[Path] = (),
) -> Iterator[Step[list[Row]]]:
    """Classify slides into `out`; a slide that is there already, from the same file and model, is passed over.

    The answer of a damaged slide counts until its file is written again: the fingerprint may not see what was mended.
    Where a checksum is stated, only an answer that was compared with it counts.

    Parameters
    ----------
    slides, out
        What to classify, and the folder of the table and of each slide's files (`lrmil.prediction.files`).
    tissue
        Slide id -> mask to use in place of `segment_tissue`.
    subtract_bounds
        Whether the GeoJSON counts from the corner of the scanned area; see `lrmil.prediction.files.write_tiles`.
    inputs
        Other files and folders that are read, such as the model's: no output takes the place of one, or lies in one.

    Yields
    ------
    Step
        Per batch and per slide; the last carries a Row per slide, in order. Whatever one slide does, the others go on.

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
    rows: list[Row] = []
    steps = predict_batch(
        slides,
        bundle,
        BatchOutputs(out),
        device=device,
        batch_size=batch_size,
        threads=threads,
        uncertain_below=uncertain_below,
        tissue=tissue,
        subtract_bounds=subtract_bounds,
        inputs=Inputs(slides, inputs),
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
    *,
    device: str = "auto",
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Mapping[str, Raster | GivenMask] | None = None,
    saved_masks: bool = False,
    subtract_bounds: bool = False,
    inputs: Inputs | None = None,
    rewording: Mapping[str, str] | None = None,
) -> Generator[Step[Outcome], None, None]:
    """Classify slides as `predict_slides` does, and say with each Step which slide it is about and how that went.

    Parameters
    ----------
    outputs
        Where the table and the files of each slide go.
    tissue, subtract_bounds
        As in `predict_slides`.
    saved_masks
        As in `predict_one`.
    inputs
        All that is read, where it is more than the slides.
    rewording
        Words in the message of a failure -> what the table says in their place, as the remedies of a window.

    Yields
    ------
    Step
        One without a result at the start, then one per batch and per slide, those of a slide with its Outcome.

    Raises
    ------
    OverwriteError, OutputError, RunError
        As `predict_slides`.
    """
    chosen = pick_device(device)  # a wrong name concerns no slide
    bundle, device = replace(bundle, encoder=on_device(bundle.encoder, chosen)), str(chosen)  # copied once for all
    read, path = inputs or Inputs(slides), outputs.table_path
    read.require_clear([outputs.folder, path])
    atomic.make_folder(path.parent)
    busy = f"Another process is writing the table {path.name}. Wait for it, then classify these slides again."
    with output_lock(outputs.folder) if outputs.table is None else exclusive(outputs.lock, busy=busy):
        atomic.remove_leftovers(path.parent, of=path.stem if outputs.table else "")
        table = PredictionTable(path, bundle.classes, model=bundle.sha256, rows=outputs.rows)
        steps = (
            predict_one(
                source,
                bundle,
                outputs.folder_of(source),
                device=device,
                batch_size=batch_size,
                threads=threads,
                uncertain_below=uncertain_below,
                tissue=(tissue or {}).get(source.slide_id),
                saved_masks=saved_masks,
                subtract_bounds=subtract_bounds,
                inputs=read,
            )
            for source in slides
        )
        yield from _outcomes(slides, steps, outputs, table, bundle.sha256, rewording or {})


def predict_one(
    source: SlideSource,
    bundle: Bundle,
    out: Path,
    *,
    device: str = "auto",
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Raster | GivenMask | None = None,
    saved_masks: bool = False,
    live: bool = False,
    subtract_bounds: bool = False,
    inputs: Inputs | None = None,
) -> Generator[Step[Prediction], None, None]:
    """Classify one slide into `out`, or read the answer that is there already from the same slide, mask and model.

    Parameters
    ----------
    source
        The slide; its files are named after its id.
    tissue, live
        As in `predict_steps`.
    saved_masks
        Whether a mask that lies beside the slide's answer is used in place of `tissue`.
    subtract_bounds
        As in `predict_slides`.
    inputs
        What is read, where it is more than the slide.

    Raises
    ------
    OverwriteError
        If a file that lrmil did not write, or an input, has the name of an output.
    SlideError, ResolutionError
        As `predict_steps`.
    """
    refuse_long_name(source.slide_id)
    with open_source(source) as slide:
        slide.require_mpp(bundle.mpp)  # an earlier answer does not count for a slide that is refused now
        saved = read_tissue(out, source.slide_id) if saved_masks else None
        tissue = tissue if saved is None else saved
        mask = tissue.read(slide) if isinstance(tissue, GivenMask) else tissue
        bounds = ["bounds subtracted"] if subtract_bounds else []
        made_from = [slide.fingerprint, source.mpp, bundle.sha256, uncertain_below, mask and mask.sha256, *bounds]
        key = hashing.sha256_of([FORMAT, READING, *made_from])
        key_if_damaged = hashing.sha256_of([key, changed_at(source.path)])
        # A mask that is read back is equal only up to rounding, so its key is another.
        as_saved = saved is not None and not is_mask_edited(out, source.slide_id)
        keys = () if as_saved else (key, key_if_damaged)
        prediction = read_prediction(out, source.slide_id, keys=keys, classes=bundle.classes)
        if prediction is not None and as_saved and prediction.tissue_source != "given":
            prediction = None
        if prediction is not None and not _is_of(prediction, slide, bundle, uncertain_below):
            prediction = None  # its document was edited
        if prediction is not None and source.checksums and prediction.checksum != slide.checksum:
            prediction = None  # it was made from bytes that were not compared, or compared with others
        job = ("predict", source.slide_id)
        if prediction is None:
            require_place(out, source.slide_id, mask, inputs or Inputs([source]))
            for step in predict_steps(
                slide,
                bundle,
                device,
                batch_size=batch_size,
                threads=threads,
                uncertain_below=uncertain_below,
                tissue=GivenMask(lambda _: mask, tissue.note) if mask and isinstance(tissue, GivenMask) else mask,
                live=live,
            ):
                prediction = step.result
                yield replace(step, job=job)
            if prediction is None:
                raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
            used = key_if_damaged if prediction.failed_patches or slide.damaged else key
            write_prediction(
                out, source.slide_id, prediction, slide, key=used, tissue=mask, subtract_bounds=subtract_bounds
            )
        total = len(prediction.patches) + prediction.failed_patches
        yield Step(job, total, total, "patches", prediction)


def _outcomes(
    slides: Sequence[SlideSource],
    steps: Iterable[Generator[Step[Prediction], None, None]],
    outputs: BatchOutputs,
    table: PredictionTable,
    model: str,
    rewording: Mapping[str, str],
) -> Iterator[Step[Outcome]]:
    """Take the Steps of one slide after the other, and put how each went into the table."""
    unfit = unfit_names(slides)
    yield Step(("predict",), 0, len(slides), "slides")
    try:
        for done, (source, steps_of_one) in enumerate(zip(slides, steps, strict=True), start=1):
            if (failure := unfit.get(source.path)) is None:
                row, outcome = yield from _outcome_of(source, steps_of_one, outputs, model)
            else:
                row, outcome = failed_row(source.slide_id, failure, model), Outcome(source)
            row = replace(row, message=_reworded(row.message, rewording))
            table.add(row)
            message = f"{row.slide_id}: {row.message}" if row.message else ""
            yield Step(("predict",), done, len(slides), "slides", replace(outcome, row=row), message)
    finally:
        table.write()


def _outcome_of(
    source: SlideSource, steps: Generator[Step[Prediction], None, None], outputs: BatchOutputs, model: str
) -> Generator[Step[Outcome], None, tuple[Row, Outcome]]:
    """Relay one slide's progress and return its line of the table and its Outcome, also when it failed."""
    prediction, folder = None, outputs.folder_of(source)
    try:
        if folder != outputs.folder:
            atomic.remove_leftovers(folder)
        with closing(steps):
            for step in steps:
                prediction = step.result
                outcome = Outcome(source, prediction=prediction)
                yield Step(step.job, step.done, step.total, step.unit, outcome, step.message, step.metrics)
        if prediction is None:
            raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
        return row_of(source.slide_id, prediction), Outcome(source, prediction=prediction)
    except Exception as error:  # noqa: BLE001 - whatever one slide does, the others go on
        failure = failure_of(error, source)
        # Nothing is known to be wrong with an earlier answer of a slide that is not there now, or cannot be written.
        if source.path.exists() and not isinstance(error, OverwriteError):
            remove_prediction(folder, source.slide_id)
        return failed_row(source.slide_id, failure, model), Outcome(source, error=error)


def _reworded(message: str, rewording: Mapping[str, str]) -> str:
    for words, others in rewording.items():
        message = message.replace(words, others)
    return message


def _is_of(prediction: Prediction, slide: Slide, bundle: Bundle, uncertain_below: float) -> bool:
    """Return whether a saved answer can be of this slide and model: its key says so, but the rest may be edited."""
    grid, failed = prediction.patches.grid, prediction.failed_patches
    below = prediction.probabilities[prediction.label] < uncertain_below
    return (
        (prediction.slide_fingerprint, prediction.bundle_sha256) == (slide.fingerprint, bundle.sha256)
        and (prediction.mpp, grid.slide_mpp, grid.mpp, grid.size)
        == (slide.mpp, slide.mpp, bundle.mpp, bundle.patch_size)
        and failed <= bundle.max_failed * (len(prediction.patches) + failed)
        and prediction.status == ("uncertain" if below else "ok")
    )
