"""Parse an OME-Zarr folder (0.4 on zarr 2, 0.5 on zarr 3): its scenes, their levels, pixel size and colours."""

import math
from collections.abc import Sequence
from itertools import chain, compress, count, repeat, takewhile
from pathlib import Path
from typing import Any, NamedTuple

from lrmil.errors import FormatError, SlideError
from lrmil.io.untrusted import read_json
from lrmil.io.zarr_folders import ome_attributes
from lrmil.slides.readers.ome_xml import OmeImage, ome_images
from lrmil.slides.readers.pixel_size import Found, zarr_mpp
from lrmil.slides.readers.protocol import is_associated, no_scan, not_brightfield, several_planes
from lrmil.slides.resolution import MppCandidate
from lrmil.slides.scanner import Scanner

VERSIONS = ("0.4", "0.5")
CODECS_2 = (None, "blosc", "zlib", "gzip", "zstd", "lz4", "bz2", "lzma")
CODECS_3 = ("bytes", "transpose", "blosc", "gzip", "zstd", "crc32c", "sharding_indexed")
MAX_CHUNK = 512 << 20  # bytes
MAX_TEXT = 64 << 20  # bytes
RGB_COLOURS = ["FF0000", "00FF00", "0000FF"]
MALFORMED = (KeyError, IndexError, TypeError, ValueError, AttributeError, ZeroDivisionError, OverflowError)


class ZarrLevel(NamedTuple):
    """One level of a scene.

    Parameters
    ----------
    folder, document
        Folder of the array, and the content of its .zarray or zarr.json.
    axes
        One letter per axis, from t, c, z, y and x.
    shape_yx, tile_yx
        Size of the level and of a chunk in pixels; of a sharded array, the inner chunk.
    scale_yx, corner_yx
        Size of a pixel, and position of the centre of the first pixel, in the unit of the dataset.
    """

    folder: Path
    document: dict[str, Any]
    axes: str
    shape_yx: tuple[int, int]
    tile_yx: tuple[int, int]
    scale_yx: tuple[float, float]
    corner_yx: tuple[float, float]


class ZarrScene(NamedTuple):
    """The largest scene of a folder.

    Parameters
    ----------
    levels
        Full resolution first.
    factors
        Scale of each level relative to the first; NaN for a level that is stated to show another area.
    mpp_candidates
        Pixel sizes of the first level.
    chosen, scenes
        Number of this scene, from 1, and number of scenes.
    scanner
        Make and model of the scanner; None if not stated.
    """

    levels: list[ZarrLevel]
    factors: tuple[float, ...]
    mpp_candidates: Found
    chosen: int
    scenes: int
    scanner: Scanner | None


class _Image(NamedTuple):
    folder: Path
    multiscale: dict[str, Any]
    colours: list[str]
    labels: str


def parse_ome_zarr(folder: Path) -> ZarrScene:
    """Find the largest scene of an OME-Zarr and parse its levels.

    Raises
    ------
    SlideError
        If the folder is not an OME-Zarr 0.4 or 0.5, its description is invalid, or its largest scene is not 8-bit RGB.
    """
    try:
        images = _images(folder)
        levels = [_levels(image) for image in images]
        measured = [_is_measured(image, some[0]) for image, some in zip(images, levels, strict=True)]
        if any(measured):  # a photo of the slide usually has no pixel size
            images, levels = list(compress(images, measured)), list(compress(levels, measured))
        sizes = [math.prod(some[0].shape_yx) for some in levels]
        chosen = sizes.index(max(sizes))
        image = images[chosen]
        _require_rgb(folder, image, levels[chosen][0])
        factors = tuple(_factor(level, levels[chosen][0]) for level in levels[chosen])
        mpp, scanners = _mpp(image, levels[chosen][0]), {one.scanner for one in _described(folder)}
        scanner = scanners.pop() if len(scanners) == 1 else None
        return ZarrScene(levels[chosen], factors, mpp, chosen + 1, len(images), scanner)
    except SlideError:
        raise
    except (FormatError, OSError, *MALFORMED) as error:
        what = repr(error) if isinstance(error, KeyError) else str(error)
        raise malformed_zarr(folder, what) from error


