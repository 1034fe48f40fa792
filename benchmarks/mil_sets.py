"""The MIL heads on the classical MIL sets with their published folds, as a check of the heads.

    python benchmarks/mil_sets.py --bags ../shared/data/mil_bags --out WORK/mil_sets.md

All heads have the same settings, those of Ilse's appendix where they allow it. Nothing is selected on a test fold: the
number of epochs is fixed. The column "best on the test fold" is what comes out otherwise: of each test fold, the best
epoch at its best threshold, as the published code of DSMIL counts. musk2 has no published folds here, so stratified
ones are drawn. `--repeats 1` takes the first of five assignments to ten folds.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import roc_curve
from sklearn.model_selection import StratifiedKFold
from torch.nn import functional

from lrmil.configs import MILConfig
from lrmil.io.atomic import write_text
from lrmil.models.heads.choice import make_mil
from lrmil.models.heads.head import HasAuxiliaryLoss, MILOutput

SETS = ("musk1", "musk2", "fox", "tiger", "elephant")
EPOCHS, RATE, DECAY, BAGS_PER_STEP = 60, 5e-4, 5e-3, 8
SHARED = {"hidden_dim": 64, "projection_dim": 64, "dropout": 0.25}
LINEAR = {**SHARED, "projection_dim": 0}
HEADS = {
    "abmil, plain": MILConfig(head="abmil", gated=False, **SHARED),
    "abmil, gated": MILConfig(head="abmil", **SHARED),
    "mean": MILConfig(head="mean", **SHARED),
    "mean, linear": MILConfig(head="mean", **LINEAR),
    "max": MILConfig(head="max", **SHARED),
    "max, linear": MILConfig(head="max", **LINEAR),
    "transmil": MILConfig(head="transmil", **SHARED),
    "dsmil": MILConfig(head="dsmil", **SHARED),
    "clam_sb": MILConfig(head="clam_sb", **SHARED),
}
# Accuracy and standard error, in the order of SETS. TransMIL and CLAM have no published figures on these sets.
ILSE = "Ilse, Tomczak and Welling 2018, arXiv 1802.04712, table 1"
PUBLISHED = {
    "abmil, plain": (("0.892 +- 0.040", "0.858 +- 0.048", "0.615 +- 0.043", "0.839 +- 0.022", "0.868 +- 0.022"), ILSE),
    "abmil, gated": (("0.900 +- 0.050", "0.863 +- 0.042", "0.603 +- 0.029", "0.845 +- 0.018", "0.857 +- 0.027"), ILSE),
    # MI-Net has three hidden layers before it pools
    "max": (
        ("0.887 +- 0.041", "0.859 +- 0.046", "0.622 +- 0.038", "0.830 +- 0.032", "0.862 +- 0.034"),
        "MI-Net of Wang et al. 2018, arXiv 1610.02501, as quoted by Ilse's table 1",
    ),
    "dsmil": (
        ("0.932 +- 0.023", "0.930 +- 0.020", "0.729 +- 0.018", "0.869 +- 0.008", "0.925 +- 0.007"),
        "Li et al. 2021, arXiv 2011.08939, its table of classical sets",
    ),
}


def main() -> None:
    """Cross-validate every head on every set and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bags", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--heads", nargs="+", choices=list(HEADS), default=list(HEADS))
    parser.add_argument("--repeats", type=int, choices=range(1, 6), default=5)
    options = parser.parse_args()
    lines = ["| set | head | accuracy | best on the test fold | published | source |", "|---|---|---|---|---|---|"]
    for name in options.sets:
        with np.load(options.bags / f"{name}.npz", allow_pickle=False) as data:
            bags, labels = split_bags(data["X"], data["bag"], data["y"])
            folds = data["folds"] if "folds" in data else drawn_folds(labels)
        for head in options.heads:
            values = np.array(cross_validate(bags, labels, folds[: options.repeats], HEADS[head]))
            errors = values.std(axis=0) / np.sqrt(len(values))
            found = [f"{mean:.3f} +- {error:.3f}" for mean, error in zip(values.mean(axis=0), errors, strict=True)]
            figures, source = PUBLISHED.get(head, (("",) * len(SETS), ""))
            lines.append(f"| {name} | {head} | {' | '.join(found)} | {figures[SETS.index(name)]} | {source} |")
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


def cross_validate(
    bags: list[torch.Tensor], labels: np.ndarray, folds: np.ndarray, config: MILConfig
) -> list[tuple[float, float]]:
    """What `accuracy` returns for each test fold of each repeat."""
    accuracies = []
    for repeat, assignment in enumerate(folds):
        for fold in np.unique(assignment):
            test = np.flatnonzero(assignment == fold)
            train = np.flatnonzero(assignment != fold)
            accuracies.append(accuracy(bags, labels, train, test, config, seed=repeat))
    return accuracies


def accuracy(
    bags: list[torch.Tensor], labels: np.ndarray, train: np.ndarray, test: np.ndarray, config: MILConfig, *, seed: int
) -> tuple[float, float]:
    """Train on some bags for a fixed number of epochs, test on others; and the best of all epochs and thresholds."""
    torch.manual_seed(seed)
    seen = torch.cat([bags[i] for i in train])
    mean, deviation = seen.mean(0), seen.std(0).clamp(min=1e-6)
    padded, mask = pad([(bag - mean) / deviation for bag in bags])
    target = torch.from_numpy(labels)
    mil = make_mil(padded.shape[2], 2, config)
    optimiser = torch.optim.Adam(mil.parameters(), lr=RATE, weight_decay=DECAY)
    best = 0.0
    for _ in range(EPOCHS):
        mil.train()
        for group in torch.from_numpy(train)[torch.randperm(len(train))].split(BAGS_PER_STEP):
            longest = int(mask[group].sum(1).max())
            batch, real = padded[group, :longest], mask[group, :longest]
            output = mil(batch, real)
            loss = functional.cross_entropy(output.logits, target[group])
            if isinstance(mil, HasAuxiliaryLoss):
                loss = loss + added_loss(mil, batch, real, output, target[group])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        mil.eval()
        with torch.inference_mode():
            scores = mil(padded[test], mask[test]).logits.softmax(1)[:, 1]
        best = max(best, at_best_threshold(scores.numpy(), labels[test]))
    return float(((scores >= 0.5) == (target[test] == 1)).float().mean()), best


def at_best_threshold(scores: np.ndarray, labels: np.ndarray) -> float:
    """Accuracy at the threshold with the largest sensitivity less false positive rate."""
    if len(np.unique(labels)) < 2:
        return float(np.mean((scores >= 0.5) == labels))
    false, true, thresholds = roc_curve(labels, scores)
    return float(np.mean((scores >= thresholds[np.argmax(true - false)]) == labels))


def added_loss(
    mil: HasAuxiliaryLoss, batch: torch.Tensor, real: torch.Tensor, output: MILOutput, target: torch.Tensor
) -> torch.Tensor:
    """Mean over the bags of the loss that the head adds."""
    logits, attention_logits, embedding = output
    alone = [
        mil.auxiliary_loss(bag[kept], MILOutput(logits[i], attention_logits[i, kept], embedding[i]), int(target[i]))
        for i, (bag, kept) in enumerate(zip(batch, real, strict=True))
    ]
    return torch.stack(alone).mean()


def pad(bags: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Bags as one (b, n, d) tensor with its (b, n) mask."""
    padded = torch.nn.utils.rnn.pad_sequence(bags, batch_first=True)
    mask = torch.arange(padded.shape[1])[None] < torch.tensor([len(bag) for bag in bags])[:, None]
    return padded, mask


if __name__ == "__main__":
    main()
