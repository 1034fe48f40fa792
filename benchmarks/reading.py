"""How fast patches are read, against OpenSlide on the same file, side by side in one run.

    python benchmarks/reading.py --work WORK --out WORK/reading.md

The script makes its slides: 7,680 x 7,680 px of synthetic tissue at 0.5 um/px, levels 1, 1/4 and 1/16, as JPEG and
JPEG 2000 (tiles as Aperio writes them) and deflate. Each is read by the two in turn, opened anew every round, in one
thread; what counts is the time of the processor, which other work on the machine hardly changes. OpenSlide reads the
level that is nearest, and Pillow shrinks what it gives, as most programs do. `--slide` adds a slide of your own.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from itertools import product
from pathlib import Path

import numpy as np
import openslide
import tifffile
from numpy.typing import NDArray
from PIL import Image

from lrmil.demo.synthetic import make_slide
from lrmil.io.atomic import write_text
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide

SIDE, MPP, PATCH = 7_680, 0.5, 256
APERIO_RGB = 33005
LEAST = {"jpeg": 2.0, "deflate": 2.5, "jpeg 2000": 1.0}  # patches a second, as a multiple of OpenSlide's
Corners = list[tuple[float, float]]


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--slide", type=Path, action="append", default=[], help="a slide that OpenSlide opens too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--patches", type=int, default=36, help="read in each round, row by row")
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    slides = {name: slide_of(options.work, name) for name in LEAST} | {path.name: path for path in options.slide}
    lines = [
        "| slide | um/px | lrmil patches/s | OpenSlide patches/s | ratio | at least | largest difference |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for (name, path), mpp in product(slides.items(), (MPP, 4 * MPP)):
        lines.append(row(name, path, mpp, rounds=options.rounds, patches=options.patches))
        print(lines[-1])
    if options.out:
        write_text(options.out, "\n".join(lines) + "\n")


def slide_of(folder: Path, kind: str) -> Path:
    """Write a slide, unless it is there."""
    path = folder / f"reading-{kind.replace(' ', '')}.{'tif' if kind == 'deflate' else 'svs'}"
    if path.exists():
        return path
    parts = [[make_slide("negative", seed=(row, column)).pixels for column in range(3)] for row in range(3)]
    pixels = np.concatenate([np.concatenate(some, axis=1) for some in parts])
    about = f"Aperio Image Library v12.0.15 \r\n{SIDE}x{SIDE} [0,0 {SIDE}x{SIDE}] (256x256)|AppMag = 20|MPP = {MPP}"
    compression = kind.replace(" ", "")
    quality = {"jpeg": {"level": 80}, "jpeg2000": {"level": 40, "mct": False}}.get(compression)
    options = {"tile": (256, 256), "photometric": "rgb", "metadata": None}
    options |= {"compression": compression, "compressionargs": quality}
    centimetre = {"resolution": (1e4 / MPP, 1e4 / MPP), "resolutionunit": 3} if kind == "deflate" else {}
    with tifffile.TiffWriter(path) as tif:
        for factor in (1, 4, 16):
            level = pixels if factor == 1 else np.asarray(Image.fromarray(pixels).reduce(factor))
            marked = min(factor - 1, 1) if kind == "deflate" else 0
            tif.write(
                level, description=None if kind == "deflate" else about, subfiletype=marked, **options, **centimetre
            )
            if factor == 1 and kind != "deflate":  # the second page of an SVS is its thumbnail
                thumbnail = np.asarray(Image.fromarray(pixels).reduce(16))
                tif.write(thumbnail, description="Aperio\r\nthumbnail", photometric="rgb", metadata=None)
    if kind == "jpeg 2000":
        with tifffile.TiffFile(path, mode="r+") as opened:
            for page in opened.pages:
                if page.compression != 1:
                    page.tags["Compression"].overwrite(APERIO_RGB)
    return path


def row(name: str, path: Path, mpp: float, *, rounds: int, patches: int) -> str:
    """Read the same patches by the two in turn, and give a row of the table."""
    with open_slide(path) as slide:
        ours, theirs = corners_of(slide, mpp, patches), openslide.OpenSlide(path)
        difference = max(
            int(
                np.abs(
                    slide.read_region(corner, (PATCH, PATCH), mpp).astype(int) - by_openslide(theirs, corner, mpp)
                ).max()
            )
            for corner in ours[:4]
        )
        theirs.close()
    times: dict[str, list[float]] = {"lrmil": [], "openslide": []}
    for _ in range(rounds):
        times["lrmil"].append(seconds_of_lrmil(path, ours, mpp))
        times["openslide"].append(seconds_of_openslide(path, ours, mpp))
    speed = {who: len(ours) / statistics.median(some) for who, some in times.items()}
    least = f"{LEAST[name]:g}" if name in LEAST and mpp != MPP else ""
    ratio = speed["lrmil"] / speed["openslide"]
    return (
        f"| {name} | {mpp:g} | {speed['lrmil']:.0f} | {speed['openslide']:.0f} | {ratio:.2f} | {least} | {difference} |"
    )


def corners_of(slide: Slide, mpp: float, patches: int) -> Corners:
    """Corners of patches of a grid, row by row from the middle of the slide, in pixels of level 0."""
    step = PATCH * mpp / slide.mpp
    width, height = slide.dimensions
    rows, columns = range(int(height // step)), range(int(width // step))
    grid = [(row * step, column * step) for row, column in product(rows, columns)]
    first = max(0, len(grid) - patches) // 2
    return grid[first : first + patches]


def seconds_of_lrmil(path: Path, corners: Corners, mpp: float) -> float:
    """Processor time that the patches take; opening does not count."""
    with open_slide(path) as slide:
        return seconds(lambda: [slide.read_region(corner, (PATCH, PATCH), mpp) for corner in corners])


def seconds_of_openslide(path: Path, corners: Corners, mpp: float) -> float:
    """Processor time that the patches take; opening does not count."""
    with openslide.OpenSlide(path) as slide:
        return seconds(lambda: [by_openslide(slide, corner, mpp) for corner in corners])


def by_openslide(slide: openslide.OpenSlide, corner: tuple[float, float], mpp: float) -> NDArray[np.uint8]:
    """Read a patch as most programs do."""
    own = float(slide.properties.get("openslide.mpp-x", MPP))
    level = slide.get_best_level_for_downsample(mpp / own * 1.01)
    side = round(PATCH * mpp / own / slide.level_downsamples[level])
    read = slide.read_region((round(corner[1]), round(corner[0])), level, (side, side)).convert("RGB")
    return np.asarray(read if side == PATCH else read.resize((PATCH, PATCH), Image.Resampling.BOX))


def seconds(work: Callable[[], object]) -> float:
    """Processor time of this process, all threads together."""
    start = time.process_time()
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
