"""How a slide without a pyramid pans in napari, opened as before (one level and an overview) and with averaged levels.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/flat_panning.py --work WORK --out WORK/flat_panning.md

The slide has 20,000 x 20,000 px in one level (tiled JPEG) of synthetic tissue. Each way of opening runs in a process
of its own, so that memory and caches are its own: the slide is opened and drawn, then the camera pans over it at each
zoom, along the same path. A frame is one step of the camera until the canvas has been drawn. Processor time and the
bytes that were read, as a multiple of the file, are of all this together.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from qtpy.QtWidgets import QApplication

import napari
from cost import own_peak
from lrmil.demo.synthetic import make_slide
from lrmil.io.atomic import write_text
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from napari_lrmil.layers.build import drawn, slide_layer
from panning import MPP, TILE, tiles

SIDE, OVERVIEW = 20_000, 2048  # px
ZOOMS = (1 / 8, 1 / 4, 1 / 2, 1.0)  # pixels on screen for one of the slide
FRAMES, STEP = 30, 100  # of each zoom; px on screen
WAYS = ("one level and an overview", "averaged levels")


def main() -> None:
    """Measure each way in a process, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--rounds", type=int, default=2, help="of both ways in turn; the figures are of all of them")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    path = options.work / "flat.tif"
    if options.way:
        print(json.dumps(measured(path, options.way)))
        return
    if not path.exists():
        write_slide(path)
    found: dict[str, list[dict[str, Any]]] = {way: [] for way in WAYS}
    for _ in range(options.rounds):
        for way in WAYS:
            command = [sys.executable, __file__, "--work", str(options.work), "--way", way]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            found[way].append(json.loads(output.splitlines()[-1]))
    text = table(found)
    print(text)
    if options.out:
        write_text(options.out, text)


def measured(path: Path, way: str) -> dict[str, Any]:
    """Seconds to open and draw, milliseconds of the frames at each zoom, peak memory in MiB."""
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 950)
    QApplication.processEvents()
    with open_slide(path) as slide:
        start, worked, before = time.perf_counter(), time.process_time(), own_peak()
        data, keywords = levels(slide, way)
        viewer.add_image(data, **keywords)
        viewer.reset_view()
        draw(viewer)
        opened = time.perf_counter() - start
        frames = {str(zoom): list(pan(viewer, zoom)) for zoom in ZOOMS}
        out = {
            "opened": opened,
            "frames": frames,
            "memory": own_peak() - before,
            "worked": time.process_time() - worked,
            "read": (slide.bytes_read or 0) / path.stat().st_size,
        }
    viewer.close()
    return out


def levels(slide: Slide, way: str) -> tuple[Any, dict[str, Any]]:
    """Return data and keywords of the slide's layer."""
    data, keywords, _ = slide_layer(slide)
    return (data if way == WAYS[1] else [data[0], drawn(slide.overview(OVERVIEW))]), keywords


def pan(viewer: "napari.Viewer", zoom: float) -> Iterator[float]:
    """Move the camera to and fro along the middle of the slide and give the milliseconds of every frame."""
    camera = viewer.scene.camera
    camera.zoom = zoom / MPP
    for number in range(FRAMES):
        start = time.perf_counter()
        along = (3000 + number * STEP / zoom) % (SIDE - 6000) + 3000
        camera.center = (0, SIDE / 2 * MPP, along * MPP)
        draw(viewer)
        yield 1000 * (time.perf_counter() - start)


def draw(viewer: "napari.Viewer") -> None:
    viewer.window._qt_viewer.canvas.native.repaint()
    QApplication.processEvents()


def write_slide(path: Path) -> None:
    """Repeat the tiles of a synthetic slide, in one level."""
    bank = make_slide("positive", seed=1, size=2048).pixels[512:1536, 512:1536]
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = (SIDE, SIDE, 3)
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(
            tiles(bank, shape),
            shape=shape,
            dtype=np.uint8,
            resolution=(10_000 / MPP,) * 2,
            resolutionunit="CENTIMETER",
            metadata=None,
            tile=(TILE, TILE),
            compression="jpeg",
            compressionargs={"level": 80},
            photometric="rgb",
        )


def table(found: dict[str, list[dict[str, Any]]]) -> str:
    """Markdown."""
    old, new = (found[way] for way in WAYS)
    rows = [("open and draw, s", *(statistics.median(one["opened"] for one in way) for way in (old, new)))]
    for zoom in ZOOMS:
        frames = [[value for one in way for value in one["frames"][str(zoom)]] for way in (old, new)]
        rows.append((f"frame at 1:{1 / zoom:g}, median, ms", *map(statistics.median, frames)))
        rows.append((f"frame at 1:{1 / zoom:g}, longest, ms", *map(max, frames)))
    rows.append(("processor time in all, s", *(statistics.median(one["worked"] for one in way) for way in (old, new))))
    rows.append(("file read, times", *(statistics.median(one["read"] for one in way) for way in (old, new))))
    rows.append(("memory added at the peak, MiB", *(max(one["memory"] for one in way) for way in (old, new))))
    lines = [f"| | {WAYS[0]} | {WAYS[1]} | ratio |", "|---|---|---|---|"]
    lines += [f"| {name} | {before:.3g} | {after:.3g} | {after / before:.2f} |" for name, before, after in rows]
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    main()
