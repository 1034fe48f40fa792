"""What `lrmil predict` costs beside `lrmil.predict`, and what the commands that compute nothing cost to start.

    python benchmarks/command.py --shared ../shared --work WORK --out WORK/command.md

One slide, tiled from real tissue (as for cost.py) with glass around it. Both load the model and classify the slide; the
command also writes the answer. They take turns in one process; seconds are of processor time, one thread of torch. The
blank slide has the same size and a single piece of tissue: nearly nothing is to be encoded, so that what is left shows.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image

from cost import bundle, write_slide
from lrmil import cli
from lrmil.io.atomic import write_text
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.prediction.inference import predict

GLASS = 243
STARTS = ("encoders", "status", "stop", "reviews", "card", "inspect")
FLOOR = "import torch, timm"


def main() -> None:
    """Measure and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--side", type=int, default=16_384, help="pixels along a side of the slides at 0.5 um/px")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    text = f"{slides_table(options)}\n{starts_table(options)}"
    print(text)
    if options.out:
        write_text(options.out, text)


def slides_table(options: argparse.Namespace) -> str:
    """Markdown: the command beside the function, for each slide."""
    model = options.work / "model"
    if not model.exists():
        save_bundle(model, bundle(options.shared, 2.0))
    lines = [
        "| slide | patches | `lrmil.predict`, s | `lrmil predict`, s | ratio | at least | at most | picture, px | MB |",
        "|---|---:|---:|---:|---:|---:|---:|---|---:|",
    ]
    for name, share in (("a third tissue", 0.33), ("one piece", 0.002)):
        path = slide_with_glass(options, share)
        pairs, patches = measure(path, model, options)
        ratios = [command / function for function, command in pairs]
        picture = options.work / "out" / f"{path.name.split('.')[0]}.png"
        with Image.open(picture) as image:
            side = f"{image.width} x {image.height}"
        cells = [name, str(patches), *(f"{np.median(of):.2f}" for of in zip(*pairs, strict=True))]
        cells += [f"{value:.2f}" for value in (np.median(ratios), min(ratios), max(ratios))]
        lines.append(f"| {' | '.join([*cells, side, f'{picture.stat().st_size / 1e6:.2f}'])} |")
    return "\n".join(lines) + "\n"


def measure(path: Path, model: Path, options: argparse.Namespace) -> tuple[list[tuple[float, float]], int]:
    """Seconds of processor time of function and command in turn, and the number of patches."""
    pairs, patches, out = [], 0, options.work / "out"
    for number in range(options.repeats + 1):
        start = time.process_time()
        patches = len(predict(path, load_bundle(model), "cpu").patches)
        middle = time.process_time()
        shutil.rmtree(out, ignore_errors=True)
        begin = time.process_time()
        arguments = ["predict", path, "--model", model, "--out", out, "--device", "cpu", "--threads", "2"]
        if cli.main(list(map(str, arguments))):
            raise SystemExit(f"lrmil predict of {path} failed.")
        if number:  # the first is what a process loads
            pairs.append((middle - start, time.process_time() - begin))
    return pairs, patches


def slide_with_glass(options: argparse.Namespace, share: float) -> Path:
    """A slide of which a square in the middle, `share` of its area, is tissue."""
    side = options.side
    path = options.work / f"{side}-{round(1000 * share)}.ome.tif"
    if path.exists():
        return path
    inner = max(512, int(side * share**0.5) // 512 * 512)
    tissue = options.work / f"tissue-{inner}.ome.tif"
    write_slide(tissue, options.shared / "data/glas", inner)
    pixels = np.full((side, side, 3), GLASS, np.uint8)
    corner = (side - inner) // 2 // 512 * 512
    pixels[corner : corner + inner, corner : corner + inner] = tifffile.imread(tissue, level=0)
    tissue.unlink()
    kept = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg", "compressionargs": {"level": 85}}
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(pixels, subifds=2, metadata=metadata, **kept)
        for factor in (4, 16):
            tif.write(np.asarray(Image.fromarray(pixels).reduce(factor)), subfiletype=1, **kept)
    return path


def starts_table(options: argparse.Namespace) -> str:
    """Markdown: processor time of whole processes, in turn, and of importing torch and timm."""
    log, slide = options.work / "reviews.jsonl", slide_with_glass(options, 0.002)
    log.write_text("")
    arguments = {
        "encoders": [],
        "status": [options.work],
        "stop": [options.work],
        "reviews": [log],
        "card": [options.work / "model"],
        "inspect": [slide],
    }
    commands = {name: ["-m", "lrmil", name, *map(str, arguments[name])] for name in STARTS}
    found: dict[str, list[float]] = {}
    for _ in range(options.repeats):
        for name, command in {FLOOR: ["-c", FLOOR], **commands}.items():
            found.setdefault(name, []).append(seconds_of([sys.executable, *command]))
    floor = np.median(found[FLOOR])
    lines = ["| process | s | of torch and timm |", "|---|---:|---:|"]
    for name, of in found.items():
        shown = f"`{name}`" if name == FLOOR else f"`lrmil {name}`"
        lines.append(f"| {shown} | {np.median(of):.2f} | {np.median(of) / floor:.2f} |")
    return "\n".join(lines) + "\n"


def seconds_of(command: list[str]) -> float:
    """Processor time of a whole process."""
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(used.ru_utime + used.ru_stime)"
    )
    return float(subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True).stdout)


if __name__ == "__main__":
    main()
