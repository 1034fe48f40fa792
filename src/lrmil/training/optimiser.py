"""The optimiser of a training: AdamW, warm-up and cosine decay, and parts of the network with a rate of their own."""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from lrmil.configs import OptimiserConfig


def rate_groups(module: nn.Module, rate: float, rates: Mapping[str, float]) -> list[dict[str, Any]]:
    """Return what is trained in a module as groups of an optimiser, each with its "highest" rate.

    Parameters
    ----------
    module
        What is trained; its parameters with `requires_grad`. They keep their order, by which checkpoints name them.
    rate
        Highest learning rate.
    rates
        Name of a submodule -> its own.
    """
    trained = [(name, value) for name, value in module.named_parameters() if value.requires_grad]
    parts = groupby(trained, key=lambda item: rates.get(item[0].partition(".")[0], rate))
    return [{"params": [value for _, value in of], "highest": highest} for highest, of in parts]


def set_rate(optimiser: torch.optim.Optimizer, config: OptimiserConfig, step: int, total: int) -> None:
    """Set the learning rate of an optimisation step.

    Parameters
    ----------
    optimiser
        Made from `rate_groups`.
    config
        Share of the steps in which the rate rises.
    step, total
        Number of the step, from 0, and of all steps.
    """
    warm = max(1, round(config.warmup * total))
    if step < warm:
        factor = (step + 1) / warm
    else:
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))
    for group in optimiser.param_groups:
        group["lr"] = group["highest"] * factor


def make_optimiser(module: nn.Module, config: OptimiserConfig, rates: Mapping[str, float]) -> torch.optim.AdamW:
    """Return AdamW for what is trained in a module.

    Parameters
    ----------
    module, rates
        As for `rate_groups`.
    config
        Highest learning rate and weight decay.
    """
    groups = rate_groups(module, config.learning_rate, rates)
    return torch.optim.AdamW(groups, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)


def load_moments(
    optimiser: torch.optim.Optimizer, parameters: Sequence[Tensor], moments: Mapping[int, Mapping[str, Tensor]]
) -> None:
    """Give an optimiser the moments of a checkpoint.

    Parameters
    ----------
    optimiser
        Made from the same module.
    parameters
        What it trains, in its order.
    moments
        Number of the parameter -> its moments, in any memory layout.
    """
    state = {
        number: {name: _laid_out_as(parameters[number], value) for name, value in values.items()}
        for number, values in moments.items()
    }
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})


def _laid_out_as(parameter: Tensor, moment: Tensor) -> Tensor:
    """Return a moment in the memory layout of its parameter: the fused step reads both element by element."""
    return torch.empty_like(parameter, dtype=moment.dtype).copy_(moment) if moment.dim() else moment
