"""What a model's abstention is worth on test slides, on halves of them that are exchangeable, and when colours change.

    python benchmarks/abstention.py --out WORK/abstention.md RUN [RUN ...]

RUN is a finished run whose table has a column "split": the shipped model was not trained on the test slides. Those are
read again as they are, and with their patches changed on purpose before they are encoded: stain by stain, darker,
blurred, and grey. Coverage is also measured between halves of the test slides, drawn 200 times: one half calibrates the
sets and the other is covered, as slides that could as well have been in the other half.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from lrmil.features.appearance import appearance, patch_colours
from lrmil.io.atomic import write_text
from lrmil.io.documents import read_split_rows
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.familiarity import unfamiliar
from lrmil.models.heads.head import predict_bag
from lrmil.patches.loading import load_patches
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.runs.plan_file import read_plan
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from lrmil.slides.source import slide_id_of
from lrmil.tasks.abstention import Abstention, abstention_figures
from lrmil.tasks.answers import Answer
from lrmil.tasks.decision import Decision, fit_sets
from lrmil.training.stain import StainChanges, vary_stains

Pixels = NDArray[np.uint8]
Change = Callable[[Pixels], Pixels]
HALVES = 200


def stains(factor: tuple[float, float, float], offset: tuple[float, float, float] = (0, 0, 0)) -> Change:
    """Return a change of the amounts of haematoxylin, eosin and DAB."""

    def change(pixels: Pixels) -> Pixels:
        changes = StainChanges(
            *(torch.tensor([values] * len(pixels), dtype=torch.float32) for values in (factor, offset))
        )
        return np.asarray(vary_stains(torch.from_numpy(pixels).float(), changes).round().numpy(), np.uint8)

    return change


CHANGES: dict[str, Change] = {
    "as scanned": lambda pixels: pixels,
    "haematoxylin 1.2, eosin 0.85": stains((1.2, 0.85, 1)),
    "haematoxylin 0.6, eosin 1.5": stains((0.6, 1.5, 1)),
    "both 0.5": stains((0.5, 0.5, 1)),
    "shifted by 0.1": stains((1, 1, 1), (0.1, -0.1, 0.15)),
    "30 % darker": lambda pixels: (pixels * 0.7).astype(np.uint8),
    "blurred by 2 px": lambda pixels: gaussian_filter(pixels, (0, 2, 2, 0)),
    "grey": lambda pixels: np.repeat(pixels.mean(-1, keepdims=True), 3, -1).astype(np.uint8),
}


def main() -> None:
    """Measure and tabulate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--every", type=int, default=1, help="of the test slides, every n-th")
    options = parser.parse_args()
    head = "| run | patches | slides | uncertain | wrong | wrong and not uncertain | class in the set | reasons |"
    lines, halves = [head, "|" + "---|" * 8], []
    for run in options.runs:
        rows, covered = measure(run, options.every)
        lines += [f"| {' | '.join(row)} |" for row in rows]
        halves.append(f"{run}: coverage of halves at 0.9, mean of {HALVES}: {covered}.")
        print("\n".join([*lines[-len(rows) :], halves[-1]]), flush=True)
    write_text(options.out, "\n".join([*lines, "", *halves]) + "\n")


def measure(run: Path, every: int) -> tuple[list[list[str]], str]:
    """Return a row for each change of the patches, and the coverage of halves as they were scanned."""
    bundle, (_, slides, _) = load_bundle(run / "model"), read_plan(run)
    tested = [(row[1], row[3]) for row in read_split_rows(run / "splits.csv") if row[4] == "test"][::every]
    paths = {slide_id_of(path): path for path in find_slides([Path(slides)])}
    targets = [bundle.task.target(label) for _, label in tested]
    said: dict[str, list[Answer]] = {name: [] for name in CHANGES}
    values = []
    for slide_id, _ in tested:
        answers = answers_of(bundle, paths[slide_id])
        for name, answer in answers.items():
            said[name].append(answer)
        values.append(list(answers["as scanned"].values.values()))
    rows = [row(run, name, abstention_figures(bundle.task, targets, answers)) for name, answers in said.items()]
    return rows, coverage_of_halves(np.array(values), np.array(targets))


def answers_of(bundle: Bundle, path: Path) -> dict[str, Answer]:
    """Return what the model says of a slide, by change of its patches."""
    found = {}
    encoder = PatchEncoder(bundle.encoder, torch.device("cpu"), batch_size=64)
    plan = PatchPlan(bundle.mpp, bundle.patch_size, min_tissue=bundle.min_tissue, max_failed=bundle.max_failed)
    with open_slide(path) as slide:
        patches = patches_of(slide, plan)
        batches = list(load_patches(slide, patches.level0_yx, size=plan.size, mpp=plan.mpp, batch_size=64))
    pixels, failed = np.concatenate([batch.pixels for batch in batches]), sum(len(batch.failed) for batch in batches)
    for name, change in CHANGES.items():
        changed = change(pixels)
        embeddings = np.concatenate([encoder(changed[start : start + 64])[0] for start in range(0, len(changed), 64)])
        logits = predict_bag(bundle.mil, torch.from_numpy(embeddings)).logits
        look = appearance(patch_colours(changed), embeddings)
        doubts = unfamiliar(bundle.familiarity, look, patches=len(patches), failed=failed)
        found[name] = bundle.task.answer(bundle.values(logits), bundle.decision).with_doubts(doubts)
    return found


def row(run: Path, name: str, found: Abstention) -> list[str]:
    """Return the cells of a row."""
    reasons = ", ".join(f"{reason} {count}" for reason, count in found["reasons"].items())
    counts = [found["slides"], found["uncertain"], found["wrong"], found["wrong_answered"], found["in_set"]]
    return [str(run), name, *map(str, counts), reasons]


def coverage_of_halves(values: NDArray[np.float64], targets: NDArray[np.int64]) -> str:
    """Return how often the sets of one half of the test slides have the class of the other half's."""
    rng, shares = np.random.default_rng(0), []
    for _ in range(HALVES):
        order = rng.permutation(len(targets))
        first, second = order[: len(order) // 2], order[len(order) // 2 :]
        sets = fit_sets(values[first], targets[first], 0.9)
        if sets is not None:
            plausible = Decision(sets=sets).plausible(values[second])
            shares.append(plausible[np.arange(len(second)), targets[second]].mean())
    return f"{np.mean(shares):.3f}" if shares else "too few slides"


if __name__ == "__main__":
    main()
