"""ABMIL on the classical MIL sets with their published folds, as a check of the MIL head.

    python benchmarks/mil_sets.py --bags ../shared/data/mil_bags --out WORK/mil_sets.md

Published accuracies (mean and standard error over 5 repeats of 10 folds): Ilse, Tomczak and Welling 2018 (arXiv
1802.04712), table 1. Settings follow its appendix where the head allows; nothing is selected on a test fold: the number
of epochs is fixed. musk2 has no published folds here, so stratified ones are drawn.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedKFold
from torch.nn import functional

from lrmil.io.atomic import write_text
from lrmil.models.heads.abmil import ABMIL

PUBLISHED = {  # attention, gated attention
    "musk1": ("0.892 +- 0.040", "0.900 +- 0.050"),
    "musk2": ("0.858 +- 0.048", "0.863 +- 0.042"),
    "fox": ("0.615 +- 0.043", "0.603 +- 0.029"),
    "tiger": ("0.839 +- 0.022", "0.845 +- 0.018"),
    "elephant": ("0.868 +- 0.022", "0.857 +- 0.027"),
}
EPOCHS, RATE, DECAY, BAGS_PER_STEP = 60, 5e-4, 5e-3, 8
HIDDEN, PROJECTION, DROPOUT = 64, 64, 0.25


def main() -> None:
    """Cross-validate both heads on every set and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bags", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(PUBLISHED))
    options = parser.parse_args()
    lines = ["| set | attention | published | gated attention | published |", "|---|---|---|---|---|"]
    for name in options.sets:
        with np.load(options.bags / f"{name}.npz", allow_pickle=False) as data:
            bags, labels = split_bags(data["X"], data["bag"], data["y"])
            folds = data["folds"] if "folds" in data else drawn_folds(labels)
        ours = [cross_validate(bags, labels, folds, gated=gated) for gated in (False, True)]
        cells = [f"{np.mean(values):.3f} +- {np.std(values) / np.sqrt(len(values)):.3f}" for values in ours]
        lines.append(f"| {name} | {cells[0]} | {PUBLISHED[name][0]} | {cells[1]} | {PUBLISHED[name][1]} |")
        print(lines[-1], flush=True)
        write_text(options.out, "\n".join(lines) + "\n")


def split_bags(rows: np.ndarray, bag: np.ndarray, labels: np.ndarray) -> tuple[list[torch.Tensor], np.ndarray]:
    """Bags (n, d) and their labels."""
    bags = [torch.from_numpy(rows[bag == i].astype(np.float32)) for i in range(len(labels))]
    return bags, (labels > 0).astype(int)


def drawn_folds(labels: np.ndarray) -> np.ndarray:
    """Test fold of every bag (repeat, bag) for 5 repeats of 10 stratified folds."""
    folds = np.zeros((5, len(labels)), int)
    for repeat in range(5):
        splitter = StratifiedKFold(10, shuffle=True, random_state=repeat)
        for fold, (_, test) in enumerate(splitter.split(labels, labels)):
            folds[repeat, test] = fold
    return folds


def cross_validate(bags: list[torch.Tensor], labels: np.ndarray, folds: np.ndarray, *, gated: bool) -> list[float]:
    """Accuracy of each of the 50 test folds."""
    accuracies = []
    for repeat, assignment in enumerate(folds):
        for fold in np.unique(assignment):
            test = np.flatnonzero(assignment == fold)
            train = np.flatnonzero(assignment != fold)
            accuracies.append(accuracy(bags, labels, train, test, gated=gated, seed=repeat))
    return accuracies


def accuracy(
    bags: list[torch.Tensor], labels: np.ndarray, train: np.ndarray, test: np.ndarray, *, gated: bool, seed: int
) -> float:
    """Train on some bags for a fixed number of epochs, test on others."""
    torch.manual_seed(seed)
    seen = torch.cat([bags[i] for i in train])
    mean, deviation = seen.mean(0), seen.std(0).clamp(min=1e-6)
    padded, mask = pad([(bag - mean) / deviation for bag in bags])
    target = torch.from_numpy(labels)
    mil = ABMIL(padded.shape[2], 2, HIDDEN, gated, projection_dim=PROJECTION, dropout=DROPOUT)
    optimiser = torch.optim.Adam(mil.parameters(), lr=RATE, weight_decay=DECAY)
    for _ in range(EPOCHS):
        mil.train()
        for group in torch.from_numpy(train)[torch.randperm(len(train))].split(BAGS_PER_STEP):
            longest = int(mask[group].sum(1).max())
            logits = mil(padded[group, :longest], mask[group, :longest]).logits
            optimiser.zero_grad()
            functional.cross_entropy(logits, target[group]).backward()
            optimiser.step()
    mil.eval()
    with torch.inference_mode():
        predicted = mil(padded[test], mask[test]).logits.argmax(1)
    return float((predicted == target[test]).float().mean())


def pad(bags: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Bags as one (b, n, d) tensor with its (b, n) mask."""
    padded = torch.nn.utils.rnn.pad_sequence(bags, batch_first=True)
    mask = torch.arange(padded.shape[1])[None] < torch.tensor([len(bag) for bag in bags])[:, None]
    return padded, mask


if __name__ == "__main__":
    main()
