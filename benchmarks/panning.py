"""How a large slide pans in napari while nothing runs and while it is classified: frame times, memory, in one process.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/panning.py --work WORK --out WORK/panning.md

The slide has 40,000 x 30,000 px (tiled JPEG, levels 1, 1/4, 1/16) of synthetic tissue. A frame is one step of the
camera at full resolution until the canvas has been drawn. Idle and busy frames alternate in blocks along the same kind
of path, so that both meet fresh tiles. The model reads 2.0 um/px with a MobileNetV2 of random weights, whose cost is a
real one's. Memory is measured again after as many idle frames more, to tell a bound from growth.
"""

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image
from qtpy.QtWidgets import QApplication

import napari
from cost import own_peak
from lrmil.configs import MILConfig
from lrmil.demo.synthetic import make_slide
from lrmil.io.atomic import write_text
from lrmil.models.bundle import Bundle, save_bundle
from lrmil.models.encoders.loading import load_encoder
from lrmil.models.heads.choice import make_mil
from lrmil.slides.opening import open_slide
from lrmil.tasks.classification import Classification
from napari_lrmil.layers.build import slide_layer
from napari_lrmil.session.session import Session
from napari_lrmil.session.viewers import session_of

WIDTH, HEIGHT, TILE, MPP = 40_000, 30_000, 256, 0.5
STEP_UM = 50.0  # 100 px at full resolution on screen
BLOCK = 40  # frames in a row, idle or busy


def main() -> None:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--blocks", type=int, default=5, help="of each kind")
    options = parser.parse_args()
    path, model = options.work / "panning.tif", options.work / "panning-model"
    if not path.exists():
        write_slide(path)
    if not model.exists():
        save_bundle(model, bundle())
    viewer = napari.Viewer(show=True)
    viewer.window.resize(1500, 950)
    with open_slide(path) as slide:
        data, keywords, _ = slide_layer(slide)
        layer = viewer.add_image(data, **keywords)
        session = session_of(viewer)
        session.load_model(model)
        wait(session)
        imported = own_peak()
        camera = viewer.scene.camera
        camera.zoom = 1 / MPP
        frames: dict[str, list[float]] = {"idle": [], "busy": []}
        for block in range(options.blocks):
            frames["idle"] += list(pan(viewer, row=2 * block))
            session.classify(layer, device="cpu")
            while session.shown is None and session.jobs.busy:
                QApplication.processEvents()
            busy = list(pan(viewer, row=2 * block + 1, while_busy=session))
            frames["busy"] += busy
            session.jobs.cancel()
            wait(session)
            session.show(None)
        after = own_peak()
        for block in range(2 * options.blocks, 4 * options.blocks):
            list(pan(viewer, row=block))
        text = table(frames, imported, after, own_peak())
    viewer.close()
    print(text)
    if options.out:
        write_text(options.out, text)


def pan(viewer: "napari.Viewer", *, row: int, while_busy: Session | None = None) -> Iterator[float]:
    """Move the camera right along a row of the slide and give the milliseconds of every frame."""
    camera = viewer.scene.camera
    native = viewer.window._qt_viewer.canvas.native
    for number in range(BLOCK):
        start = time.perf_counter()
        camera.center = (0, 1000.0 + 650.0 * row, 2000.0 + STEP_UM * number)
        native.repaint()
        QApplication.processEvents()
        if while_busy is not None and not while_busy.jobs.busy:
            raise SystemExit("Expected the classification to last as long as the panning. It ended; use fewer frames.")
        yield 1000 * (time.perf_counter() - start)


def wait(session: Session) -> None:
    """Let the session's job end."""
    while session.jobs.busy:
        QApplication.processEvents()
        time.sleep(0.005)


def bundle() -> Bundle:
    """A model with random weights."""
    encoder = load_encoder("mobilenetv2_100", size=256, pretrained=False)
    return Bundle(
        Classification(("a", "b")), 2.0, 256, 0.25, 0.2, encoder, make_mil(encoder.dim, 2, MILConfig()), MILConfig()
    )


def write_slide(path: Path) -> None:
    """Repeat the tiles of a synthetic slide; each level is written tile by tile."""
    pixels = make_slide("positive", seed=1, size=2048).pixels
    middle = pixels[512:1536, 512:1536]
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"tile": (TILE, TILE), "compression": "jpeg", "compressionargs": {"level": 80}, "photometric": "rgb"}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        for index, factor in enumerate((1, 4, 16)):
            bank = np.asarray(Image.fromarray(middle).reduce(factor)) if factor > 1 else middle
            bank = np.tile(bank, (max(1, TILE * 4 // len(bank)), max(1, TILE * 4 // len(bank)), 1))
            shape = (HEIGHT // factor, WIDTH // factor, 3)
            tif.write(
                tiles(bank, shape),
                shape=shape,
                dtype=np.uint8,
                subfiletype=min(index, 1),
                resolution=(10_000 / (MPP * factor),) * 2,
                resolutionunit="CENTIMETER",
                metadata=None,
                **options,
            )


def tiles(bank: NDArray[np.uint8], shape: tuple[int, int, int]) -> Iterator[NDArray[np.uint8]]:
    """Tiles of a level in reading order, drawn from the bank at random."""
    rng = np.random.default_rng(0)
    count = len(bank) // TILE
    for _ in range(-(-shape[0] // TILE) * -(-shape[1] // TILE)):
        row, column = rng.integers(count, size=2) * TILE
        yield bank[row : row + TILE, column : column + TILE]


def table(frames: dict[str, list[float]], before: float, after: float, later: float) -> str:
    """Markdown."""
    lines = ["| | frames | median, ms | 90th percentile, ms | longest, ms |", "|---|---|---|---|---|"]
    for name, values in frames.items():
        ninetieth = statistics.quantiles(values, n=10)[-1]
        lines.append(
            f"| {name} | {len(values)} | {statistics.median(values):.0f} | {ninetieth:.0f} | {max(values):.0f} |"
        )
    ratio = statistics.median(frames["busy"]) / statistics.median(frames["idle"])
    return "\n".join(
        [
            *lines,
            "",
            f"Busy to idle, medians: {ratio:.1f}. Peak resident memory: {before:.0f} MiB with napari, torch and the "
            f"model loaded, {after:.0f} MiB after these frames, {later:.0f} MiB after as many idle ones again; all "
            f"levels of the slide have {WIDTH * HEIGHT * 3 * 273 // 256 >> 20} MiB.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
