"""The learning rate rises, falls as a cosine, and is a part's own where it has one."""

import math

import pytest
import torch
from torch import nn

from lrmil.configs import OptimiserConfig
from lrmil.training.optimiser import load_moments, make_optimiser, rate_groups, set_rate


def network() -> nn.ModuleDict:
    return nn.ModuleDict({"encoder": nn.Linear(3, 2), "mil": nn.Linear(2, 1), "mills": nn.Linear(1, 1)})


def test_parts_have_their_own_rate_and_all_keep_their_order() -> None:
    module = network()
    module["encoder"].bias.requires_grad_(False)
    groups = rate_groups(module, 1e-3, {"mil": 1e-2})
    assert [group["highest"] for group in groups] == [1e-3, 1e-2, 1e-3]  # a name that only begins alike is another
    found = [value for group in groups for value in group["params"]]
    trained = [value for value in module.parameters() if value.requires_grad]
    assert len(found) == 5 and all(one is other for one, other in zip(found, trained, strict=True))
    (alone,) = rate_groups(module, 1e-3, {})
    assert len(alone["params"]) == 5


@pytest.mark.parametrize("total", [1, 10, 40])
def test_the_rate_of_each_part_follows_one_schedule(total: int) -> None:
    config = OptimiserConfig(learning_rate=1e-3, warmup=0.25)
    optimiser = torch.optim.AdamW(rate_groups(network(), config.learning_rate, {"mil": 2e-3}), lr=config.learning_rate)
    warm = max(1, round(0.25 * total))
    for step in range(total):
        set_rate(optimiser, config, step, total)
        rising = (step + 1) / warm
        falling = 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, total - warm)))
        factor = rising if step < warm else falling
        assert [group["lr"] for group in optimiser.param_groups] == pytest.approx(
            [1e-3 * factor, 2e-3 * factor, 1e-3 * factor]
        )


def test_moments_of_another_memory_layout_belong_to_the_same_elements() -> None:
    torch.manual_seed(0)
    truth = torch.randn(4, 3, 2, 5)

    def steps(module: nn.Conv2d, optimiser: torch.optim.Optimizer, count: int) -> None:
        for _ in range(count):
            optimiser.zero_grad()
            (module.weight - truth).square().sum().backward()
            optimiser.step()

    def made() -> tuple[nn.Conv2d, torch.optim.AdamW]:
        torch.manual_seed(1)
        module = nn.Conv2d(3, 4, (2, 5), bias=False).to(memory_format=torch.channels_last)
        return module, make_optimiser(module, OptimiserConfig(learning_rate=0.1), {})

    module, optimiser = made()
    steps(module, optimiser, 2)
    weight, state = module.weight.detach().clone(), optimiser.state_dict()["state"]
    plain = {0: {name: value.clone().contiguous() for name, value in state[0].items()}}
    steps(module, optimiser, 2)
    resumed, other = made()
    resumed.weight.data.copy_(weight)
    load_moments(other, [resumed.weight], plain)
    steps(resumed, other, 2)
    assert torch.equal(resumed.weight, module.weight)