def malformed_zarr(folder: Path, what: str) -> SlideError:
    """Return the error for an OME-Zarr with an invalid description; `what` says what is wrong."""
    return SlideError(
        f"The description of the OME-Zarr {folder} is not valid: {what.rstrip('.')}. Copy the folder again from its "
        "source, or leave this slide out."
    )


def _images(folder: Path) -> list[_Image]:
    """Return every scene, without label and macro images."""
    about = ome_attributes(folder)
    if "plate" in about or "well" in about:
        raise SlideError(f"Expected a slide in {folder}. Got a multi-well plate. Name one image inside it.")
    found = _images_in(folder)
    scenes = [image for image in found if not is_associated(_name(image))]
    if "bioformats2raw.layout" in about:
        listed = ome_attributes(folder / "OME").get("series")
        names = (
            listed if isinstance(listed, list) else takewhile(lambda name: (folder / name).is_dir(), map(str, count()))
        )
        for name, words in zip(names, chain((image.name for image in _described(folder)), repeat("")), strict=False):
            inside = _images_in(_within(folder, name))
            found += inside
            scenes += [image for image in inside if not is_associated(_name(image)) and not is_associated(words)]
    if found and not scenes:
        raise no_scan(folder)
    if not scenes:
        raise SlideError(
            f"The OME-Zarr {folder} describes no image (multiscales). Check that this is the right folder: features "
            "and attention maps are not slides."
        )
    return scenes


def _name(image: _Image) -> str:
    return str(image.multiscale.get("name", ""))


def _described(folder: Path) -> list[OmeImage]:
    """Return the images in the order of the series, from the OME-XML of bioformats2raw."""
    try:
        file = folder / "OME" / "METADATA.ome.xml"
        xml = file.read_text("utf-8", "replace") if file.stat().st_size <= MAX_TEXT else ""
    except OSError:
        return []
    return ome_images(xml, "", 0)


def _images_in(folder: Path) -> list[_Image]:
    about = ome_attributes(folder)
    if "lrmil" in about:
        return []
    channels = about.get("omero", {}).get("channels", [])
    colours = [str(channel.get("color", "")).upper() for channel in channels]
    labels = ", ".join(str(channel.get("label", "")) for channel in channels)
    images = []
    for multiscale in about.get("multiscales", []):
        version = str(about.get("version") or multiscale.get("version") or "0.4")
        if version not in VERSIONS:
            raise SlideError(
                f"Expected OME-Zarr {' or '.join(VERSIONS)} in {folder}. Got {version}. Convert it, for example with "
                "bioformats2raw."
            )
        images.append(_Image(folder, multiscale, colours, labels))
    return images


def _levels(image: _Image) -> list[ZarrLevel]:
    axes = "".join(str(axis["name"]) for axis in image.multiscale["axes"])
    if not {"y", "x"} <= set(axes) <= set("tczyx") or len(set(axes)) != len(axes):
        raise ValueError(f"its axes are {axes}")
    levels = [_level(image.folder, dataset, axes) for dataset in image.multiscale["datasets"]]
    return sorted(levels, key=lambda level: -level.shape_yx[0])


def _level(folder: Path, dataset: dict[str, Any], axes: str) -> ZarrLevel:
    array_folder = _within(folder, dataset["path"])
    name = "zarr.json" if (array_folder / "zarr.json").is_file() else ".zarray"
    document: Any = read_json(array_folder / name, printable=False)
    shape, chunk = _shape_and_chunk(document)
    if len(shape) != len(axes):
        raise ValueError(f"the array {dataset['path']} has {len(shape)} axes, but {len(axes)} are described")
    scale, corner = _transformed(dataset.get("coordinateTransformations", []), len(axes))
    y, x = axes.index("y"), axes.index("x")
    return ZarrLevel(
        array_folder,
        document,
        axes,
        (shape[y], shape[x]),
        (chunk[y], chunk[x]),
        (scale[y], scale[x]),
        (corner[y], corner[x]),
    )


