"""The moving average of the weights of a module in training."""

import pytest
import torch
from torch import nn

from lrmil.training.averages import averaged_weights, moving_average, weights_of


def drawn_steps(count: int) -> tuple[nn.BatchNorm1d, list[torch.Tensor]]:
    """A module with parameters and buffers, and the weights of its steps."""
    torch.manual_seed(0)
    return nn.BatchNorm1d(3), list(torch.randn(count, 3))


@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_it_is_that_of_a_plain_loop(decay: float) -> None:
    module, steps = drawn_steps(200)
    average = moving_average(module, decay)
    assert average is not None
    expected = steps[0]
    for count, weights in enumerate(steps):
        with torch.no_grad():
            module.weight.copy_(weights)
            module.running_mean = -weights
        average.update_parameters(module)
        early = min(decay, (1 + count) / (10 + count))
        expected = early * expected + (1 - early) * weights  # of the first step, that step
    torch.testing.assert_close(average.module.weight.detach(), expected)
    torch.testing.assert_close(average.module.running_mean, -expected)


def test_without_a_decay_there_is_none() -> None:
    assert moving_average(nn.Linear(2, 2), 0.0) is None


def test_a_module_has_its_average_for_a_while_even_if_the_validation_fails() -> None:
    module, (first, second) = drawn_steps(2)
    average = moving_average(module, 0.5)
    assert average is not None
    with torch.no_grad():
        average.module.weight.copy_(first)
        module.weight.copy_(second)
    with pytest.raises(ZeroDivisionError), averaged_weights(module, average):
        assert torch.equal(module.weight, first)
        raise ZeroDivisionError
    assert torch.equal(module.weight, second)
    with averaged_weights(module, None):
        assert torch.equal(module.weight, second)


def test_a_copy_of_the_weights_stays_as_it_is() -> None:
    module, (first, _) = drawn_steps(2)
    kept = weights_of(module)
    with torch.no_grad():
        module.weight.copy_(first)
    assert torch.equal(kept["weight"], torch.ones(3)) and kept.keys() == module.state_dict().keys()
