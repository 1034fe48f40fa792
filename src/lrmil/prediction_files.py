"""One slide's prediction on disk, format lrmil.prediction/2, so that other tools and a later session can show it.

<slide_id>.json  <slide_id>.attention.ome.zarr  <slide_id>.geojson  <slide_id>.png
<slide_id>.tissue.ome.zarr     only when the tissue mask was given; `read_tissue` takes it up again
"""

from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path

from lrmil import files, untrusted
from lrmil.explanation import overlay_png, percentile_rank, read_ome_zarr, write_geojson, write_ome_zarr
from lrmil.inference import Prediction
from lrmil.prediction_card import PredictionCard, patches_in
from lrmil.raster import Raster
from lrmil.slide import Slide

FORMAT = "lrmil.prediction/2"
TISSUE = "{}.tissue.ome.zarr"
EVIDENCE = ("{}.json", "{}.attention.ome.zarr", "{}.geojson", "{}.png", TISSUE)
OVERLAY_SIDE = 1600  # px, the longer side of the overlay picture at most
MAX_CARD = 4 << 20  # bytes
NOTICE = "Model output, not a diagnosis."


def write_prediction(
    out: Path,
    slide_id: str,
    prediction: Prediction,
    slide: Slide,
    *,
    key: str,
    tissue: Raster | None = None,
    subtract_bounds: bool = False,
) -> None:
    """Write a prediction's files; the card comes last, so that its presence means that all are there.

    Parameters
    ----------
    out
        Folder, made when absent.
    slide_id
        Name of the files.
    slide
        The slide, still open: the picture needs a thumbnail of it.
    key
        Hash of all that the prediction was made from; `read_prediction` compares it.
    tissue
        The mask, when it was given.
    subtract_bounds
        As in `write_tiles`.
    """
    remove_prediction(out, slide_id)
    mpp, source = prediction.mpp, prediction.mpp_source
    if tissue is not None:
        write_ome_zarr(out / TISSUE.format(slide_id), tissue, mpp=mpp, mpp_source=source)
    write_ome_zarr(out / f"{slide_id}.attention.ome.zarr", prediction.attention, mpp=mpp, mpp_source=source)
    write_tiles(out / f"{slide_id}.geojson", slide_id, prediction, slide, subtract_bounds=subtract_bounds)
    write_overlay(out / f"{slide_id}.png", prediction, slide)
    files.write_json(out / f"{slide_id}.json", {"format": FORMAT, "key": key, **_card(prediction), "notice": NOTICE})


def read_prediction(
    out: Path, slide_id: str, *, keys: Collection[str] = (), classes: Collection[str] = ()
) -> Prediction | None:
    """Read what `write_prediction` wrote; None when it is absent, incomplete, of another version or edited to nonsense.

    Parameters
    ----------
    keys
        What it may have been made from; without them, whatever it was made from will do.
    classes
        Classes that it must have, no others; without them, any.
    """
    try:
        document = untrusted.read_json(out / f"{slide_id}.json", largest=MAX_CARD, printable=False)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return None
        card = PredictionCard.model_validate(document)
        said = card.prediction
        if (keys and card.key not in keys) or (classes and said.probabilities.keys() != set(classes)):
            return None
        attention = read_ome_zarr(out / f"{slide_id}.attention.ome.zarr")
        patches, values = patches_in(attention, card.grid.grid)
        plain = {**said.model_dump(), "notes": tuple(said.notes)}
        return Prediction(**plain, attention=attention, patches=patches, patch_attention=values)
    except (OSError, ValueError):  # FormatError and pydantic's ValidationError are ValueErrors
        return None


def read_tissue(folder: Path, slide_id: str) -> Raster | None:
    """Read a slide's tissue mask from ``<slide_id>.tissue.ome.zarr``, values above 0.5 being tissue; None when absent.

    Raises
    ------
    FormatError
        If the file is there and is no such mask.
    """
    path = folder / TISSUE.format(slide_id)
    if not path.exists():
        return None
    raster = read_ome_zarr(path)
    return Raster(raster.array.astype(float) > 0.5, raster.to_level0)


def remove_prediction(out: Path, slide_id: str) -> None:
    """Delete a prediction, its card first; nothing happens when there is none."""
    for name in EVIDENCE:
        files.remove(out / name.format(slide_id))


def write_tiles(
    path: Path, slide_id: str, prediction: Prediction, slide: Slide, *, subtract_bounds: bool = False
) -> None:
    """Write the patches with their attention as GeoJSON for QuPath.

    Parameters
    ----------
    subtract_bounds
        Count from the corner of the scanned area, as QuPath does for an MRXS, in place of that of the whole slide.
    """
    write_geojson(
        path,
        prediction.patches.level0_yx,
        prediction.patch_attention,
        size_level0=prediction.patches.size_level0,
        slide_id=slide_id,
        class_name=prediction.label,
        about={
            "mpp": prediction.mpp,
            "mpp_source": prediction.mpp_source,
            "bundle_sha256": prediction.bundle_sha256,
        },
        bounds_yx=slide.origin_yx,
        subtract_bounds=subtract_bounds,
    )


def write_overlay(path: Path, prediction: Prediction, slide: Slide) -> None:
    """Draw the attention, as percentiles, over a thumbnail of the slide."""
    thumbnail = slide.thumbnail(max(slide.dimensions) * slide.mpp / OVERLAY_SIDE)
    overlay_png(
        path,
        thumbnail.array,
        percentile_rank(prediction.attention),
        thumbnail_level0_per_px=thumbnail.cell_level0,
        title=f"{prediction.label} {prediction.probabilities[prediction.label]:.2f}: model output, not a diagnosis",
    )


def _card(prediction: Prediction) -> dict[str, object]:
    elsewhere = ("attention", "patches", "patch_attention")
    plain = {name: getattr(prediction, name) for name in prediction.__slots__ if name not in elsewhere}
    return {"grid": asdict(prediction.patches.grid), "prediction": plain}
