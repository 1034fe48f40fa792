"""Draw a synthetic H&E-like cohort whose classes differ more at high resolution than at low.

Positive slides have a few regions whose nuclei have coarse, clumped chromatin and uneven outlines. Number, area and
mean colour of the nuclei are those of other tissue, so averaging 4 x 4 pixels weakens the difference.
"""

import hashlib
import math
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from lrmil.errors import ConfigError
from lrmil.io.atomic import replacing, write_json, write_text
from lrmil.io.ownership import is_demo_labels, is_truth
from lrmil.io.safe_csv import csv_text
from lrmil.slides.readers.synthetic import MPP as MPP
from lrmil.slides.readers.synthetic import is_synthetic as is_synthetic
from lrmil.steps import Step

Label = Literal["negative", "positive"]
Floats = NDArray[np.float32]

LABELS: tuple[Label, Label] = ("negative", "positive")
STRENGTH = 1.0
MIN_SIZE = 1024  # px; a smaller slide has no room for a positive region beside other tissue
SPLITS = {"train": 0.5, "val": 0.2, "test": 0.3}
GLASS = 243.0
# Optical density of haematoxylin and eosin in red, green and blue: Ruifrok and Johnston, Anal Quant Cytol Histol 2001.
STAINS = np.array([[0.65, 0.70, 0.29], [0.07, 0.99, 0.11]], np.float32)
STAMP = 32  # px: side of the square in which a nucleus is drawn
BANK = 256  # nuclei drawn per slide and kind; each is used several times
SPACING = 22  # px between neighbouring nuclei before they are jittered


class Region(NamedTuple):
    """A square with positive nuclei: top-left corner and side in level-0 pixels."""

    yx: tuple[int, int]
    size: int


class SyntheticSlide(NamedTuple):
    """A drawn slide: (size, size, 3) uint8 pixels at 0.5 um/px, and its positive regions."""

    pixels: NDArray[np.uint8]
    regions: tuple[Region, ...]


def make_cohort_steps(
    folder: Path, *, slides: int = 32, size: int = 2560, seed: int = 0, strength: float = STRENGTH
) -> Iterator[Step[Path]]:
    """Write a cohort with train, val and test slides, half of each positive.

    The folder gets ``slides/demo-000.ome.tif`` and so on (tiled JPEG pyramids, levels 1, 1/4 and 1/16),
    ``truth/<slide_id>.json`` (a list of ``{"yx": [y, x], "size": side, "label": 1}`` in level-0 pixels) and, after the
    last slide, ``labels.csv`` (slide_id, case_id, label, split). Equal arguments give equal bytes.

    Parameters
    ----------
    folder
        Folder to write to; it is created if it is missing.
    slides
        Number of slides, at least 12, so that every split has both classes.
    size
        Side of a slide in level-0 pixels of 0.5 um, at least 1024.
    seed
        Slide `i` depends only on ``(seed, i)``.
    strength
        How much positive nuclei differ; 0 makes the classes equal.

    Yields
    ------
    Step
        One per slide; the result of the last is the folder.

    Raises
    ------
    ConfigError
        If `slides` or `size` is too small, or `strength` is negative.
    """
    if slides < 12:
        raise ConfigError(f"Expected at least 12 slides, so that every split has both classes. Got {slides}.")
    rows = []
    for number, split in enumerate(_splits(slides)):
        slide_id, label = f"demo-{number:03d}", LABELS[number % 2]
        slide = make_slide(label, seed=(seed, number), size=size, strength=strength)
        write_pyramid(folder / "slides" / f"{slide_id}.ome.tif", slide.pixels)
        truth = [{"yx": list(region.yx), "size": region.size, "label": 1} for region in slide.regions]
        write_json(folder / "truth" / f"{slide_id}.json", truth, is_truth)
        rows.append([slide_id, f"case-{number:03d}", label, split])
        if number + 1 == slides:
            _write_labels(folder / "labels.csv", rows)
        yield Step(("synthetic slides",), number + 1, slides, "slides", folder if number + 1 == slides else None)


