"""Targets stay with their pixels under every symmetry, in slot order, and colours change the pixels alone."""

import numpy as np
import pytest
import torch

from lrmil.training.augmentation import Changes, augment, draw_changes
from support.numbered_patches import CELL, SIDE, numbered_batch


def symmetry(count: int, turns: int, *, flip: bool) -> Changes:
    """Changes that leave the colours as they are."""
    return Changes(turns, flip, torch.ones(count, 1, 1, 3), torch.zeros(count, 1, 1, 3))


class TestAugment:
    @pytest.mark.parametrize("flip", [False, True])
    @pytest.mark.parametrize("turns", [0, 1, 2, 3])
    def test_targets_move_with_the_pixels(self, turns: int, flip: bool) -> None:
        batch = numbered_batch()
        moved = augment(batch, symmetry(3, turns, flip=flip))
        turned = np.rot90(batch.pixels.numpy(), turns, (1, 2))
        assert np.array_equal(moved.pixels.numpy(), turned[:, :, ::-1] if flip else turned)
        for place in range(SIDE**2):  # whatever the symmetry, a slot's targets are those of the pixels now in it
            row, col = divmod(place, SIDE)
            inside = moved.pixels[:, row * CELL : (row + 1) * CELL, col * CELL : (col + 1) * CELL]
            assert inside.min() == inside.max()
            slot = round((float(inside[0, 0, 0, 0]) - 40) / 10)
            for b in range(3):
                assert bool(moved.targets.covered[b, place]) == (slot != b)
                assert moved.targets.class_tokens[0][b, place].tolist() == [slot, -slot]
                assert moved.targets.class_tokens[1][b, place].tolist() == [slot + 100, -slot + 100]
        assert torch.equal(moved.targets.mean, batch.targets.mean)
        assert np.array_equal(moved.targets.index, batch.targets.index)

    def test_all_eight_symmetries_occur(self) -> None:
        generator = torch.Generator().manual_seed(0)
        batch = numbered_batch(1)
        drawn = [draw_changes(1, generator) for _ in range(100)]
        seen = {tuple(augment(batch, changes).targets.class_tokens[0][0, :, 0].tolist()) for changes in drawn}
        assert len(seen) == 8

    def test_each_patch_and_channel_has_its_own_small_change_of_colour(self) -> None:
        for seed in range(20):
            changes = draw_changes(64, torch.Generator().manual_seed(seed))
            for drawn, middle, width in ((changes.gain, 1.0, 0.1), (changes.shift, 0.0, 12.0)):
                assert drawn.shape == (64, 1, 1, 3) and drawn.unique().numel() == 64 * 3
                assert (drawn - middle).abs().max() <= width * 1.00001 and (drawn - middle).abs().mean() > width / 3

    def test_stains_are_changed_only_if_asked_for_and_in_the_pixels_alone(self) -> None:
        batch = numbered_batch()
        plain, stained = (draw_changes(3, torch.Generator().manual_seed(1), stain=strength) for strength in (0.0, 0.2))
        assert plain.stains is None and stained.stains is not None
        assert all(torch.equal(*both) for both in ((plain.gain, stained.gain), (plain.shift, stained.shift)))
        one, other = augment(batch, plain), augment(batch, stained)
        assert (one.pixels - other.pixels).abs().max() > 3 and other.pixels.min() >= 0 and other.pixels.max() <= 255
        assert torch.equal(one.targets.mean, other.targets.mean)
        assert all(map(torch.equal, one.targets.class_tokens, other.targets.class_tokens))

    def test_equal_seeds_draw_equal_changes(self) -> None:
        one, other, third = (draw_changes(5, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4))
        assert torch.equal(one.gain, other.gain) and torch.equal(one.shift, other.shift) and one[:2] == other[:2]
        assert not torch.equal(one.gain, third.gain)

    @pytest.mark.parametrize(
        ("before", "gain", "shift", "after"),
        [
            (100, 1.0, 0.0, 100),
            (100, 1.1, 0.0, 84.5),
            (100, 1.0, 12.0, 112),
            (200, 0.9, -12.0, 193.5),
            (250, 1, 12, 255),
        ],
    )
    def test_colours_are_scaled_from_white_then_shifted(
        self, before: int, gain: float, shift: float, after: float
    ) -> None:
        batch = numbered_batch(2)
        batch = batch._replace(pixels=torch.full_like(batch.pixels, before))
        gains, shifts = torch.ones(2, 1, 1, 3), torch.zeros(2, 1, 1, 3)
        gains[1, ..., 2], shifts[1, ..., 2] = gain, shift
        found = augment(batch, Changes(0, False, gains, shifts)).pixels
        assert found[1, ..., 2].unique().tolist() == pytest.approx([after])
        assert (found[0] == before).all() and (found[1, ..., :2] == before).all()

    def test_colour_jitter_changes_pixels_alone(self) -> None:
        batch = numbered_batch()
        before = batch.pixels.clone()
        moved = augment(batch, draw_changes(3, torch.Generator().manual_seed(1))._replace(turns=0, flip=False))
        assert torch.equal(batch.pixels, before)
        difference = (moved.pixels - before).abs()
        assert 1 < difference.mean() < 30 and moved.pixels.min() >= 0 and moved.pixels.max() <= 255
        per_patch = (moved.pixels - before).mean((1, 2))
        assert per_patch.unique().numel() == per_patch.numel()  # each patch and channel its own
        for found, kept in zip(moved.targets.class_tokens, batch.targets.class_tokens, strict=True):
            assert torch.equal(found, kept)
        assert torch.equal(moved.targets.covered, batch.targets.covered)
        assert torch.equal(moved.targets.mean, batch.targets.mean)
