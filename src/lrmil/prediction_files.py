"""One slide's prediction on disk, format lrmil.prediction/2, so that other tools and a later session can show it.

<slide_id>.json  <slide_id>.attention.ome.zarr  <slide_id>.geojson  <slide_id>.png
<slide_id>.tissue.ome.zarr     only when the tissue mask was given; `read_tissue` takes it up again

A mask is work of a person and is never deleted. One that is no longer used becomes <slide_id>.tissue-1.ome.zarr; one
that was edited since it was written stays where it is.
"""

import importlib.metadata
import math
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrmil import files, untrusted
from lrmil.checksums import NOT_COMPARED
from lrmil.explanation import overlay_png, percentile_rank, read_ome_zarr, write_geojson, write_ome_zarr
from lrmil.geometry import Grid
from lrmil.inference import Prediction
from lrmil.mask_files import TISSUE, content_hash, place_mask, require_mask_place
from lrmil.outputs import Inputs
from lrmil.ownership import Ours, is_card, is_free, is_map, is_overlay, is_tiles, require_free
from lrmil.patches import Patches
from lrmil.raster import Raster
from lrmil.resolution import ASKED_MPP
from lrmil.slide import Slide

FORMAT = "lrmil.prediction/2"
ATTENTION = "{}.attention.ome.zarr"
EVIDENCE: dict[str, Ours] = {"{}.json": is_card, ATTENTION: is_map, "{}.geojson": is_tiles, "{}.png": is_overlay}
OVERLAY_SIDE = 1600  # px, the longer side of the overlay picture at most
LARGEST_SIDE = 1 << 32  # level-0 pixels of a patch or an offset
ROUNDING = 1e-6  # a probability may be as much above 1
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
    mpp, source = prediction.mpp, prediction.mpp_source
    require_place(out, slide_id, tissue)
    written, card = _mask_as_written(out, slide_id), out / f"{slide_id}.json"
    remove_prediction(out, slide_id)
    if not is_free(card, is_card):
        files.put_aside(card)
    mask = place_mask(out / TISSUE.format(slide_id), tissue, written, mpp=mpp, mpp_source=source)
    write_ome_zarr(out / ATTENTION.format(slide_id), prediction.attention, mpp=mpp, mpp_source=source)
    write_tiles(out / f"{slide_id}.geojson", slide_id, prediction, slide, subtract_bounds=subtract_bounds)
    write_overlay(out / f"{slide_id}.png", prediction, slide)
    about = {"version": importlib.metadata.version("napari-lrmil"), "tissue_content": mask}
    document = {"format": FORMAT, "key": key, **about, **_card(prediction), "notice": NOTICE}
    files.write_json(card, document, is_card)


def read_prediction(out: Path, slide_id: str, *, keys: Collection[str] = ()) -> Prediction | None:
    """Read what `write_prediction` wrote; None when it is absent, incomplete, of another version or of none of `keys`.

    Without `keys`, whatever it was made from will do.
    """
    try:
        card: Any = untrusted.read_json(out / f"{slide_id}.json", printable=False)
        if card["format"] != FORMAT or (keys and card["key"] not in keys):
            return None
        attention = read_ome_zarr(out / f"{slide_id}.attention.ome.zarr")
        if not _is_grid(card["grid"]):
            return None
        grid = Grid(**{**card["grid"], "origin_yx": tuple(card["grid"]["origin_yx"])})
        first = np.rint((np.array(attention.origin_yx) - grid.origin_yx) / grid.step_level0).astype(int)
        cells = np.argwhere(~np.isnan(attention.array))
        seen = Patches(grid, 1, (cells + first).astype(np.int32), np.ones((len(cells), 1), bool))
        values: NDArray[np.float64] = attention.array[tuple(cells.T)].astype(float)
        said = {
            "checksum": NOT_COMPARED,
            **card["prediction"],
            "notes": tuple(map(str, card["prediction"].get("notes", ()))),
        }
        if not _makes_sense(said):
            return None
        return Prediction(**said, attention=attention, patches=seen, patch_attention=values)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
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


