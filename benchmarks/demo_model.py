"""How long the demonstration's model takes to make, and what it does on synthetic slides that it has not seen.

    python benchmarks/demo_model.py --work WORK --out WORK/demo_model.md

The new slides are drawn with seeds of their own at the strength of the demonstration. Attention is compared with the
share of the patches' area that lies in positive regions: what attention spread evenly would have there.
"""

import argparse
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lrmil.demo.model import demo_model_steps
from lrmil.demo.slide import STRENGTH, demo_slide
from lrmil.demo.synthetic import LABELS, Region, make_slide, write_pyramid
from lrmil.io.atomic import write_text
from lrmil.metrics import auroc
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.prediction.inference import predict
from lrmil.prediction.prediction import Prediction
from lrmil.steps import last

SEED = 90_210  # of no other slide in the project


class Seen(NamedTuple):
    """What the model says of one new slide."""

    positive: bool
    probability: float
    attention: float
    """Share of the attention in positive regions."""
    area: float
    """Share of the patches' area in positive regions."""


def main() -> None:
    """Make the model, look at new slides, write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="kept between calls; time is that of the first")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--slides", type=int, default=40, help="new slides of each size, half of them positive")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 3072])
    options = parser.parse_args()
    start = time.perf_counter()
    model = load_bundle(last(demo_model_steps(options.work, device="cpu")))
    made = time.perf_counter()
    demo_slide(options.work)
    drawn = time.perf_counter()
    lines = [
        f"Model {made - start:.1f} s, slide {drawn - made:.1f} s.",
        "",
        "| new slides | AUROC | accuracy | attention in positive regions | their share of the area |",
        "|---|---|---|---|---|",
        *(row(size, [look(model, options.work, size, i) for i in range(options.slides)]) for size in options.sizes),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.out:
        write_text(options.out, text)


def look(model: Bundle, work: Path, size: int, number: int) -> Seen:
    """Draw a new slide and classify it."""
    slide = make_slide(LABELS[number % 2], seed=(SEED, size, number), size=size, strength=STRENGTH)
    path = work / "new.ome.tif"
    write_pyramid(path, slide.pixels)
    prediction = predict(path, model, "cpu")
    share = shares(prediction, slide.regions, size)
    attention = float(prediction.patch_attention @ share / prediction.patch_attention.sum())
    return Seen(number % 2 == 1, prediction.probabilities[LABELS[1]], attention, float(share.mean()))


def shares(prediction: Prediction, regions: tuple[Region, ...], size: int) -> np.ndarray:
    """(n,) share of each patch that lies in positive regions."""
    inside = np.zeros((size, size), bool)
    for (top, left), side in regions:
        inside[top : top + side, left : left + side] = True
    side = round(prediction.patches.size_level0)
    return np.array([inside[y : y + side, x : x + side].mean() for y, x in prediction.patches.level0_yx])


def row(size: int, seen: list[Seen]) -> str:
    """Figures of one size."""
    labels = np.array([one.positive for one in seen], int)
    probability = np.array([one.probability for one in seen])
    area = auroc(labels, np.stack([1 - probability, probability], 1))
    positive = [one for one in seen if one.positive]
    attention, even = (float(np.mean([getattr(one, name) for one in positive])) for name in ("attention", "area"))
    accuracy = ((probability > 0.5) == labels).mean()
    return f"| {len(seen)} of {size:,} px | {area:.3f} | {accuracy:.3f} | {attention:.2f} | {even:.2f} |"


if __name__ == "__main__":
    main()
