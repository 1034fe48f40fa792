"""Many slides through one model into a folder: a table, and for each slide its attention; one bad slide stops nothing.

predictions.csv  <slide_id>.json  <slide_id>.attention.ome.zarr  <slide_id>.geojson  <slide_id>.png
"""

import csv
import io
import json
import logging
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from lrmil import files
from lrmil.bundle import Bundle
from lrmil.devices import pick_device
from lrmil.errors import LrmilError
from lrmil.explanation import overlay_png, percentile_rank, write_geojson, write_ome_zarr
from lrmil.extraction import SlideSource, without_folder
from lrmil.inference import Prediction, predict_steps
from lrmil.slide import Slide, open_slide
from lrmil.steps import Step

log = logging.getLogger(__name__)
FORMAT = "lrmil.prediction/1"
EVIDENCE = ("{}.json", "{}.attention.ome.zarr", "{}.geojson", "{}.png")
OVERLAY_SIDE = 1600  # px, the longer side of the overlay picture at most


@dataclass(frozen=True, slots=True)
class Row:
    """One line of predictions.csv, JSON-ready.

    Attributes
    ----------
    status
        "ok", "uncertain" or "failed".
    probabilities
        Class -> probability; empty when failed.
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
) -> Iterator[Step[list[Row]]]:
    """Classify slides into `out`; a slide that is there already, from the same file and model, is passed over.

    Yields
    ------
    Step
        Per batch and per slide; the last carries a Row per slide, in order.
    """
    device = str(pick_device(device))  # a wrong name concerns no slide
    out.mkdir(parents=True, exist_ok=True)
    files.remove_leftovers(out)
    rows: list[Row] = []
    yield Step("predict", 0, len(slides), "slides")
    for source in slides:
        try:
            row = yield from _predict_one(source, bundle, out, device, batch_size, threads, uncertain_below)
        except LrmilError as error:
            log.info("%s: %s", source.slide_id, error)
            for name in EVIDENCE:
                files.remove(out / name.format(source.slide_id))
            row = Row(slide_id=source.slide_id, status="failed", message=without_folder(error, source.path))
        rows.append(row)
        _write_table(out / "predictions.csv", rows, bundle.classes)
        yield Step("predict", len(rows), len(slides), "slides", message=row.message)
    yield Step("predict", len(rows), len(slides), "slides", result=rows)


def _predict_one(
    source: SlideSource,
    bundle: Bundle,
    out: Path,
    device: str,
    batch_size: int,
    threads: int,
    uncertain_below: float,
) -> Generator[Step[list[Row]], None, Row]:
    with open_slide(source.path, mpp=source.mpp) as slide:
        key = files.sha256_of([FORMAT, slide.fingerprint, source.mpp, bundle.sha256, uncertain_below])
        card = out / f"{source.slide_id}.json"
        finished = _read_row(card, key)
        if finished is not None:
            return finished
        prediction: Prediction | None = None
        for step in predict_steps(
            slide, bundle, device, batch_size=batch_size, threads=threads, uncertain_below=uncertain_below
        ):
            prediction = step.result
            yield Step(f"predict: {source.slide_id}", step.done, step.total, step.unit)
        if prediction is None:
            raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
        files.remove(card)
        _write_evidence(out, source.slide_id, prediction, slide)
        row = Row(
            slide_id=source.slide_id,
            status=prediction.status,
            label=prediction.label,
            probabilities=prediction.probabilities,
            mpp=prediction.mpp,
            mpp_source=prediction.mpp_source,
            n_patches=len(prediction.patches) + prediction.failed_patches,
            failed_patches=prediction.failed_patches,
            seconds=prediction.timings["total"],
            bytes_read=prediction.bytes_read,
        )
        document = {"format": FORMAT, "key": key, "row": asdict(row), "timings": prediction.timings}
        document |= {"slide_fingerprint": prediction.slide_fingerprint, "bundle_sha256": prediction.bundle_sha256}
        files.write_json(card, {**document, "notice": "Model output, not a diagnosis."})
        return row


def _read_row(card: Path, key: str) -> Row | None:
    """Row of a slide that was finished from the same inputs; it is written after all its evidence."""
    try:
        document = json.loads(card.read_text(encoding="utf-8"))
        return Row(**document["row"]) if document["key"] == key else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_evidence(out: Path, slide_id: str, prediction: Prediction, slide: Slide) -> None:
    patches = prediction.patches
    write_ome_zarr(out / f"{slide_id}.attention.ome.zarr", prediction.attention, mpp=prediction.mpp)
    write_geojson(
        out / f"{slide_id}.geojson",
        patches.level0_yx,
        prediction.patch_attention,
        size_level0=patches.size_level0,
        slide_id=slide_id,
        class_name=prediction.label,
    )
    thumbnail = slide.thumbnail(max(slide.dimensions) * slide.mpp / OVERLAY_SIDE)
    overlay_png(
        out / f"{slide_id}.png",
        thumbnail.array,
        percentile_rank(prediction.attention),
        thumbnail_level0_per_px=thumbnail.cell_level0,
        title=f"{prediction.label} {prediction.probabilities[prediction.label]:.2f}: model output, not a diagnosis",
    )


def _write_table(path: Path, rows: Sequence[Row], classes: Sequence[str]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    probabilities = [f"prob_{name}" for name in classes]
    tail = ["mpp", "mpp_source", "n_patches", "failed_patches", "seconds", "message"]
    writer.writerow(["slide_id", "status", "label", *probabilities, *tail])
    for row in rows:
        values = [f"{row.probabilities[name]:.6f}" if row.probabilities else "" for name in classes]
        resolution = ["" if row.mpp is None else f"{row.mpp:.6g}", row.mpp_source]
        counts = [row.n_patches, row.failed_patches, f"{row.seconds:.3f}", row.message]
        writer.writerow([row.slide_id, row.status, row.label, *values, *resolution, *counts])
    files.write_text(path, text.getvalue())
