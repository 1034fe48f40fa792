"""Mean pooling is a linear classifier of the mean patch."""

import torch

from lrmil.models.heads.mean_pooling import MeanPooling
from support.bags import random_bag


def test_the_mean_patch_is_classified_and_every_patch_has_the_same_attention() -> None:
    mil, bag = MeanPooling(6, 3, dropout=0.5).eval(), random_bag(9, 6)
    output = mil(bag)
    torch.testing.assert_close(output.embedding, bag.mean(0))
    torch.testing.assert_close(output.logits, mil.classifier(bag.mean(0)))
    assert output.attention_logits.tolist() == [0.0] * 9


def test_dropout_is_on_the_mean() -> None:
    mil = MeanPooling(64, 3, dropout=0.5).train()
    bag = random_bag(4, 64)
    assert not torch.equal(mil(bag).logits, mil(bag).logits)
    torch.testing.assert_close(mil(bag).embedding, bag.mean(0))
