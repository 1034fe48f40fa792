"""Many slides through one model into a folder: a table, and for each slide its files; one bad slide stops nothing.

predictions.csv, and for each slide what `lrmil.prediction_files` writes.
"""

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrmil import files
from lrmil.bundle import Bundle
from lrmil.csv_text import csv_text
from lrmil.devices import pick_device
from lrmil.extraction import READING, SlideSource
from lrmil.failures import Failure, failure_of, namesakes
from lrmil.folder_lock import output_lock
from lrmil.inference import Prediction, predict_steps
from lrmil.patches import refuse_coarser
from lrmil.prediction_files import FORMAT, read_prediction, remove_prediction, write_prediction
from lrmil.raster import Raster
from lrmil.slide import open_source
from lrmil.steps import Step


@dataclass(frozen=True, slots=True)
class Row:
    """One line of predictions.csv, JSON-ready.

    Attributes
    ----------
    status
        "ok", "uncertain" or "failed".
    probabilities
        Class -> probability; empty when failed.
    reason
        Why it failed in one word: see `lrmil.failures.Failure`.
    notes
        Sentences on how the slide was read, and what of it could not be.
    message
        Why it failed.
    """

    slide_id: str
    status: str
    label: str = ""
    probabilities: dict[str, float] = field(default_factory=dict)
    mpp: float | None = None
    mpp_source: str = ""
    n_patches: int = 0
    failed_patches: int = 0
    seconds: float = 0.0
    bytes_read: int | None = None
    reason: str = ""
    notes: tuple[str, ...] = ()
    message: str = ""


def predict_slides(
    slides: Sequence[SlideSource],
    bundle: Bundle,
    out: Path,
    *,
    device: str = "auto",
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Mapping[str, Raster] | None = None,
    subtract_bounds: bool = False,
) -> Iterator[Step[list[Row]]]:
    """Classify slides into `out`; a slide that is there already, from the same file and model, is passed over.

    Parameters
    ----------
    slides, out
        What to classify, and the folder of the table and of each slide's files (`lrmil.prediction_files`).
    tissue
        Slide id -> mask to use in place of `segment_tissue`.
    subtract_bounds
        Whether the GeoJSON counts from the corner of the scanned area; see `lrmil.prediction_files.write_tiles`.

    Yields
    ------
    Step
        Per batch and per slide; the last carries a Row per slide, in order. Whatever one slide does, the others go on.

    Raises
    ------
    OutputError
        If `out` cannot be written, or its disk is full: that concerns every slide.
    RunError
        If another process writes into `out`.
    """
    device = str(pick_device(device))  # a wrong name concerns no slide
    files.make_folder(out)
    with output_lock(out):
        files.remove_leftovers(out)
        rows: list[Row] = []
        twins = namesakes(slides)
        yield Step("predict", 0, len(slides), "slides")
        for source in slides:
            steps = predict_one(
                source,
                bundle,
                out,
                device=device,
                batch_size=batch_size,
                threads=threads,
                uncertain_below=uncertain_below,
                tissue=(tissue or {}).get(source.slide_id),
                subtract_bounds=subtract_bounds,
            )
            if (failure := twins.get(source.path)) is None:
                row = yield from _row_of(source, steps, out)
            else:
                row = failed_row(source.slide_id, failure)
            rows.append(row)
            write_rows(out / "predictions.csv", rows, bundle.classes)
            yield Step("predict", len(rows), len(slides), "slides", message=row.message)
        yield Step("predict", len(rows), len(slides), "slides", result=rows)


