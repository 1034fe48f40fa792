"""What workers cost and gain: `lrmil.predict_slides` on two local workers against the same slides one after another.

    OMP_NUM_THREADS=1 python benchmarks/workers.py --work WORK --out WORK/workers.md

The slides are copies of one synthetic slide, the encoder is MobileNetV2 with random weights, and both ways have one
thread per process. They take turns; the workers stay, and have loaded the model before the clock starts. CPU is the sum
over all processes. The efficiency, T(serial) / (N T(N)), counts only where N cores are idle: the load before each round
is in the table. Exit code 1 if the tables differ in more than seconds, or the workers need more than 1.1 times the CPU.
"""

import argparse
import csv
import os
import shutil
import sys
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import torch

from lrmil.configs import MILConfig
from lrmil.demo.synthetic import make_slide, write_pyramid
from lrmil.io.atomic import write_text
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.models.elsewhere import SameBundle
from lrmil.models.encoders.loading import load_encoder
from lrmil.models.heads.choice import make_mil
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.options import PredictOptions
from lrmil.slides.dask_workers import DaskWorkers
from lrmil.slides.each import IN_PROCESS, Executor
from lrmil.slides.source import SlideSource
from lrmil.slides.workers import Workers
from lrmil.steps import last
from lrmil.tasks.classification import Classification

PATCH, MPP = 128, 1.0
MOST_CPU = 1.1


class Round(NamedTuple):
    """One round of one way, and the load (1 minute) before it."""

    wall: float
    cpu: float
    load: float


def main() -> int:
    """Measure, compare the tables, and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--slides", type=int, default=24)
    parser.add_argument("--side", type=int, default=2048, help="pixels along a side of a slide at 0.5 um/px")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    sources, model = made_slides(options), made_model(options.work / "model")
    rounds: dict[str, list[Round]] = {"serial": [], "workers": []}
    with Workers(options.workers).kept() as workers:
        measured(workers, sources[: 2 * options.workers], model, options.work / "warm")  # the model is loaded
        for _ in range(options.rounds):
            rounds["serial"].append(measured(IN_PROCESS, sources, model, options.work / "serial"))
            rounds["workers"].append(measured(workers, sources, model, options.work / "workers"))
    same = rows_of(options.work / "serial") == rows_of(options.work / "workers")
    text, cpu = table(rounds, options)
    print(text)
    print(f"The tables are {'equal' if same else 'NOT equal'} but for seconds.")
    if options.out:
        write_text(options.out, text)
    return int(not same or cpu > MOST_CPU)


def made_slides(options: argparse.Namespace) -> list[SlideSource]:
    """Draw one slide, and copy it."""
    folder = options.work / f"slides-{options.side}"
    folder.mkdir(parents=True, exist_ok=True)
    first, *others = (folder / f"slide-{place:03}.ome.tif" for place in range(options.slides))
    write_pyramid(first, make_slide("positive", seed=0, size=options.side).pixels)
    for path in others:
        shutil.copyfile(first, path)
    return [SlideSource(path.name.removesuffix(".ome.tif"), path) for path in (first, *others)]


def made_model(folder: Path) -> Path:
    if not folder.exists():
        torch.manual_seed(0)
        encoder = load_encoder("mobilenetv2_100", size=PATCH, pretrained=False)
        mil = make_mil(encoder.dim, 2, MILConfig())
        task = Classification(("negative", "positive"))
        save_bundle(folder, Bundle(task, MPP, PATCH, 0.25, 0.2, encoder, mil, MILConfig()))
    return folder


def measured(executor: Executor, sources: list[SlideSource], model: Path, out: Path) -> Round:
    """Classify all slides into a new folder."""
    shutil.rmtree(out, ignore_errors=True)
    bundle, load, options = load_bundle(model), os.getloadavg()[0], PredictOptions(device="cpu", threads=1)
    same = None if executor is IN_PROCESS else SameBundle.of(bundle, model, "cpu")
    cpu, wall = cpu_of(executor), time.perf_counter()
    rows = last(predict_slides(sources, bundle, out, options, executor=executor, load=same))
    wall, cpu = time.perf_counter() - wall, cpu_of(executor) - cpu
    if failed := [row.message for row in rows if row.status == "failed"]:
        raise SystemExit(f"Slides failed: {failed}")
    return Round(wall, cpu, load)


def cpu_of(executor: Executor) -> float:
    """Return the CPU seconds of this process and of the workers so far."""
    workers = executor.client.run(time.process_time).values() if isinstance(executor, DaskWorkers) else ()
    return time.process_time() + sum(workers)


def rows_of(out: Path) -> list[dict[str, str]]:
    with (out / "predictions.csv").open(newline="") as file:
        return [row | {"seconds": ""} for row in csv.DictReader(file)]


def table(rounds: dict[str, list[Round]], options: argparse.Namespace) -> tuple[str, float]:
    """Return the table, and the CPU of the workers as a multiple of that of one process."""
    lines = ["| way | wall s, each round | CPU s, each round | load before |", "|---|---|---|---|"]
    for name, found in rounds.items():
        way = "one process" if name == "serial" else f"{options.workers} workers"
        cells = [[f"{value:.1f}" for value in values] for values in zip(*found, strict=True)]
        lines.append(f"| {way} | {' | '.join(map(', '.join, cells))} |")
    pairs = list(zip(rounds["serial"], rounds["workers"], strict=True))
    cpu = median(workers.cpu / serial.cpu for serial, workers in pairs)
    gain = median(serial.wall / (options.workers * workers.wall) for serial, workers in pairs)
    what = f"{options.slides} equal slides of {options.side} x {options.side} px, {os.cpu_count()} cores"
    figures = f"CPU {cpu:.2f} times that of one process, efficiency T(serial) / (N T(N)) {gain:.2f} (medians)."
    return "\n".join([*lines, "", f"{what}: {figures}", ""]), cpu


if __name__ == "__main__":
    sys.exit(main())