def _shape_and_chunk(document: dict[str, Any]) -> tuple[list[int], list[int]]:
    """Return shape and chunk shape of an array, after requiring known codecs (some run code) and small chunks."""
    if document["zarr_format"] == 2:
        compressor, filters = document.get("compressor"), document.get("filters")
        codecs = [compressor["id"] if compressor else None, *(one["id"] for one in filters or [])]
        chunk, known = document["chunks"], set(codecs) <= set(CODECS_2) and not filters
    else:
        if document["chunk_grid"]["name"] != "regular" or document.get("storage_transformers"):
            raise ValueError("its chunks do not form a regular grid")
        outer, chunk = document["codecs"], document["chunk_grid"]["configuration"]["chunk_shape"]
        inner = [one["configuration"] for one in outer if one["name"] == "sharding_indexed"]
        every = [*outer, *(one for part in inner for one in (*part["codecs"], *part["index_codecs"]))]
        codecs = [one["name"] for one in every]
        chunk = inner[0]["chunk_shape"] if inner else chunk
        known = set(codecs) <= set(CODECS_3) and codecs.count("sharding_indexed") <= 1
    if not known:
        raise ValueError(f"some of its codecs are not supported: {', '.join(map(str, codecs))}")
    shape = document["shape"]
    if not all(type(side) is int and side > 0 for side in (*shape, *chunk)) or len(shape) != len(chunk):
        raise ValueError(f"its shape is {shape} in chunks of {chunk}")
    if math.prod(chunk) > MAX_CHUNK:
        raise ValueError(f"its chunks have {math.prod(chunk) >> 20} MiB; write it again in smaller chunks")
    return shape, chunk


def _require_rgb(folder: Path, image: _Image, level: ZarrLevel) -> None:
    document = level.document
    kind = str(document.get("dtype") or document.get("data_type"))
    sides = dict(zip(level.axes, document["shape"], strict=True))
    for axis, planes in (("z", "focal planes"), ("t", "time points")):
        if sides.get("c") == 3 and kind in ("|u1", "uint8") and sides.get(axis, 1) > 1:
            raise several_planes(folder, sides[axis], planes)
    if sides.get("c") != 3 or sides.get("t", 1) != 1 or sides.get("z", 1) != 1 or kind not in ("|u1", "uint8"):
        raise not_brightfield(folder, f"axes {level.axes}, shape {tuple(document['shape'])}, {kind}")
    if any(image.colours) and image.colours != RGB_COLOURS:
        raise not_brightfield(folder, f"the channels {image.labels or '?'} in the colours {', '.join(image.colours)}")


def _factor(level: ZarrLevel, first: ZarrLevel) -> float:
    """Return the ratio of the scales; NaN if it differs between y and x, or the corners do not match."""
    y, x = (own / full for own, full in zip(level.scale_yx, first.scale_yx, strict=True))
    corners = zip(level.corner_yx, first.corner_yx, level.scale_yx, strict=True)
    together = all(abs(corner - corner_0) <= scale for corner, corner_0, scale in corners)
    return y if together and abs(y - x) * level.shape_yx[1] <= x else math.nan


def _mpp(image: _Image, level: ZarrLevel) -> Found:
    units = {str(axis["name"]): axis.get("unit") for axis in image.multiscale["axes"]}
    own, _ = _transformed(image.multiscale.get("coordinateTransformations", []), len(level.axes))
    scale = dict(zip(level.axes, own, strict=True))
    return zarr_mpp(
        scale["y"] * level.scale_yx[0], scale["x"] * level.scale_yx[1], unit_y=units["y"], unit_x=units["x"]
    )


def _is_measured(image: _Image, level: ZarrLevel) -> bool:
    return any(isinstance(one, MppCandidate) for one in _mpp(image, level))


def _transformed(transformations: Sequence[Any], axes: int) -> tuple[list[float], list[float]]:
    """Return scale and translation of a chain of transformations."""
    scale, corner = [1.0] * axes, [0.0] * axes
    for one in transformations:
        if one["type"] == "identity":
            continue
        values = [float(value) for value in one[one["type"]]]
        if one["type"] == "scale" and len(values) == axes and min(values) > 0:
            scale = [a * b for a, b in zip(scale, values, strict=True)]
            corner = [a * b for a, b in zip(corner, values, strict=True)]
        elif one["type"] == "translation" and len(values) == axes:
            corner = [a + b for a, b in zip(corner, values, strict=True)]
        else:
            raise ValueError(f"it has a transformation of type {one['type']} with {len(values)} values")
    return scale, corner


def _within(folder: Path, name: str) -> Path:
    array_folder = folder / name
    if not array_folder.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the path {name} leads out of the folder")
    return array_folder
