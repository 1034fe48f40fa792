"""The learning rate of a training: warm-up and cosine decay, and parts of the network with a rate of their own."""

import math
from collections.abc import Mapping
from itertools import groupby
from typing import Any

import torch
from torch import nn

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
