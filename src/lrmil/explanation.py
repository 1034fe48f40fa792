"""Where a model looked: attention as a Raster over the slide, and the files that show it elsewhere."""

import hashlib
import json
import math
import uuid
from collections.abc import Mapping
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from lrmil.io.atomic import replacing, write_text
from lrmil.io.ownership import PNG_MARK, is_overlay, is_tiles
from lrmil.raster import Raster

Floats = NDArray[np.float32]
GEOJSON_IDS = uuid.UUID("6d5b3a52-0c1f-5a0b-9a67-2f6f1d0b7c11")  # a fixed name space: ids repeat from run to run
GEOJSON_COLOR = (33, 145, 140)  # the middle of viridis
OPACITY = 0.6
RAMP = 1.6  # alpha reaches 1 at 1 / 1.6 of the scale, so tissue shows through low attention (napari.md section 3)
LEGEND = 44  # px below the picture


def attention_raster(
    attention: ArrayLike, index: NDArray[np.integer], *, step_level0: float, origin_yx: tuple[float, float]
) -> Raster:
    """Lay one value a patch on the slide.

    Parameters
    ----------
    attention
        (n,) values, any scale.
    index
        (n, 2) row and column of each patch on its integer lattice, none twice.
    step_level0
        Distance between neighbouring patches in level-0 pixels.
    origin_yx
        Level-0 (y, x) of the top-left corner of lattice cell (0, 0).

    Returns
    -------
    float32 raster over the bounding box of `index`, NaN where there is no patch.

    Raises
    ------
    ValueError
        If there are no patches, the lengths differ, or a cell is named twice.
    """
    values, cells = np.asarray(attention, np.float32), np.asarray(index)
    if len(values) == 0 or values.shape != (len(cells),) or cells.shape[1:] != (2,):
        raise ValueError(
            f"Expected n > 0 values and an (n, 2) index. Got shapes {values.shape} and {cells.shape} instead."
        )
    first = cells.min(0)
    rows, cols = (cells - first).T
    array = np.full((rows.max() + 1, cols.max() + 1), np.nan, np.float32)
    array[rows, cols] = values
    if len(np.unique(cells, axis=0)) < len(cells):
        raise ValueError("Expected every cell of the index once; got some twice. Keep one patch per cell.")
    top, left = (float(o + f * step_level0) for o, f in zip(origin_yx, first, strict=True))
    return Raster.on_lattice(array, cell_level0=float(step_level0), origin_yx=(top, left))


def top_patches(attention: ArrayLike, k: int) -> NDArray[np.int64]:
    """Positions of the `k` highest values, highest first; of equal values the earlier comes first.

    Parameters
    ----------
    attention
        (n,) values.
    k
        How many; clipped to 0..n.
    """
    return np.asarray(np.argsort(-np.asarray(attention, float), kind="stable")[: max(k, 0)], np.int64)


def percentile_rank(raster: Raster) -> Raster:
    """Replace each value by its rank within the slide: 0 for the lowest, 1 for the highest, equal values alike.

    Ranks are readable, but every slide has a cell of rank 1, however even its attention is. NaN stays NaN; one lone
    value gets 1.
    """
    ranks = np.full(raster.array.shape, np.nan, np.float32)
    present = ~np.isnan(raster.array.astype(float))
    values = raster.array[present]
    if values.size == 1:
        ranks[present] = 1.0
    elif values.size:
        order = np.sort(values)
        below, not_above = np.searchsorted(order, values, "left"), np.searchsorted(order, values, "right")
        ranks[present] = (below + not_above - 1) / 2 / (values.size - 1)
    return Raster(ranks, raster.to_level0)


def write_geojson(
    path: Path,
    level0_yx: NDArray[np.number],
    attention: ArrayLike,
    *,
    size_level0: float,
    slide_id: str,
    class_name: str,
    about: Mapping[str, object] | None = None,
    bounds_yx: tuple[float, float] = (0, 0),
    subtract_bounds: bool = False,
) -> None:
    """Write the patches as squares that QuPath opens as tiles, in level-0 pixels, x before y.

    Parameters
    ----------
    path
        The .geojson file.
    level0_yx
        (n, 2) top-left corners.
    attention
        (n,) values, which sum to 1 over the slide or not; written as they are, beside their percentile rank.
    size_level0
        Side of a patch.
    slide_id
        Enters the ids: the same patch of the same slide has the same id in every run.
    class_name
        Name of the classification that every tile gets.
    about
        What else the ``lrmil`` member is to tell: the slide's um/px and its source, the model's hash.
    bounds_yx
        Corner of the scanned area (OpenSlide's bounds).
    subtract_bounds
        Count from that corner, for viewers that show only that area. The file's ``lrmil`` member records which.
    """
    values = np.asarray(attention, float)
    ranks = percentile_rank(Raster(values[None], np.eye(2, 3))).array[0]
    shift = np.asarray(bounds_yx if subtract_bounds else (0.0, 0.0), float)
    features = [
        {
            "type": "Feature",
            "id": str(uuid.uuid5(GEOJSON_IDS, f"{slide_id}/{number}")),
            "geometry": {"type": "Polygon", "coordinates": [_ring(corner, size_level0)]},
            "properties": {
                "objectType": "tile",
                "isLocked": True,
                "classification": {"name": class_name, "color": list(GEOJSON_COLOR)},
                "measurements": {"attention": value, "attention, percentile in slide": rank},
            },
        }
        for number, (corner, value, rank) in enumerate(
            zip(np.asarray(level0_yx, float) - shift, values.tolist(), ranks.tolist(), strict=True)
        )
    ]
    bounds = {"bounds_yx": [float(side) for side in bounds_yx], "bounds_subtracted": subtract_bounds}
    rest = _json_text(features) + "}\n"
    hashed = hashlib.sha256(rest.encode("utf-8", errors="backslashreplace")).hexdigest()
    told = {"slide_id": slide_id, **(about or {}), **bounds, "features_sha256": hashed}
    head = _json_text({"type": "FeatureCollection", "lrmil": told}).removesuffix("}")
    write_text(path, f'{head}, "features": {rest}', is_tiles)


