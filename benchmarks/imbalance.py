"""Which `mil.balance` is best where one class is rare, on the frozen features of finished runs.

    python benchmarks/imbalance.py --runs RUN [RUN ...] --out WORK/imbalance.md

Of the training and validation slides of the first fold, all of one class and a few of the other are kept, drawn anew in
each repeat; the test slides of the fold stay as they are. A MIL with the default settings learns from the LR features,
and one from the teacher's. Nothing is selected on test slides. The accuracy is at the shipped threshold; "best" is that
of the best threshold, which no user knows.
"""

import argparse
import csv
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np
import torch

from evidence import best_accuracy
from lrmil import metrics
from lrmil.configs import MILConfig
from lrmil.features.store import read_features
from lrmil.io.atomic import write_text
from lrmil.models.heads.head import predict_bag
from lrmil.steps import last
from lrmil.tasks.classification import Classification
from lrmil.training.bags import Bag
from lrmil.training.loop import FitRun
from lrmil.training.slide_stage import train_mil

BALANCES = get_args(MILConfig.__dataclass_fields__["balance"].type)
FEATURES = {"LR": "lr", "teacher": "regions"}


class Split(NamedTuple):
    """Slides to learn from and to test on: slide id -> label."""

    train: dict[str, str]
    test: dict[str, str]


def main() -> None:
    """Train, test and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, nargs="+", required=True, help="run folders of two classes")
    parser.add_argument("--out", type=Path, required=True)
    text = "slides of one class to one of the other"
    parser.add_argument("--ratios", type=int, nargs="+", default=[5, 10, 20], help=text)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    lines = ["| features | ratio | balance | AUROC | balanced accuracy | best |", "|---|---|---|---|---|---|"]
    for name, folder in FEATURES.items():
        for ratio in options.ratios:
            for balance in BALANCES:
                config = replace(MILConfig(), balance=balance)
                tested = [
                    measure(run / "shared" / folder, split, config, seed)
                    for run in options.runs
                    for seed, split in enumerate(splits(run, ratio, options.repeats))
                ]
                means = " | ".join(f"{value:.3f}" for value in np.mean(tested, axis=0))
                lines.append(f"| {name} | 1:{ratio} | {balance} | {means} |")
                print(lines[-1], flush=True)
                write_text(options.out, "\n".join(lines) + "\n")


def splits(run: Path, ratio: int, repeats: int) -> Iterator[Split]:
    """Yield the first fold with one class rare; each class is the rare one in turn."""
    with (run / "splits.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    rows = [row for row in rows if row["fold"] == rows[0]["fold"]]
    learned = {row["slide_id"]: row["label"] for row in rows if row["part"] != "test"}
    test = {row["slide_id"]: row["label"] for row in rows if row["part"] == "test"}
    classes = sorted(set(learned.values()))
    for repeat in range(repeats):
        rare = classes[repeat % len(classes)]
        few = [slide_id for slide_id, label in learned.items() if label == rare]
        count = max(2, round((len(learned) - len(few)) / ratio))
        kept = set(np.random.default_rng(repeat).choice(few, count, replace=False).tolist())
        yield Split({i: label for i, label in learned.items() if label != rare or i in kept}, test)


def measure(features: Path, split: Split, config: MILConfig, seed: int) -> tuple[float, float, float]:
    """Return AUROC and balanced accuracy on the test slides, at the shipped and at the best threshold."""
    task = Classification(tuple(sorted(set(split.test.values()))))
    bags = [Bag(i, features / f"{i}.zarr", task.target(label), stratum=label) for i, label in split.train.items()]
    with tempfile.TemporaryDirectory() as folder:
        run = FitRun(seed, Path(folder) / "checkpoint.safetensors", "imbalance", torch.device("cpu"))
        mil = last(train_mil(("mil",), bags, [], run, task=task, config=config)).module
    outputs = [predict_bag(mil, torch.from_numpy(read_features(features / f"{i}.zarr").embeddings)) for i in split.test]
    values = np.stack([task.values(output.logits) for output in outputs])
    targets = [task.target(label) for label in split.test.values()]
    found = metrics.auroc(targets, values), metrics.balanced_accuracy(targets, values)
    return (*map(float, found), best_accuracy(np.array(targets), values[:, 1]))


if __name__ == "__main__":
    main()