def make_slide(
    label: Label, *, seed: int | tuple[int, ...], size: int = 2560, strength: float = STRENGTH
) -> SyntheticSlide:
    """Draw one slide: islands of stroma and nuclei on glass, in a stain that differs between slides.

    Parameters
    ----------
    label
        A ``"positive"`` slide has 1 to 4 positive regions, a ``"negative"`` one none.
    seed
        Equal seeds give equal pixels.
    size
        Side in pixels of 0.5 um, at least 1024.
    strength
        How much positive nuclei differ; 0 makes the classes equal.

    Raises
    ------
    ConfigError
        If `label` is neither of the two, `size` is too small, or `strength` is negative.
    """
    if label not in LABELS or size < MIN_SIZE or strength < 0:
        raise ConfigError(
            f"Expected a label of {LABELS}, a size of at least {MIN_SIZE} px and a strength of at least 0. "
            f"Got {label!r}, {size} and {strength}."
        )
    rng = np.random.default_rng(seed)
    tissue = _tissue(rng, size)
    regions = _regions(rng, tissue) if label == "positive" else ()
    centres = _nuclei_centres(rng, tissue)
    positive = np.zeros(len(centres), bool)
    for (top, left), side in regions:
        positive |= ((centres >= (top, left)) & (centres < (top + side, left + side))).all(1)
    nuclei = np.zeros((size, size), np.float32)
    area, tone = rng.uniform(140, 170), rng.uniform(1.2, 1.5)  # of this slide's nuclei: mean px and optical density
    for kind, chosen in ((0.0, centres[~positive]), (strength, centres[positive])):
        _stamp(rng, nuclei, chosen, _nuclei_bank(rng, kind, area=area, tone=tone))
    return SyntheticSlide(_stain(rng, tissue, nuclei), regions)


