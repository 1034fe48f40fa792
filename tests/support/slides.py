"""Small synthetic slides for tests."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tifffile
import zarr
from numpy.typing import NDArray

from lrmil.errors import SlideError
from lrmil.slides.slide import Slide

PATIENT = "Zzyzx-Canary-7731"  # stands for a patient's name: in no other text

# Pixels. A level of 1024 / 4 is one whole tile, which may be padding: opening such a slide compares the pixels of its
# levels, for 0.1 s. Other tests are about that; these slides are opened thousands of times.
COHORT_SIDE = 1028


def coordinate_pixels(height: int, width: int) -> NDArray[np.uint8]:
    """Make an image that tells where one is: red grows with y, green with x (one grey value in 4 px), blue is 128."""
    y, x = np.mgrid[:height, :width]
    return np.stack([y // 4 % 256, x // 4 % 256, np.full_like(y, 128)], axis=2).astype(np.uint8)


def shrink(pixels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Average factor x factor pixels; what is left over at the edges is cut, as scanners do."""
    height, width = pixels.shape[0] // factor, pixels.shape[1] // factor
    blocks = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)


def write_pyramid(
    path: Path,
    pixels: NDArray[np.uint8],
    mpp: float | None = 0.5,
    *,
    factors: Sequence[int] = (4, 16),
    tile: int = 256,
    compression: str | None = "deflate",
    style: str = "ome",
    power: float | None = None,
) -> Path:
    """Write `pixels` and its shrunken copies: style "ome" (SubIFDs), "aperio" (SVS description) or "plain"."""
    options: dict[str, object] = {"tile": (tile, tile), "compression": compression, "photometric": "rgb"}
    levels = [shrink(pixels, factor) for factor in factors]
    if style == "ome":
        metadata: dict[str, object] = {"axes": "YXS"}
        if mpp is not None:
            metadata |= {f"PhysicalSize{axis}": mpp for axis in "XY"}
            metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        with tifffile.TiffWriter(path, ome=True) as tif:
            tif.write(pixels, subifds=len(levels), metadata=metadata, **options)
            for level in levels:
                tif.write(level, subfiletype=1, **options)
        return path
    with tifffile.TiffWriter(path) as tif:
        for index, level in enumerate([pixels, *levels]):
            description = _aperio(level, mpp, power) if style == "aperio" else None
            reduced = 0 if style == "aperio" else min(index, 1)
            tif.write(level, metadata=None, description=description, subfiletype=reduced, **options)
            if style == "aperio" and index == 0:  # Aperio's second page is always a thumbnail, in strips
                thumbnail = shrink(pixels, 10)
                tif.write(thumbnail, metadata=None, description=_aperio(thumbnail, None, None), photometric="rgb")
    return path


def write_labelled_slide(path: Path, pixels: NDArray[np.uint8], *, mpp: object = 0.5) -> Path:
    """Write an SVS with a green label, a green macro photo and `PATIENT` in every text field."""
    words = f"User = {PATIENT}|Filename = {PATIENT}|ScanScope ID = {PATIENT}|Title = {PATIENT}"
    texts = [(tag, "s", 0, PATIENT, False) for tag in (269, 315, 316, 33432)]  # document, artist, computer, copyright
    head = "Aperio Image Library v12.0.15\r\n"
    green = np.full((200, 300, 3), (0, 255, 0), np.uint8)
    options: dict[str, object] = {"photometric": "rgb", "metadata": None, "software": PATIENT, "extratags": texts}
    height, width = pixels.shape[:2]
    size = f"{width}x{height} [0,0 {width}x{height}] (256x256) JPEG/RGB Q=70"
    with tifffile.TiffWriter(path) as tif:
        described = f"{head}{size}|AppMag = 20|MPP = {mpp}|{words}"
        tif.write(pixels, tile=(256, 256), compression="deflate", description=described, **options)  # type: ignore[arg-type]
        small = shrink(pixels, 4)
        tif.write(small, rowsperstrip=16, compression="deflate", description=f"{head}thumbnail|{words}", **options)  # type: ignore[arg-type]
        for kind, bits in (("label", 1), ("macro", 9)):
            tif.write(
                green, compression="deflate", subfiletype=bits, description=f"{head}{kind} 300x200|{words}", **options
            )  # type: ignore[arg-type]
    return path


