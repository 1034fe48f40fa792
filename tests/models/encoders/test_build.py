"""Networks are built for a size, and sizes that fit are told."""

import pytest
from torch import nn

from lrmil.models.encoders.build import (
    MAX_REASON,
    create_network,
    describe_sizes,
    is_buildable,
    patch_side,
    reason_of,
    sizes_that_fit,
)


@pytest.mark.parametrize("size", [96, 160])
def test_a_network_is_built_for_the_size_that_is_asked_for(size: int) -> None:
    network = create_network("test_vit", size, "test_vit", {}, pretrained=False)
    assert isinstance(network, nn.Module) and patch_side(network) == 16
    assert tuple(network.patch_embed.img_size) == (size, size)  # type: ignore[union-attr, arg-type]


def test_sizes_near_the_one_that_does_not_fit_are_told_and_can_be_built() -> None:
    found = sizes_that_fit("test_vit", 100, {})
    assert {96, 112} <= set(found) and all(side % 16 == 0 and is_buildable("test_vit", side, {}) for side in found)
    assert describe_sizes("test_vit", 100, {}).endswith("px (--patch-size)")


def test_a_network_without_squares_has_no_side_and_an_absurd_one_is_not_built() -> None:
    assert patch_side(create_network("test_resnet", 64, "test_resnet", {}, pretrained=False)) == 0
    assert not is_buildable("test_vit", 160, {"unheard_of": 1})


def test_a_reason_is_one_short_line() -> None:
    assert reason_of(ValueError("first\n  second\nthird")) == "first second" and reason_of(KeyError()) == "KeyError"
    assert len(reason_of(ValueError("x" * 1000))) == MAX_REASON