def predict_one(
    source: SlideSource,
    bundle: Bundle,
    out: Path,
    *,
    device: str = "auto",
    batch_size: int = 64,
    threads: int = 2,
    uncertain_below: float = 0.0,
    tissue: Raster | None = None,
    live: bool = False,
    subtract_bounds: bool = False,
) -> Iterator[Step[Prediction]]:
    """Classify one slide into `out`, or read the answer that is there already from the same slide, mask and model.

    Parameters
    ----------
    source
        The slide; its files are named after its id.
    tissue, live
        As in `predict_steps`.
    subtract_bounds
        As in `predict_slides`.

    Raises
    ------
    SlideError, ResolutionError
        As `predict_steps`.
    """
    with open_source(source) as slide:
        refuse_coarser(slide, bundle.mpp)  # an earlier answer does not count for a slide that is refused now
        mask = None if tissue is None else tissue.sha256
        bounds = ["bounds subtracted"] if subtract_bounds else []
        made_from = [slide.fingerprint, source.mpp, bundle.sha256, uncertain_below, mask, *bounds]
        key = files.sha256_of([FORMAT, READING, *made_from])
        prediction = read_prediction(out, source.slide_id, key=key)
        job = f"predict: {source.slide_id}"
        if prediction is None:
            for step in predict_steps(
                slide,
                bundle,
                device,
                batch_size=batch_size,
                threads=threads,
                uncertain_below=uncertain_below,
                tissue=tissue,
                live=live,
            ):
                prediction = step.result
                yield Step(job, step.done, step.total, step.unit, prediction)
            if prediction is None:
                raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
            write_prediction(
                out, source.slide_id, prediction, slide, key=key, tissue=tissue, subtract_bounds=subtract_bounds
            )
        total = len(prediction.patches) + prediction.failed_patches
        yield Step(job, total, total, "patches", prediction)


def _row_of(source: SlideSource, steps: Iterator[Step[Prediction]], out: Path) -> Generator[Step[list[Row]], None, Row]:
    """Pass the Steps of one slide on without its prediction, which is returned as a Row, as a failure is."""
    prediction: Prediction | None = None
    try:
        for step in steps:
            prediction = step.result
            yield Step(step.job, step.done, step.total, step.unit)
        if prediction is None:
            raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
    except Exception as error:  # noqa: BLE001 - whatever one slide does, the others go on
        failure = failure_of(error, source)
        remove_prediction(out, source.slide_id)
        return failed_row(source.slide_id, failure)
    return row_of(source.slide_id, prediction)


def failed_row(slide_id: str, failure: Failure) -> Row:
    """Line of predictions.csv for a slide that has no answer."""
    return Row(slide_id=slide_id, status="failed", reason=failure.reason, message=failure.message)


def row_of(slide_id: str, prediction: Prediction) -> Row:
    """Line of predictions.csv for a slide that was classified."""
    return Row(
        slide_id=slide_id,
        status=prediction.status,
        label=prediction.label,
        probabilities=prediction.probabilities,
        mpp=prediction.mpp,
        mpp_source=prediction.mpp_source,
        n_patches=len(prediction.patches) + prediction.failed_patches,
        failed_patches=prediction.failed_patches,
        seconds=prediction.timings["total"],
        bytes_read=prediction.bytes_read,
        notes=prediction.notes,
    )


def write_rows(path: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
    """Write rows as predictions.csv, complete or not at all."""
    files.write_text(path, table_of(rows, classes))


def table_of(rows: Sequence[Row], classes: Sequence[str]) -> str:
    """Give rows as CSV: a column for the probability of each class, empty where there is no answer."""
    probabilities = [f"prob_{name}" for name in classes]
    tail = ["mpp", "mpp_source", "n_patches", "failed_patches", "seconds", "reason", "notes", "message"]
    table = [["slide_id", "status", "label", *probabilities, *tail]]
    for row in rows:
        values = [f"{row.probabilities[name]:.6f}" if row.probabilities else "" for name in classes]
        resolution = ["" if row.mpp is None else f"{row.mpp:.6g}", row.mpp_source]
        counts = [row.n_patches, row.failed_patches, f"{row.seconds:.3f}", row.reason, " ".join(row.notes), row.message]
        table.append([row.slide_id, row.status, row.label, *values, *resolution, *map(str, counts)])
    return csv_text(table)
