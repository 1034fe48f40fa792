"""Write and read a Raster as OME-Zarr, so that other tools can show it on its slide."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import ZstdCodec

from lrmil.errors import FormatError
from lrmil.io import untrusted
from lrmil.io.atomic import replacing
from lrmil.io.ownership import is_map
from lrmil.io.zarr_checks import require_safe_array
from lrmil.raster import Raster

NGFF = "0.5"
MIN_UM, MAX_UM = 1e-4, 1e12  # limits of every size and position on a slide


def write_ome_zarr(path: Path, raster: Raster, *, mpp: float, mpp_source: str = "") -> None:
    """Write an upright raster as OME-Zarr 0.5, in micrometres from the slide's level-0 corner.

    NGFF places a pixel by its centre, a Raster by its top-left corner, so the translation is the corner plus half a
    cell.

    Parameters
    ----------
    path
        The .ome.zarr folder; an existing map is replaced.
    raster
        (rows, cols) values; written as float32, NaN where there is no value.
    mpp
        um/px of level 0 of the slide.
    mpp_source
        Where `mpp` was found, such as "aperio MPP".

    Raises
    ------
    OverwriteError
        If there is content at `path` that lrmil did not write.
    OutputError
        If the disk is full, or the folder is not writable.
    """
    cell_um = [side * mpp for side in raster.cell_yx]
    centre_um = [corner * mpp + side / 2 for corner, side in zip(raster.origin_yx, cell_um, strict=True)]
    transforms = [{"type": "scale", "scale": cell_um}, {"type": "translation", "translation": centre_um}]
    multiscale = {
        "name": path.name.removesuffix(".ome.zarr"),
        "axes": [{"name": axis, "type": "space", "unit": "micrometer"} for axis in "yx"],
        "datasets": [{"path": "0", "coordinateTransformations": transforms}],
    }
    attributes = {
        "ome": {"version": NGFF, "multiscales": [multiscale]},
        "lrmil": {"mpp": mpp, "mpp_source": mpp_source},
    }
    with replacing(path, is_map) as temporary:
        group = zarr.create_group(temporary, zarr_format=3, attributes=attributes)
        data = np.asarray(raster.array, np.float32)
        array = group.create_array(
            "0",
            shape=data.shape,
            dtype="float32",
            fill_value=np.nan,
            dimension_names=["y", "x"],
            compressors=ZstdCodec(level=0, checksum=True),
        )
        array[...] = data


def read_ome_zarr(path: Path) -> Raster:
    """Read a Raster that `write_ome_zarr` wrote.

    Raises
    ------
    FormatError
        If the folder is not an OME-Zarr that lrmil wrote, or it is damaged.
    """
    try:
        require_safe_array(path / "0", types=("float32",))
        array = zarr.open_array(str(path / "0"), mode="r", zarr_format=3)
        document: Any = untrusted.read_json(path / "zarr.json", printable=False)
        about = document["attributes"]
        version, mpp = about["ome"]["version"], float(about["lrmil"]["mpp"])
        scale, translation = about["ome"]["multiscales"][0]["datasets"][0]["coordinateTransformations"]
        cell_um, centre_um = np.asarray(scale["scale"], float), np.asarray(translation["translation"], float)
        figures = [mpp, *cell_um, *centre_um]
        pixels = np.asarray(array[...])
    except (KeyError, IndexError, TypeError, ValueError, OSError, RuntimeError) as error:  # RuntimeError: the codec's
        raise FormatError(f"{path} is not an intact OME-Zarr map written by lrmil: {error!r}.") from error
    sane = len(figures) == 5 and min(mpp, *cell_um) >= MIN_UM and np.abs(figures).max() <= MAX_UM
    if version != NGFF or not sane:  # NaN is not sane either
        raise FormatError(
            f"Expected OME-Zarr {NGFF} with a valid scale and translation in {path}. Got version {version}, {figures}."
        )
    cell, corner = cell_um / mpp, (centre_um - cell_um / 2) / mpp
    return Raster.on_lattice(
        pixels,
        cell_level0=(float(cell[0]), float(cell[1])),
        origin_yx=(float(corner[0]), float(corner[1])),
    )
