"""Read tissue masks made elsewhere: GeoJSON of TRIDENT and QuPath, PNG of HistoQC, or our own OME-Zarr."""

import functools
import math
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lrmil.errors import ConfigError, FormatError, TissueError
from lrmil.io import untrusted
from lrmil.io.ownership import is_from_tiles
from lrmil.io.raster_zarr import read_ome_zarr
from lrmil.patches.geojson_masks import GZIP, draw_areas, read_areas, require_within
from lrmil.patches.tissue import TISSUE_MPP, GivenMask
from lrmil.raster import Raster
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource

OWN = ".tissue.ome.zarr"  # an edited mask, which takes precedence
ENDINGS = (".geojson", ".geojson.gz", "_mask_use.png")
FOLDERS = (".", "contours_geojson")  # of TRIDENT's job folder; HistoQC has one folder per slide
MAX_CELLS = 1 << 26  # 8,192 x 8,192 at 8 um/px are 65 x 65 mm
MAX_PIXELS = 1 << 27  # of an image
MIN_SIDE = 32  # px of an image: a smaller one fits the proportions of nearly every slide
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER = PNG_SIGNATURE + b"\0\0\0\rIHDR"


def find_masks(location: Path, sources: Iterable[SlideSource]) -> dict[str, Path]:
    """Find the masks of slides by the slides' ids or file names.

    Parameters
    ----------
    location
        A folder of masks, or the one mask of the only slide.
    sources
        The slides.

    Returns
    -------
    dict
        Slide id -> mask; slides without a mask are missing.

    Raises
    ------
    ConfigError
        If no slide has a mask, a slide has several, or one file is given for several slides.
    """
    sources = list(sources)
    if location.is_file() or location.name.endswith(OWN):
        if len(sources) != 1:
            raise ConfigError(f"One mask, {location.name}, cannot serve {len(sources)} slides. Pass a folder of masks.")
        return {sources[0].slide_id: location}
    if not location.is_dir():
        raise ConfigError(f"There is no mask and no folder of masks at {location}.")
    found = {}
    for source in sources:
        masks = _masks_of(location, source)
        if len(masks) > 1:
            names = " and ".join(mask.relative_to(location).as_posix() for mask in masks)
            raise ConfigError(
                f"The slide {source.slide_id} has several masks in {location}: {names}. Remove all but one, or pass a "
                "folder with one kind of mask."
            )
        if masks:
            found[source.slide_id] = masks[0]
    if not found:
        name = sources[0].slide_id if sources else "SLIDE"
        raise ConfigError(
            f"There is no mask of these slides in {location}. Masks have names such as {name}{OWN}, {name}.geojson or "
            f"{name}_mask_use.png."
        )
    return found


def mask_files(location: Path) -> list[Path]:
    """List all masks in a folder, whichever slides they belong to; or the one file given."""
    if location.is_file() or location.name.endswith(OWN):
        return [location]
    files = (path for folder in FOLDERS for path in sorted((location / folder).glob("*")))
    return [path for path in files if path.name.endswith((OWN, *ENDINGS)) and not is_from_tiles(path)]


def _masks_of(location: Path, source: SlideSource) -> list[Path]:
    names = dict.fromkeys((source.slide_id, source.path.name, source.path.stem))
    for name in names:
        if (own := location / f"{name}{OWN}").exists():
            return [own]
    files = (
        location / folder / f"{name}{ending}" for name in names for folder in (*FOLDERS, name) for ending in ENDINGS
    )
    return [path for path in dict.fromkeys(files) if path.is_file() and not is_from_tiles(path)]  # a prediction's own


def read_mask(path: Path, slide: Slide) -> Raster:
    """Read the tissue mask of a slide.

    Parameters
    ----------
    path
        A GeoJSON or PNG file, or an OME-Zarr folder.
    slide
        The open slide, with a known resolution.

    Returns
    -------
    Raster
        bool, in the frame of the slide.

    Raises
    ------
    TissueError
        If the file is not a mask, or is the mask of a slide of another size.
    """
    try:
        if path.is_dir():
            return _from_ome_zarr(path, slide)
        untrusted.require_plain(path)
        with path.open("rb") as file:
            start = file.read(512)
        if start.startswith(PNG_SIGNATURE):
            return _from_png(path, slide)
        if b"\0" in start and not start.startswith(GZIP):
            raise ValueError(f"{path.name} is neither GeoJSON nor PNG.")
        return _from_geojson(path, slide)
    except (FormatError, OSError, ValueError) as error:
        reason = str(error).replace(str(path), path.name)
        raise TissueError(f"The tissue mask of {slide.slide_id} cannot be used. {reason}") from error