def torn(monkeypatch: pytest.MonkeyPatch, name: str, corners: set[tuple[int, int]]) -> None:
    """Let the patches of a slide at these corners, in pixels of level 0, fail to be read."""
    read = Slide.read_region

    def failing(self: Slide, origin_yx: tuple[int, int], size_yx: tuple[int, int], mpp: float) -> object:
        if self.slide_id == name and tuple(origin_yx) in corners:
            raise SlideError("torn")
        return read(self, origin_yx, size_yx, mpp)

    monkeypatch.setattr(Slide, "read_region", failing)


def segment_of(path: Path, level: int, index: int) -> tuple[int, int]:
    """Tell where in the file a segment of a level lies: offset and number of bytes."""
    with tifffile.TiffFile(path) as tif:
        page = tif.series[0].levels[level].pages[0]
        return int(page.dataoffsets[index]), int(page.databytecounts[index])


def overwrite(path: Path, offset: int, data: bytes) -> None:
    """Put other bytes into a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def _aperio(level: NDArray[np.uint8], mpp: float | None, power: float | None) -> str:
    height, width = level.shape[:2]
    fields = [f"Aperio Image Library v12.0.0\r\n{width}x{height} (256x256) JPEG/RGB Q=70"]
    fields += [] if power is None else [f"AppMag = {power:g}"]
    fields += [] if mpp is None else [f"MPP = {mpp:.4f}"]
    return "|".join(fields)


def write_ome_zarr_slide(
    path: Path,
    pixels: NDArray[np.uint8],
    scale: float | None = 0.5,
    *,
    version: str = "0.4",
    factors: Sequence[int] = (4, 16),
    axes: str = "cyx",
    unit: str | None = "micrometer",
    chunk: int = 64,
    name: str = "",
    shards: bool = False,
    attributes: dict[str, object] | None = None,
) -> Path:
    """Write `pixels` (h, w, channels) and its shrunken copies as OME-Zarr 0.4 (zarr 2) or 0.5 (zarr 3)."""
    zarr_format: Literal[2, 3] = 2 if version < "0.5" else 3
    group = zarr.create_group(path, zarr_format=zarr_format)
    datasets = []
    for index, factor in enumerate((1, *factors)):
        level = pixels if factor == 1 else shrink(pixels, factor)
        ordered = np.expand_dims(level, tuple(range(3, len(axes)))).transpose(_places(axes))
        chunks = tuple(chunk if axis in "yx" else 1 for axis in axes)
        array = group.create_array(
            str(index),
            shape=ordered.shape,
            dtype=ordered.dtype,
            chunks=chunks,
            shards=tuple(4 * side if side > 1 else 1 for side in chunks) if shards else None,
            fill_value=0,
        )
        array[...] = ordered
        sizes = [(scale or 1.0) * factor if axis in "yx" else 1.0 for axis in axes]
        datasets.append({"path": str(index), "coordinateTransformations": [{"type": "scale", "scale": sizes}]})
    kinds = {"c": "channel", "t": "time"}
    described: list[dict[str, str]] = [{"name": axis, "type": kinds.get(axis, "space")} for axis in axes]
    for axis in described:
        if axis["type"] == "space" and unit is not None:
            axis["unit"] = unit
    multiscale: dict[str, object] = {"name": name, "axes": described, "datasets": datasets}
    if zarr_format == 2:
        about: dict[str, object] = {"multiscales": [{**multiscale, "version": version}], **(attributes or {})}
    else:
        about = {"ome": {"version": version, "multiscales": [multiscale], **(attributes or {})}}
    group.attrs.put(about)
    return path


def _places(axes: str) -> list[int]:
    """For each axis, where an array has it whose first axes are y, x and c."""
    rest = iter(range(3, len(axes)))
    return ["yxc".index(axis) if axis in "yxc" else next(rest) for axis in axes]
