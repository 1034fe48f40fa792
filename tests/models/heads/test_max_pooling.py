"""Max pooling: what is classified, and which patches are said to have made it."""

import math

import pytest
import torch

from lrmil.models.heads.max_pooling import MaxPooling
from support.bags import random_bag


@pytest.mark.parametrize("n", [1, 2, 9, 40])
def test_the_strongest_channels_are_classified_and_their_patches_counted(n: int) -> None:
    mil, bag = MaxPooling(6, 3, dropout=0.5).eval(), random_bag(n, 6)
    output = mil(bag)
    counts = [0] * n
    for channel in range(6):
        counts[max(range(n), key=lambda i, c=channel: float(bag[i, c]))] += 1
    torch.testing.assert_close(output.embedding, bag.max(0).values)
    torch.testing.assert_close(output.logits, mil.classifier(bag.max(0).values))
    expected = torch.tensor([math.log(count + 1 / n) for count in counts])
    torch.testing.assert_close(output.attention_logits, expected)
    torch.testing.assert_close(output.attention_logits.softmax(0), expected.exp() / 7)


def test_patches_with_the_same_maximum_share_it() -> None:
    bag = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0]])
    logits = MaxPooling(2, 2).eval()(bag).attention_logits
    torch.testing.assert_close(logits.exp(), torch.tensor([0.5, 0.5, 1.0]) + 1 / 3)
