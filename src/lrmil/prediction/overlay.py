"""Draw attention over a picture of the slide."""

import itertools
import math
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from lrmil.io.atomic import replacing
from lrmil.io.ownership import PNG_MARK, is_overlay
from lrmil.raster import Raster

OPACITY = 0.6
RAMP = 1.6  # alpha reaches 1 at 1 / 1.6 of the scale (napari.md section 3)
FRACTION_BITS = 24
LEGEND_PX = 44  # px below the picture


def attention_rgba(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """Map values to the colours of viridis, with an alpha that grows with the value.

    Parameters
    ----------
    values
        Any shape, scaled to 0..1; values beyond are clipped.

    Returns
    -------
    ndarray of float64
        RGBA in 0..1, in the shape of `values` with a last axis of 4.
    """
    rgba = np.array(matplotlib.colormaps["viridis"](np.clip(values, 0, 1)), np.float64)
    rgba[..., 3] = np.clip(values * RAMP, 0, 1)
    return rgba


def overlay_rgb(
    thumbnail: NDArray[np.uint8],
    raster: Raster,
    *,
    thumbnail_level0_per_px: float,
    limits: tuple[float, float] = (0.0, 1.0),
) -> NDArray[np.uint8]:
    """Draw a raster over a picture of its slide in viridis, the higher the more opaque, without smoothing.

    Parameters
    ----------
    thumbnail
        (h, w, 3) uint8 picture of the whole slide, with its corner at level-0 (0, 0).
    raster
        Upright raster, such as that of `percentile_rank`. Where it is NaN, the picture is unchanged.
    thumbnail_level0_per_px
        Level-0 pixels per pixel of the thumbnail.
    limits
        Values drawn as the two ends of the colour scale.

    Returns
    -------
    ndarray of uint8
        (h, w, 3), a new array.
    """
    kept, added = _blending(raster, limits)
    rows, cols = _cells(raster, thumbnail.shape[:2], thumbnail_level0_per_px)
    picture = np.empty_like(thumbnail)
    edges = [0, *(np.flatnonzero(np.diff(rows)) + 1).tolist(), len(rows)]
    for top, bottom in itertools.pairwise(edges):  # a row of cells
        row = rows[top] if len(rows) else 0
        blended = thumbnail[top:bottom] * kept[row][cols]
        blended += added[row][cols]
        picture[top:bottom] = blended >> FRACTION_BITS
    return picture


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
    """Write `overlay_rgb` as a PNG of 256 colours, a quarter of the size of all colours, with a colour bar below it.

    Parameters
    ----------
    path
        The .png file.
    thumbnail, raster, thumbnail_level0_per_px, limits
        As in `overlay_rgb`.
    legend
        What the values are, such as "raw attention" if they are not ranks.
    title
        A line above the colour bar. It must not contain metadata or text from the label of the slide.

    Raises
    ------
    OverwriteError, OutputError
        As `lrmil.io.atomic.replacing`.
    """
    picture = overlay_rgb(thumbnail, raster, thumbnail_level0_per_px=thumbnail_level0_per_px, limits=limits)
    height, width = picture.shape[:2]
    font = ImageFont.load_default(size=12)
    extra = LEGEND_PX + (18 if title else 0)
    room = max(136 + font.getlength(legend), 8 + font.getlength(title)) + 8
    page = Image.new("RGB", (max(width, math.ceil(room)), height + extra), "white")
    page.paste(Image.fromarray(picture), (0, 0))
    draw = ImageDraw.Draw(page)
    if title:
        draw.text((8, height + 3), title, "black", font)
    top = height + extra - LEGEND_PX + 5
    page.paste(Image.fromarray(_colour_bar(120, 14)), (8, top))
    draw.rectangle((7, top - 1, 128, top + 14), outline="black")
    draw.text((8, top + 17), f"{limits[0]:.3g}", "black", font)
    draw.text((128, top + 17), f"{limits[1]:.3g}", "black", font, anchor="ra")
    draw.text((136, top), legend, "black", font)
    mark = PngInfo()
    mark.add_text(*PNG_MARK)
    few = page.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    with replacing(path, is_overlay) as temporary:
        few.save(temporary, format="PNG", pnginfo=mark, compress_level=1)


def _blending(raster: Raster, limits: tuple[float, float]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return what a pixel on each cell is multiplied with, and what is added, in units of 2**-FRACTION_BITS.

    The arrays (rows + 2, cols + 2, 1) and (rows + 2, cols + 2, 3) have a border of cells without a value. The largest
    sum, 255.5 units, fits into 32 bits.
    """
    low, high = limits
    values = np.pad(raster.array.astype(np.float32), 1, constant_values=np.nan)
    rgba = attention_rgba(np.nan_to_num((values - low) / (high - low)))
    alpha = np.where(np.isnan(values), 0.0, rgba[..., 3])[..., None] * OPACITY
    unit = 1 << FRACTION_BITS
    kept = np.rint((1 - alpha) * unit).astype(np.uint32)
    added = np.rint(255 * rgba[..., :3] * alpha * unit + unit // 2).astype(np.uint32)
    return kept, added


def _cells(raster: Raster, shape_yx: tuple[int, ...], level0_per_px: float) -> list[NDArray[np.int64]]:
    """Return the row and column, with a border of 1 around the raster, of the cell at the centre of each pixel."""
    of_axes = zip(shape_yx, raster.origin_yx, raster.cell_yx, raster.array.shape, strict=True)
    return [
        np.clip(np.floor(((np.arange(count) + 0.5) * level0_per_px - corner) / side).astype(np.int64) + 1, 0, cells + 1)
        for count, corner, side, cells in of_axes
    ]


def _colour_bar(width: int, height: int) -> NDArray[np.uint8]:
    rgba = attention_rgba(np.broadcast_to(np.linspace(0, 1, width), (height, width)))
    alpha = rgba[..., 3:] * OPACITY
    return np.asarray(np.rint(255 * (1 - alpha + rgba[..., :3] * alpha)), np.uint8)
