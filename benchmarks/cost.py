"""What a slide costs at low resolution against high: seconds, bytes read, patches, peak memory, in one process.

    python benchmarks/cost.py --shared ../shared --work WORK --out WORK/cost.md

The slide is a square of real tissue (glas images as tiles). Both paths are `lrmil.predict` with the same encoder, batch
size and threads; they differ in the resolution alone. The MIL heads are untrained: their weights do not change what
anything costs. They take turns, each first cold, with nothing of the file in the system's cache (as far as the system
lets go of it: a disk may have a cache of its own), then warm, with all of it.
"""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import tifffile
import torch
from PIL import Image

from lrmil.configs import MILConfig
from lrmil.io.atomic import write_text
from lrmil.models.bundle import Bundle
from lrmil.models.encoders.loading import load_encoder
from lrmil.models.heads.choice import make_mil
from lrmil.prediction.inference import predict
from lrmil.prediction.prediction import Prediction
from lrmil.tasks.classification import Classification

CELL, PATCH, BATCH = 512, 128, 64


def main() -> None:
    """Measure both paths and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--side", type=int, default=16_384, help="pixels along a side of the slide at 0.5 um/px")
    parser.add_argument("--repeats", type=int, default=3, help="of each path, cold and warm")
    parser.add_argument("--memory", type=float, help=argparse.SUPPRESS)
    options = parser.parse_args()
    slide = options.work / f"{options.side}.ome.tif"
    if not slide.exists():
        write_slide(slide, options.shared / "data/glas", options.side)
    if options.memory:
        predict(slide, bundle(options.shared, options.memory), "cpu", batch_size=BATCH)
        print(own_peak())
        return
    models = {"LR": bundle(options.shared, 2.0), "HR": bundle(options.shared, 0.5)}
    predict(slide, models["LR"], "cpu", batch_size=BATCH)  # what the first call of a process loads
    runs: dict[tuple[str, str], list[Prediction]] = {}
    for _ in range(options.repeats):
        for name, model in models.items():
            forget(slide)
            for state in ("cold", "warm"):
                runs.setdefault((name, state), []).append(predict(slide, model, "cpu", batch_size=BATCH))
                slide.read_bytes()
    text = table(runs, peak_memory(options))
    print(text)
    if options.out:
        write_text(options.out, text)


def forget(path: Path) -> None:
    """Ask the system to drop a file from its cache."""
    with path.open("rb") as file:
        os.fsync(file.fileno())  # what is not written yet is not dropped
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def write_slide(path: Path, glas: Path, side: int) -> None:
    """Tile crops of the glas images, drawn at random, into one pyramid (levels 1, 1/4, 1/16)."""
    with (glas / "manifest.csv").open() as file:
        names = [row["file"] for row in csv.DictReader(file)]
    rng = np.random.default_rng(0)
    pixels = np.zeros((side, side, 3), np.uint8)
    for top in range(0, side, CELL):
        for left in range(0, side, CELL):
            image = Image.open(glas / names[rng.integers(len(names))]).convert("RGB")
            crop = image.crop((0, 0, CELL, min(CELL, image.height))).resize((CELL, CELL))
            pixels[top : top + CELL, left : left + CELL] = np.rot90(np.asarray(crop), rng.integers(4))
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"photometric": "rgb", "tile": (256, 256), "compression": "jpeg", "compressionargs": {"level": 85}}
    metadata = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    with tifffile.TiffWriter(path, ome=True) as tif:
        tif.write(pixels, subifds=2, metadata=metadata, **options)
        for factor in (4, 16):
            tif.write(np.asarray(Image.fromarray(pixels).reduce(factor)), subfiletype=1, **options)


def bundle(shared: Path, mpp: float) -> Bundle:
    """A model at a resolution, with the real encoder and an untrained MIL."""
    encoder = load_encoder(f"local-dir:{shared / 'weights/mobilenetv2_100'}", size=PATCH)
    torch.manual_seed(0)
    mil = make_mil(encoder.dim, 2, MILConfig())
    return Bundle(Classification(("negative", "positive")), mpp, PATCH, 0.25, 0.2, encoder, mil, MILConfig())


def own_peak() -> float:
    """MiB at most resident so far; getrusage would count what the parent had before it started this process."""
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) / 1024


def peak_memory(options: argparse.Namespace) -> dict[str, float]:
    """MiB at most resident, of a process that only imports, and of one that predicts at 2.0 um/px."""
    code = "import sys; sys.path.insert(0, sys.argv[1]); import cost; print(cost.own_peak())"
    commands = {
        "imports": [sys.executable, "-c", code, Path(__file__).parent],
        "predict": [
            *(sys.executable, __file__, "--shared", options.shared, "--work", options.work),
            *("--side", options.side, "--memory", "2.0"),
        ],
    }
    return {
        name: float(subprocess.run(list(map(str, command)), check=True, capture_output=True, text=True).stdout)
        for name, command in commands.items()
    }


def table(runs: dict[tuple[str, str], list[Prediction]], memory: dict[str, float]) -> str:
    """Markdown."""
    lr, hr = runs["LR", "warm"][0], runs["HR", "warm"][0]
    lines = ["| | LR, 2.0 um/px | HR, 0.5 um/px | HR / LR |", "|---|---|---|---|"]
    for state in ("cold", "warm"):
        seconds = {name: [run.timings["total"] for run in runs[name, state]] for name in ("LR", "HR")}
        ratios = np.divide(seconds["HR"], seconds["LR"])
        cells = (f"{np.median(of):.2f} ({min(of):.2f} to {max(of):.2f})" for of in seconds.values())
        spread = f"{np.median(ratios):.1f} ({ratios.min():.1f} to {ratios.max():.1f})"
        lines.append(f"| seconds, end to end, {state} | {' | '.join(cells)} | {spread} |")
    for what, (low, high) in {
        "bytes read": (lr.bytes_read or 0, hr.bytes_read or 0),
        "patches": (len(lr.patches), len(hr.patches)),
    }.items():
        lines.append(f"| {what} | {low:,} | {high:,} | {high / max(1, low):.1f} |")
    lines += [
        "",
        *(
            f"{name}, warm, seconds by stage: "
            + "; ".join(f"{stage} {value:.2f}" for stage, value in one.timings.items() if stage != "total")
            + "."
            for name, one in (("LR", lr), ("HR", hr))
        ),
        "",
        f"Peak resident memory: {memory['predict']:.0f} MiB for predict at 2.0 um/px, of which "
        f"{memory['imports']:.0f} MiB are Python, torch and the libraries before anything is opened.",
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