def require_place(out: Path, slide_id: str, tissue: Raster | None = None, inputs: Inputs | None = None) -> None:
    """Refuse to predict where a file of someone else, or an input, has the name of one that would be written.

    Parameters
    ----------
    out, slide_id, tissue
        As in `write_prediction`.
    inputs
        What is read; the mask is not compared with it, since the one that is given may be the one that is there.

    Raises
    ------
    OverwriteError
        Naming the file and what to do.
    """
    paths = {out / name.format(slide_id): ours for name, ours in EVIDENCE.items()}
    if inputs is not None:
        inputs.require_clear(list(paths))
    card = out / f"{slide_id}.json"
    damaged = is_map(out / ATTENTION.format(slide_id)) and not is_card(card)  # `write_prediction` puts it aside
    for path, ours in paths.items():
        if not (damaged and path == card):
            require_free(path, ours)
    require_mask_place(out / TISSUE.format(slide_id), tissue, _mask_as_written(out, slide_id))


def is_mask_edited(out: Path, slide_id: str) -> bool:
    """Whether the mask beside a prediction is another one than was written with it."""
    written = _mask_as_written(out, slide_id)
    return bool(written) and content_hash(out / TISSUE.format(slide_id)) != written


def remove_prediction(out: Path, slide_id: str) -> None:
    """Delete a prediction, its card first; masks, and what lrmil did not write, stay."""
    paths = {out / name.format(slide_id): ours for name, ours in EVIDENCE.items()}
    for path in [path for path, ours in paths.items() if ours(path)]:
        files.remove(path)


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


def _makes_sense(said: dict[str, Any]) -> bool:
    """Whether the values of a card are of the right kind and size: what shows them takes that for granted."""
    chances, times = said["probabilities"], said["timings"]
    texts = (
        "slide_id",
        "label",
        "status",
        "mpp_source",
        "tissue_source",
        "slide_fingerprint",
        "bundle_sha256",
        "checksum",
    )
    return (
        all(isinstance(said[name], str) for name in texts)
        and isinstance(chances, dict)
        and said["label"] in chances
        and all(_is_within(chance, 0, 1 + ROUNDING) for chance in chances.values())
        and _is_within(said["mpp"], ASKED_MPP[0], ASKED_MPP[1])
        and _is_within(said["tissue_mm2"], 0, math.inf)
        and type(said["failed_patches"]) is int
        and (said["bytes_read"] is None or type(said["bytes_read"]) is int)
        and isinstance(times, dict)
        and all(_is_within(seconds, 0, math.inf) for seconds in times.values())
    )


def _is_grid(said: dict[str, Any]) -> bool:
    origin = said["origin_yx"]
    return (
        _is_within(said["mpp"], *ASKED_MPP)
        and _is_within(said["slide_mpp"], *ASKED_MPP)
        and type(said["size"]) is int
        and 0 < said["size"] <= LARGEST_SIDE
        and isinstance(origin, list)
        and len(origin) == 2
        and all(type(corner) is int and abs(corner) <= LARGEST_SIDE for corner in origin)
    )


def _is_within(value: object, least: float, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most


def _mask_as_written(out: Path, slide_id: str) -> str:
    """Hash of the mask that lrmil wrote beside a prediction; "" when it wrote none, or that is not known."""
    try:
        card: Any = untrusted.read_json(out / f"{slide_id}.json", printable=False)
        return str(card["tissue_content"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _card(prediction: Prediction) -> dict[str, object]:
    elsewhere = ("attention", "patches", "patch_attention")
    plain = {name: getattr(prediction, name) for name in prediction.__slots__ if name not in elsewhere}
    return {"grid": asdict(prediction.patches.grid), "prediction": plain}
