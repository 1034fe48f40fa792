"""Stage 1: targets stay with their pixels under every symmetry, in slot order, and the student learns them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrmil.configs import FitConfig, Stage1Config
from lrmil.errors import SlideError
from lrmil.losses import layer_loss, region_loss
from lrmil.models.encoders.loading import EncoderOutput, encoder_hash
from lrmil.slides.source import SlideSource
from lrmil.training import patch_stage
from lrmil.training.loop import Fit, FitRun
from lrmil.training.pair_loading import PairedBatch, draw_patches, load_pairs
from lrmil.training.pairs import PairedSlide, RegionSamples
from lrmil.training.patch_stage import Changes, Student, augment, draw_changes, stage1_losses, train_student
from support.runs import tiny_encoder, write_bag

pytestmark = pytest.mark.long

CPU = torch.device("cpu")
SIDE = 4  # children along a side
CELL = 8  # pixels of a child in the LR patch


def numbered_batch(count: int = 3) -> PairedBatch:
    """Each child's pixels and targets hold its slot number; patch b covers all slots but b."""
    slots = torch.arange(SIDE**2)
    image = slots.reshape(SIDE, SIDE).repeat_interleave(CELL, 0).repeat_interleave(CELL, 1) * 10 + 40
    pixels = image[None, :, :, None].expand(count, -1, -1, 3).to(torch.uint8)
    covered = slots[None] != torch.arange(count)[:, None]
    tokens = torch.stack([slots, -slots], 1).half()[None].expand(count, -1, -1)
    index = np.stack([np.arange(count), np.arange(count)], 1).astype(np.int32)
    return PairedBatch(pixels, RegionSamples(index, covered, torch.randn(count, 5), (tokens, tokens + 100)))


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


def train(
    pairs: list[PairedSlide],
    folder: Path,
    config: Stage1Config,
    name: str = "test_resnet",
    *,
    projected_dim: int = 0,
    seed: int = 0,
) -> tuple[Fit, list[dict[str, float]]]:
    """Distil into an encoder drawn with `seed`; 0 is the teacher itself."""
    encoder = tiny_encoder(name, seed=seed, projected_dim=projected_dim)
    before = encoder_hash(encoder)
    steps = train_student(
        ("stage 1",),
        encoder,
        pairs[:4],
        pairs[4:6],
        FitRun(seed, folder / "stage1.checkpoint.safetensors", "key", CPU),
        config=config,
        threads=2,
    )
    fit = list(steps)[-1].result
    assert fit is not None and encoder_hash(encoder) == before
    return fit, fit.history


FIT = FitConfig(epochs=3, learning_rate=2e-3, patience=3)
CONFIG = Stage1Config(patches_per_epoch=48, validation_patches=24, fit=FIT)


