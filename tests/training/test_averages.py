"""The moving average follows the weights by its decay, and lends them for a while."""

import pytest
import torch
from torch import nn

from lrmil.training.averages import averaged_weights, moving_average, weights_of


@pytest.mark.parametrize("decay", [0.05, 0.3, 0.99])
def test_it_is_the_average_of_a_plain_loop(decay: float) -> None:
    module = nn.Linear(1, 1, bias=False)
    module.register_buffer("seen", torch.zeros(1))
    average, expected = moving_average(module, decay), 0.0
    assert average is not None
    for step, value in enumerate([1.0, 5.0, -2.0, 4.0]):
        with torch.no_grad():
            module.weight.fill_(value)
        module.get_buffer("seen").fill_(value)
        average.update_parameters(module)
        kept = min(decay, (1 + step) / (10 + step)) if step else 0.0  # the first is taken as it is
        expected = kept * expected + (1 - kept) * value
        found = average.module.state_dict()
        assert float(found["weight"]) == pytest.approx(expected) == float(found["seen"])


def test_without_a_decay_there_is_none_and_nothing_is_lent() -> None:
    module = nn.Linear(2, 1)
    assert moving_average(module, 0.0) is None
    before = weights_of(module)
    with averaged_weights(module, None):
        assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_the_modules_own_weights_come_back_even_after_an_error() -> None:
    module = nn.Linear(1, 1, bias=False)
    average = moving_average(module, 0.5)
    assert average is not None
    average.update_parameters(module)
    lent = module.weight.item()
    with torch.no_grad():
        module.weight.fill_(7.0)
    with pytest.raises(ValueError, match="stop"), averaged_weights(module, average):
        assert module.weight.item() == lent
        raise ValueError("stop")
    assert module.weight.item() == 7.0