def overlay_rgb(
    thumbnail: NDArray[np.uint8],
    raster: Raster,
    *,
    thumbnail_level0_per_px: float,
    limits: tuple[float, float] = (0.0, 1.0),
) -> NDArray[np.uint8]:
    """Lay a raster over a picture of its slide: viridis that grows opaque with the value, cells not smoothed.

    Parameters
    ----------
    thumbnail
        (h, w, 3) uint8 picture of the whole slide, its corner at level-0 (0, 0).
    raster
        Upright raster, such as `percentile_rank` gives; NaN leaves the tissue as it is.
    thumbnail_level0_per_px
        Level-0 pixels per pixel of the thumbnail.
    limits
        Values drawn as the two ends of the colour scale.

    Returns
    -------
    (h, w, 3) uint8, a new array.
    """
    values = _sampled(raster, thumbnail.shape[:2], thumbnail_level0_per_px)
    low, high = limits
    rgba = _viridis(np.nan_to_num((values - low) / (high - low)))
    alpha = np.where(np.isnan(values), 0.0, rgba[..., 3])[..., None] * OPACITY
    return np.asarray(np.rint(thumbnail * (1 - alpha) + 255 * rgba[..., :3] * alpha), np.uint8)


def overlay_png(
    path: Path,
    thumbnail: NDArray[np.uint8],
    raster: Raster,
    *,
    thumbnail_level0_per_px: float,
    legend: str = "attention, percentile in slide",
    limits: tuple[float, float] = (0.0, 1.0),
    title: str = "",
) -> None:
    """Write `overlay_rgb` as a PNG with a colour bar below it.

    Parameters
    ----------
    path
        The .png file.
    thumbnail, raster, thumbnail_level0_per_px, limits
        As in `overlay_rgb`.
    legend
        What the values are; say "raw attention" where they are not ranks.
    title
        A line above the colour bar. Nothing from the slide's own metadata or label belongs here.
    """
    picture = overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=thumbnail_level0_per_px, limits=limits)
    height, width = picture.shape[:2]
    font = ImageFont.load_default(size=12)
    extra = LEGEND + (18 if title else 0)
    room = max(136 + font.getlength(legend), 8 + font.getlength(title)) + 8
    page = Image.new("RGB", (max(width, math.ceil(room)), height + extra), "white")
    page.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((8, height + 3), title, "black", font)
    top = height + extra - LEGEND + 5
    page.paste(Image.fromarray(_colour_bar(120, 14)), (8, top))
    draw.rectangle((7, top - 1, 128, top + 14), outline="black")
    draw.text((8, top + 17), f"{limits[0]:.3g}", "black", font)
    draw.text((128, top + 17), f"{limits[1]:.3g}", "black", font, anchor="ra")
    draw.text((136, top), legend, "black", font)
    mark = PngInfo()
    mark.add_text(*PNG_MARK)
    with replacing(path, is_overlay) as temporary:
        page.save(temporary, format="PNG", pnginfo=mark)


def _json_text(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _ring(corner_yx: NDArray[np.float64], size: float) -> list[list[float]]:
    top, left = corner_yx.tolist()
    bottom, right = top + size, left + size
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def _sampled(raster: Raster, shape_yx: tuple[int, ...], level0_per_px: float) -> Floats:
    """The raster's value under the centre of each pixel of a picture of the slide, NaN beside the raster."""
    cells = [
        np.floor(((np.arange(count) + 0.5) * level0_per_px - corner) / side).astype(int)
        for count, corner, side in zip(shape_yx, raster.origin_yx, raster.cell_yx, strict=True)
    ]
    padded = np.pad(raster.array.astype(np.float32), 1, constant_values=np.nan)
    rows, cols = (np.clip(cell + 1, 0, count - 1) for cell, count in zip(cells, padded.shape, strict=True))
    return padded[np.ix_(rows, cols)]


def _viridis(scaled: NDArray[np.floating]) -> NDArray[np.float64]:
    """RGBA in 0..1 of values in 0..1, alpha growing with the value."""
    rgba = np.array(matplotlib.colormaps["viridis"](np.clip(scaled, 0, 1)), np.float64)
    rgba[..., 3] = np.clip(scaled * RAMP, 0, 1)
    return rgba


def _colour_bar(width: int, height: int) -> NDArray[np.uint8]:
    rgba = _viridis(np.broadcast_to(np.linspace(0, 1, width), (height, width)))
    alpha = rgba[..., 3:] * OPACITY
    return np.asarray(np.rint(255 * (1 - alpha + rgba[..., :3] * alpha)), np.uint8)
