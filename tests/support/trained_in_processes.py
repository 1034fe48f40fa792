"""Train a network under torchrun, each process on data of its own: once without a break, and once broken and resumed.

torchrun --nproc-per-node 2 trained_in_processes.py FOLDER
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from lrmil.configs import FitConfig
from lrmil.steps import Step
from lrmil.training.loop import Budget, Fit, FitRun, fit_steps
from lrmil.training.processes import from_first, joined, rank

CPU = torch.device("cpu")
EPOCHS, STEPS = 4, 3
CONFIG = FitConfig(epochs=EPOCHS, learning_rate=0.05, patience=EPOCHS, ema=0.9)


def network() -> nn.Module:
    """Return a network with running means, the same at each call."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))


def loss_of(module: nn.Module, process: int) -> Tensor:
    """Return the loss on the data of a process."""
    inputs = torch.randn(16, 4, generator=torch.Generator().manual_seed(process))
    return (module(inputs) - inputs.sum(1, keepdim=True)).square().mean()


def steps_of(module: nn.Module, checkpoint: Path) -> Iterator[Step[Fit]]:
    """Train the module with the other processes; each would stop at another epoch by its own scores."""

    def epoch_losses(epoch: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        for _ in range(STEPS):
            yield {"loss": loss_of(module, rank())}

    def validate() -> dict[str, float]:
        with torch.inference_mode():
            loss = float(loss_of(module, 5 + rank())) * (1 - 2 * rank())
        return {"loss": loss, "score": -loss}

    run, budget = FitRun(1, checkpoint, "key", CPU), Budget(EPOCHS, EPOCHS * STEPS)
    return fit_steps(("job",), module, run, epoch_losses=epoch_losses, budget=budget, validate=validate, config=CONFIG)


def main(folder: Path) -> None:
    """Write the weights and the scores of each process."""
    with joined("cpu"):
        assert from_first(f"of {rank()}") == "of 0"
        whole = network()
        fit = list(steps_of(whole, folder / "whole.safetensors"))[-1].result
        assert fit is not None
        broken = steps_of(network(), folder / "broken.safetensors")
        for step in broken:
            if step.metrics.get("epoch") == 2:
                break
        broken.close()
        from_first(None)  # the first has written its checkpoint
        resumed = network()
        list(steps_of(resumed, folder / "broken.safetensors"))
        found = {"whole": whole.state_dict(), "resumed": resumed.state_dict(), "history": fit.history}
        torch.save(found, folder / f"{rank()}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