def _tissue(rng: np.random.Generator, size: int) -> Floats:
    """Draw the tissue fraction of each pixel: blobs with soft edges and a few white gaps."""
    fall = 1.9 * np.linspace(-1, 1, size, dtype=np.float32) ** 4
    blobs = _noise(rng, size, size // 4) + 0.35 * _noise(rng, size, size // 20) + (1.1 - fall[:, None] - fall)
    gaps = _noise(rng, size, 90) + 0.3 * _noise(rng, size, 16) + 1.75
    return np.asarray(np.clip(blobs * 25, 0, 1) * np.clip(gaps * 6, 0, 1), np.float32)


def _noise(rng: np.random.Generator, size: int, cell: int) -> Floats:
    """Draw smooth noise of mean 0 and deviation about 1, with bumps about `cell` pixels wide."""
    count = math.ceil(size / cell) + 3
    values = rng.standard_normal((count, count), np.float32)
    top, left = rng.uniform(1, 2, 2).tolist()
    box = (left, top, left + size / cell, top + size / cell)
    image = Image.fromarray(values).resize((size, size), Image.Resampling.BICUBIC, box=box)
    return np.asarray(image, np.float32) * np.float32(1.4)  # interpolation between cells removes 30 % of the deviation


def _regions(rng: np.random.Generator, tissue: Floats) -> tuple[Region, ...]:
    """Choose 1 to 4 squares of 30 to 40 % of the slide's side, each mostly tissue if the slide has such a square."""
    step = 16
    coarse = tissue[::step, ::step]
    regions = []
    for _ in range(rng.integers(1, 5)):
        side = int(rng.uniform(0.3, 0.4) * len(tissue) / step)
        covered = ndimage.uniform_filter(coarse, side, mode="constant", origin=-(side // 2))
        inside = covered[: len(coarse) - side, : len(coarse) - side]
        corners = np.argwhere(inside >= min(0.85, inside.max()))
        top, left = corners[rng.integers(len(corners))] * step
        regions.append(Region((int(top), int(left)), side * step))
    return tuple(regions)


def _nuclei_centres(rng: np.random.Generator, tissue: Floats) -> NDArray[np.int64]:
    """Draw (n, 2) centres of nuclei: a jittered lattice, thinned by a density that varies over the slide."""
    size = len(tissue)
    lattice = np.mgrid[0:size:SPACING, 0:size:SPACING].reshape(2, -1).T
    centres = (lattice + rng.uniform(-0.48 * SPACING, 0.48 * SPACING, lattice.shape)).astype(int)
    centres = centres[((centres >= STAMP // 2) & (centres < size - STAMP // 2)).all(1)]
    density = np.clip(0.55 + 0.22 * _noise(rng, size // 16, 15), 0.15, 0.95)[tuple(centres.T // 16)]
    return np.asarray(centres[rng.random(len(centres)) < density * (tissue[tuple(centres.T)] > 0.9)])


def _nuclei_bank(rng: np.random.Generator, kind: float, *, area: float, tone: float) -> Floats:
    """Draw (BANK, STAMP, STAMP) haematoxylin of nuclei; area and absorbed light are equal for every `kind`."""
    y, x = np.mgrid[:STAMP, :STAMP] - (STAMP - 1) / 2
    one = (BANK, 1, 1)
    angle, flat = rng.uniform(0, np.pi, one), rng.uniform(1.0, 1.35, one)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    radius, theta = np.hypot(along / flat, across * flat), np.arctan2(across * flat, along / flat)
    waves = [np.cos(k * theta + rng.uniform(0, 2 * np.pi, one)) * rng.normal(0, 1 / k, one) for k in (3, 4, 5)]
    outline = 1 + (0.06 + 0.18 * kind) * sum(waves, np.zeros(one))
    areas = area * np.exp(rng.normal(0, 0.25, one))
    reach = np.sqrt(areas / np.pi / (outline**2).mean((1, 2), keepdims=True)) * outline
    shape = np.clip((reach - radius) / 1.5 + 0.5, 0, 1)
    shape *= areas / shape.sum((1, 2), keepdims=True)
    grain = ndimage.gaussian_filter(rng.standard_normal((BANK, STAMP, STAMP)), (0, 1.3, 1.3))
    grain = np.tanh(1.5 * grain / grain.std())
    texture = np.clip(1 + (0.12 + 0.75 * kind) * grain, 0.05, None)
    tones = tone * np.exp(rng.normal(0, 0.12, one))
    even, clumped = shape * tones, shape * texture * tones
    density = STAINS[0, :2].mean()  # red and green, where haematoxylin absorbs most
    wanted = (1 - np.exp(-density * even)).sum((1, 2), keepdims=True)
    for _ in range(6):  # light passes between clumps, so they need more dye to be equally dark
        clumped *= wanted / (1 - np.exp(-density * clumped)).sum((1, 2), keepdims=True)
    return np.asarray(clumped, np.float32)


def _stamp(rng: np.random.Generator, canvas: Floats, centres: NDArray[np.int64], bank: Floats) -> None:
    """Draw a random nucleus of the bank at each centre; overlapping nuclei keep the darker value."""
    offsets = np.arange(STAMP) - STAMP // 2
    rows = (centres[:, 0, None] + offsets)[:, :, None]
    cols = (centres[:, 1, None] + offsets)[:, None, :]
    np.maximum.at(canvas, (rows, cols), bank[rng.integers(len(bank), size=len(centres))])


def _stain(rng: np.random.Generator, tissue: Floats, nuclei: Floats) -> NDArray[np.uint8]:
    """Compute the light through haematoxylin and eosin (Beer-Lambert), with a random stain and camera noise."""
    size = len(tissue)
    fibres = np.cos(14 * _noise(rng, size, 320) + 1.5 * _noise(rng, size, 40))
    eosin = 0.55 + 0.07 * fibres + 0.04 * _noise(rng, size, 6) + 0.09 * _noise(rng, size, 130)
    np.maximum(eosin, 0.12, out=eosin)
    eosin *= tissue * np.float32(rng.uniform(0.85, 1.15))
    eosin *= 1 - 0.5 * np.minimum(nuclei, 1)
    haematoxylin = nuclei + np.float32(0.08) * tissue
    grain = rng.standard_normal((size, size), np.float32) * np.float32(2.5)
    pixels = np.empty((size, size, 3), np.uint8)
    for channel, (h, e) in enumerate((STAINS * rng.normal(1, 0.04, STAINS.shape)).astype(np.float32).T):
        light = -h * haematoxylin
        light -= e * eosin
        np.exp(light, out=light)
        light *= np.float32(GLASS)
        light += grain
        pixels[..., channel] = np.clip(light, 0, 255, out=light)
    return pixels


def _splits(slides: int) -> list[str]:
    """Return the split of each slide in order: pairs of a negative and a positive slide, divided by SPLITS."""
    bounds = np.round(np.cumsum(list(SPLITS.values())) * slides / 2) * 2
    return [list(SPLITS)[int(np.searchsorted(bounds[:-1], number, side="right"))] for number in range(slides)]


def write_pyramid(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write a tiled JPEG pyramid with levels 1, 1/4 and 1/16; equal pixels give equal bytes.

    Parameters
    ----------
    path
        The OME-TIFF file; an earlier synthetic slide there is replaced.
    pixels
        (h, w, 3) uint8 RGB at 0.5 um/px.

    Raises
    ------
    OverwriteError
        If another file is there.
    """
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg", "compressionargs": {"level": 90}}
    size = {f"PhysicalSize{axis}": MPP for axis in "XY"} | {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
    name = uuid.uuid5(uuid.NAMESPACE_OID, hashlib.sha256(pixels.tobytes()).hexdigest())  # tifffile's default is random
    metadata = {"axes": "YXS", "UUID": f"urn:uuid:{name}", **size}
    with replacing(path, is_synthetic) as temporary, tifffile.TiffWriter(temporary, ome=True) as tif:
        tif.write(pixels, subifds=2, metadata=metadata, **options)
        for factor in (4, 16):
            tif.write(np.asarray(Image.fromarray(pixels).reduce(factor)), subfiletype=1, **options)


def _write_labels(path: Path, rows: list[list[str]]) -> None:
    write_text(path, csv_text([["slide_id", "case_id", "label", "split"], *rows]), is_demo_labels)