def given_mask(path: Path) -> GivenMask:
    """Return a mask that is read from a file when its slide is open."""
    kind = {".png": "an image by a quality control tool", ".zarr": "an edited mask"}
    note = f"The tissue mask was given: {path.name}, {kind.get(path.suffix, 'GeoJSON outlines')}."
    return GivenMask(functools.partial(read_mask, path.absolute()), note)  # a worker may be in another folder


def _from_geojson(path: Path, slide: Slide) -> Raster:
    areas, (width, height) = read_areas(path), slide.dimensions
    if all(area.left_out for area in areas):
        raise ValueError(f"Expected outlines of tissue in {path.name}. Got only areas to leave out.")
    require_within(areas, slide.dimensions)
    cell = max(1.0, TISSUE_MPP / slide.mpp, math.sqrt(height * width / MAX_CELLS))
    shape = math.ceil(height / cell), math.ceil(width / cell)
    return Raster.on_lattice(draw_areas(areas, shape, lambda ring: ring / cell), cell_level0=cell, origin_yx=(0.0, 0.0))


def _from_png(path: Path, slide: Slide) -> Raster:
    with path.open("rb") as file:
        header = file.read(len(PNG_HEADER) + 8)
    if not header.startswith(PNG_HEADER):
        raise ValueError(f"The image {path.name} is damaged. Copy it again.")
    cols, rows = (int.from_bytes(header[start : start + 4], "big") for start in (16, 20))
    width, height = slide.dimensions
    if not 0 < cols * rows <= MAX_PIXELS:
        raise ValueError(f"Expected a mask of at most {MAX_PIXELS} pixels. Got {cols} x {rows}.")
    if max(cols, rows) < min(MIN_SIDE, max(width, height)) or not _is_of(rows, cols, height, width):
        raise ValueError(
            f"Expected an image of the whole slide, with the proportions of {width} x {height} px. Got {cols} x {rows} "
            "px; it is the mask of another slide, or of a part of this one."
        )
    with Image.open(path, formats=("PNG",)) as picture:
        if picture.mode not in ("1", "L", "LA", "P", "RGB", "RGBA"):
            raise ValueError(f"Expected an image with 8 bits per channel. Got the mode {picture.mode}.")
        grey = np.asarray(picture.convert("L"))
    mask = grey > (127 if grey.max() > 1 else 0)  # some tools write 0 and 1
    return Raster.on_lattice(mask, cell_level0=(height / rows, width / cols), origin_yx=(0.0, 0.0))


def _is_of(rows: int, cols: int, height: int, width: int) -> bool:
    """Return True if the slide, shrunk by some factor, has this size within a pixel."""
    least = max(height / (rows + 1), width / (cols + 1))
    most = min(height / max(rows - 1, 0.5), width / max(cols - 1, 0.5))
    return least <= most and most >= 1


def _from_ome_zarr(path: Path, slide: Slide) -> Raster:
    raster = read_ome_zarr(path)
    width, height = slide.dimensions
    low = np.array(raster.origin_yx)
    size = np.array(raster.array.shape) * raster.cell_yx
    spare = 2 * np.array(raster.cell_yx) + 0.01 * np.array([height, width])
    if (np.abs(low) > spare).any() or (np.abs(low + size - (height, width)) > spare).any():
        raise ValueError(
            f"Expected a mask of the slide's {width} x {height} px. Got {size[1]:.0f} x {size[0]:.0f} px from "
            f"({low[1]:.0f}, {low[0]:.0f}); it is the mask of another slide."
        )
    values: NDArray[np.float64] = raster.array.astype(float)
    return Raster(values > 0.5, raster.to_level0)