class TestTraining:
    @pytest.mark.parametrize("changes", [{}, {"standardised": True}, {"cosine": True, "lambda_layer": 0.0}], ids=str)
    def test_it_lowers_the_loss_on_other_slides(
        self, pairs: list[PairedSlide], tmp_path: Path, changes: dict[str, object]
    ) -> None:
        config = replace(CONFIG, **changes)  # type: ignore[arg-type]
        still = replace(config, fit=replace(FIT, epochs=1, learning_rate=1e-12))
        start = train(pairs, tmp_path / "none", still, seed=1)[1][0]  # a start that knows nothing of the teacher
        fit, history = train(pairs, tmp_path / "some", config, seed=1)
        assert min(row["val_loss"] for row in history) < 0.9 * start["val_loss"]
        assert max(row["val_cosine"] for row in history) > start["val_cosine"]
        best = max(history, key=lambda row: row["val_score"])
        assert all(row["val_score"] == pytest.approx(-row["val_loss"]) for row in history)
        assert isinstance(fit.module, Student) and not fit.module.encoder.training
        held = draw_patches(pairs[4:6], 24, torch.Generator().manual_seed(1))
        with torch.inference_mode():
            terms = [
                (len(batch.targets), stage1_losses(fit.module, batch, config, CPU))
                for batch in load_pairs(held, batch_size=16, threads=1, generator=None)
            ]
        loss = sum(count * float(values["loss"]) for count, values in terms) / sum(count for count, _ in terms)
        assert loss == pytest.approx(best["val_loss"], rel=1e-4)

    def test_equal_seeds_give_equal_weights(self, pairs: list[PairedSlide], tmp_path: Path) -> None:
        config = replace(CONFIG, fit=replace(FIT, epochs=1))
        one, other, third = (
            train(pairs, tmp_path / name, config, seed=seed)[0].module.state_dict()
            for name, seed in (("a", 0), ("b", 0), ("c", 1))
        )
        assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
        assert not all(torch.allclose(one[name], third[name], atol=1e-6) for name in one)

    def test_a_student_of_another_kind_gets_a_projector_and_maps(
        self, pairs: list[PairedSlide], tmp_path: Path
    ) -> None:
        config = replace(CONFIG, fit=replace(FIT, epochs=1))
        fit, _ = train(pairs, tmp_path, config, "test_convnext", projected_dim=96)
        assert isinstance(fit.module, Student) and fit.module.encoder.dim == 96
        kinds = [type(module).__name__ for module in fit.module.block_maps]
        assert kinds == ["Conv2d", "Conv2d"]
        with pytest.raises(ValueError, match=r"output dimension 96\. Got 64"):
            train(pairs, tmp_path / "other", config, "test_convnext")

    def test_slides_without_covered_children_are_refused(self, tmp_path: Path) -> None:
        lr = write_bag(tmp_path / "lr.zarr", np.array([[0, 0]]), np.zeros((1, 96)))
        layers = {layer: np.zeros((1, dim), np.float16) for layer, dim in ((0, 32), (-1, 96))}
        hr = write_bag(tmp_path / "hr.zarr", np.array([[8, 8]]), np.zeros((1, 96)), layers, mpp=1.0)
        pair = PairedSlide(SlideSource("s", tmp_path / "s.tif"), lr, hr, 2)
        with pytest.raises(SlideError, match="covered HR patch"):
            train([pair] * 6, tmp_path, CONFIG)


class Fixed(nn.Module):
    """An encoder that gives the same tokens for any patch."""

    def __init__(self, embedding: Tensor, maps: tuple[Tensor, ...]) -> None:
        super().__init__()
        self.dim = embedding.shape[1]
        self.output = EncoderOutput(embedding, (), maps)

    def forward(self, pixels: Tensor, layers: tuple[int, ...]) -> EncoderOutput:
        return self.output


def test_the_loss_is_the_sum_of_its_terms() -> None:
    torch.manual_seed(0)
    embedding, maps = torch.randn(3, 5), (torch.randn(3, 2, 4, 4), torch.randn(3, 2, 8, 8))
    student = Student(Fixed(embedding, maps), [2, 2], [2, 2])  # type: ignore[arg-type]
    student.set_scales(torch.full((5,), 2.0), [torch.full((2,), scale) for scale in (1.0, 3.0)])
    batch = numbered_batch()
    config = Stage1Config(lambda_layer=0.5, lambda_attn=2.0)
    terms = stage1_losses(student, batch, config, CPU)
    targets = batch.targets
    blocks = [
        layer_loss(tokens * scale, values.float() * scale, targets.covered)
        for tokens, values, scale in zip(maps, targets.class_tokens, (1.0, 3.0), strict=True)
    ]
    region = region_loss(2 * embedding, 2 * targets.mean)
    assert float(terms["layer"]) == pytest.approx(float(sum(blocks)) / 2, rel=1e-5)
    assert float(terms["region"]) == pytest.approx(float(region), rel=1e-5)
    assert float(terms["loss"]) == pytest.approx(0.5 * float(terms["layer"]) + 2 * float(terms["region"]), rel=1e-5)


def test_blocks_and_targets_are_paired_by_number(
    pairs: list[PairedSlide], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings may name the blocks in any order; the final map is the last target and the last token map."""
    asked: list[tuple[int, ...]] = []
    real = patch_stage.stage1_losses

    def spied(student: Student, batch: PairedBatch, config: Stage1Config, device: torch.device) -> dict[str, Tensor]:
        asked.append(config.layers)
        return real(student, batch, config, device)

    monkeypatch.setattr(patch_stage, "stage1_losses", spied)
    train(pairs, tmp_path, replace(CONFIG, layers=(-1, 0), fit=replace(FIT, epochs=1)))
    assert set(asked) == {(0, -1)}
