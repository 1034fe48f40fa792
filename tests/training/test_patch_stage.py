"""Stage 1: the student learns the targets of its patches."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrmil.configs import Stage1Config, StepFitConfig
from lrmil.errors import SlideError
from lrmil.features.store import read_index
from lrmil.losses import layer_loss, region_loss
from lrmil.models.encoders.loading import EncoderOutput, as_input, encoder_hash
from lrmil.slides.source import SlideSource
from lrmil.training import patch_stage
from lrmil.training.fidelity import match
from lrmil.training.loop import Fit, FitRun
from lrmil.training.pair_loading import PairedBatch, draw_patches, load_pairs
from lrmil.training.pairs import PairedSlide, region_samples
from lrmil.training.patch_stage import SMOOTHING, Student, stage1_losses, train_student
from lrmil.training.start_map import fit_start_map
from support.numbered_patches import numbered_batch
from support.runs import tiny_encoder, write_bag

pytestmark = pytest.mark.long

CPU = torch.device("cpu")


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


FIT = StepFitConfig(steps=9, interval=3, learning_rate=2e-3, patience=3, ema=0.5)
CONFIG = Stage1Config(patches_per_epoch=48, validation_patches=24, fit=FIT, lambda_keep=0.0)


class TestTraining:
    @pytest.mark.parametrize("changes", [{}, {"standardised": True}, {"cosine": True, "lambda_layer": 0.0}], ids=str)
    def test_it_lowers_the_loss_on_other_slides(
        self, pairs: list[PairedSlide], tmp_path: Path, changes: dict[str, object]
    ) -> None:
        config = replace(CONFIG, **changes)  # type: ignore[arg-type]
        still = replace(config, fit=replace(FIT, steps=3, learning_rate=1e-12))
        start = train(pairs, tmp_path / "none", still, seed=1)[1][0]  # a start that knows nothing of the teacher
        fit, history = train(pairs, tmp_path / "some", config, seed=1)
        assert min(row["val_loss"] for row in history) < 0.9 * start["val_loss"]
        assert max(row["val_cosine"] for row in history) > start["val_cosine"]
        best = max(history, key=lambda row: row["val_score"])
        losses = [row["val_loss"] for row in history]
        assert history[1]["val_score"] == pytest.approx(-(SMOOTHING * losses[0] + (1 - SMOOTHING) * losses[1]))
        assert [row["step"] for row in history] == [3, 6, 9]
        assert isinstance(fit.module, Student) and not fit.module.encoder.training
        held = draw_patches(pairs[4:6], 24, torch.Generator().manual_seed(1))
        with torch.inference_mode():
            terms = [
                (len(batch.targets), stage1_losses(fit.module, batch, config, CPU))
                for batch in load_pairs(held, batch_size=16, threads=1, generator=None)
            ]
        loss = sum(count * float(values["loss"]) for count, values in terms) / sum(count for count, _ in terms)
        assert loss == pytest.approx(best["val_loss"], rel=1e-4)

    def test_its_fidelity_is_kept_beside_the_weights(self, pairs: list[PairedSlide], tmp_path: Path) -> None:
        """The student of a stranger draws nearer to the targets; no steps leave it where the start is."""
        far, still = (
            train(pairs, tmp_path / name, replace(CONFIG, fit=fit), seed=1)[0].documents["fidelity.json"]
            for name, fit in (("far", FIT), ("still", replace(FIT, steps=0)))
        )
        held = draw_patches(pairs[4:6], 24, torch.Generator().manual_seed(1))
        assert far["patches"] == still["patches"] == sum(len(item.rows) for item in held)  # type: ignore[index]
        assert still["distilled"] == still["start"] == far["start"]  # type: ignore[index]
        assert far["distilled"]["r2"] > far["start"]["r2"] + 0.1  # type: ignore[index]

    def test_its_fidelity_counts_from_the_mean_of_the_training_targets(
        self, pairs: list[PairedSlide], tmp_path: Path
    ) -> None:
        config = replace(CONFIG, patches_per_epoch=9999, fit=replace(FIT, steps=0))
        found = train(pairs, tmp_path, config, seed=1)[0].documents["fidelity.json"]
        held = draw_patches(pairs[4:6], 24, torch.Generator().manual_seed(1))
        batches = list(load_pairs(held, batch_size=16, threads=1, generator=None))
        encoder = tiny_encoder("test_resnet", seed=1)
        with torch.inference_mode():
            embeddings = torch.cat([encoder(as_input(batch.pixels, CPU)).embedding for batch in batches])
        targets = torch.cat([batch.targets.mean for batch in batches])
        centre = torch.cat([region_samples(pair).mean for pair in pairs[:4]]).mean(0)
        expected = match(embeddings, targets, centre)
        assert found["start"]["r2"] == pytest.approx(expected.r2, rel=1e-5)  # type: ignore[index]
        assert found["start"]["cosine"] == pytest.approx(expected.cosine, rel=1e-5)  # type: ignore[index]

    @pytest.mark.usefixtures("every_epoch_saved")
    def test_a_broken_training_ends_with_the_same_weights(self, pairs: list[PairedSlide], tmp_path: Path) -> None:
        """The averaged weights, the smoothed losses and the draws go on, though what was read is read again."""
        config = replace(CONFIG, fit=replace(FIT, ema=0.9))
        whole = train(pairs, tmp_path / "whole", config, seed=1)[0]
        run = FitRun(1, tmp_path / "stage1.checkpoint.safetensors", "key", CPU)
        for stop in (4, 7):  # in the second interval, then in the third
            steps = train_student(
                ("stage 1",), tiny_encoder("test_resnet", seed=1), pairs[:4], pairs[4:6], run, config=config
            )
            for step in steps:
                if step.done == stop:
                    break
            steps.close()  # type: ignore[attr-defined]
        rest = train(pairs, tmp_path, config, seed=1)[0]
        assert rest.history == whole.history and rest.documents == whole.documents
        before, after = whole.module.state_dict(), rest.module.state_dict()
        assert all(torch.equal(before[name], after[name]) for name in before)

    def test_equal_seeds_give_equal_weights(self, pairs: list[PairedSlide], tmp_path: Path) -> None:
        config = replace(CONFIG, fit=replace(FIT, steps=3))
        one, other, third = (
            train(pairs, tmp_path / name, config, seed=seed)[0].module.state_dict()
            for name, seed in (("a", 0), ("b", 0), ("c", 1))
        )
        assert all(torch.allclose(one[name], other[name], atol=1e-6) for name in one)
        assert not all(torch.allclose(one[name], third[name], atol=1e-6) for name in one)

    def test_a_student_of_another_kind_gets_a_projector_and_maps(
        self, pairs: list[PairedSlide], tmp_path: Path
    ) -> None:
        config = replace(CONFIG, fit=replace(FIT, steps=3))
        fit, _ = train(pairs, tmp_path, config, "test_convnext", projected_dim=96)
        assert isinstance(fit.module, Student) and fit.module.encoder.dim == 96
        kinds = [type(module).__name__ for module in fit.module.block_maps]
        assert kinds == ["Conv2d", "Conv2d"]
        with pytest.raises(ValueError, match=r"output dimension 96\. Got 64"):
            train(pairs, tmp_path / "other", config, "test_convnext")

    def test_what_the_start_knew_is_kept_as_far_as_asked(self, pairs: list[PairedSlide], tmp_path: Path) -> None:
        kept = [replace(pair, start=pair.lr) for pair in pairs]  # the teacher is what is kept, and a stranger begins
        fit = replace(FIT, steps=30, interval=10)
        near, far = (
            train(kept, tmp_path / str(weight), replace(CONFIG, fit=fit, lambda_layer=0.0, lambda_keep=weight), seed=1)[
                1
            ][-1]
            for weight in (100.0, 0.01)
        )
        assert near["val_keep"] < 0.7 * far["val_keep"] and far["val_region"] < near["val_region"]

    def test_standardised_embeddings_of_the_start_have_a_deviation_of_one(
        self, pairs: list[PairedSlide], tmp_path: Path
    ) -> None:
        """Small embeddings, as of random weights, would otherwise be kept by no force."""
        kept = [replace(pair, start=pair.lr) for pair in pairs]
        still = replace(CONFIG, lambda_keep=1.0, fit=replace(FIT, steps=0))
        plain, scaled = (
            train(kept, tmp_path / str(standardised), replace(still, standardised=standardised), seed=1)[0].module
            for standardised in (False, True)
        )
        assert isinstance(plain, Student) and isinstance(scaled, Student)
        deviation = torch.cat([region_samples(pair).start for pair in kept[:4]]).std(0)
        expected = 1 / deviation.clamp(min=0.1 * float(deviation.mean()))
        torch.testing.assert_close(scaled.start_scale, expected, rtol=1e-4, atol=0)
        assert (plain.start_scale == 1).all()

    def test_without_a_step_the_map_is_the_regression_of_the_start(
        self, pairs: list[PairedSlide], tmp_path: Path
    ) -> None:
        kept = [replace(pair, start=pair.lr) for pair in pairs]
        config = replace(CONFIG, lambda_keep=1.0, patches_per_epoch=9999, fit=replace(FIT, steps=0))
        fit, _ = train(kept, tmp_path, config)
        samples = [region_samples(pair) for pair in kept[:4]]
        expected = fit_start_map((one.start, one.mean) for one in samples)
        assert isinstance(fit.module, Student)
        torch.testing.assert_close(fit.module.projection.state_dict(), expected.state_dict())
        found = fit.documents["fidelity.json"]
        assert found["distilled"] == found["start"] and found["distilled"]["r2"] > 0  # type: ignore[index]

    def test_a_student_of_another_dimension_needs_no_projector_then(
        self, pairs: list[PairedSlide], tmp_path: Path
    ) -> None:
        other = tiny_encoder("test_convnext", seed=0)
        starts = []
        for pair in pairs[:6]:
            index = read_index(pair.lr)
            path = tmp_path / f"{pair.lr.stem}.start.zarr"
            starts.append(replace(pair, start=write_bag(path, index, np.zeros((len(index), other.dim)))))
        config = replace(CONFIG, lambda_keep=1.0, fit=replace(FIT, steps=3))
        fit, _ = train(starts, tmp_path, config, "test_convnext")
        assert isinstance(fit.module, Student) and fit.module.encoder.dim == other.dim == 64
        found = fit.documents["fidelity.json"]
        assert found["start"]["r2"] is not None and found["distilled"]["r2"] is not None  # type: ignore[index]
        assert found["start"] != found["distilled"]  # type: ignore[index]

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
    config = Stage1Config(lambda_layer=0.5, lambda_attn=2.0, lambda_keep=0.0)
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


@pytest.mark.parametrize("scale", [1.0, 4.0])
@pytest.mark.parametrize("cosine", [False, True])
def test_a_map_of_the_embedding_matches_while_the_embedding_stays_near_its_start(cosine: bool, scale: float) -> None:
    """What is kept is the embedding with its length, in its own scale, whatever the map is compared by."""
    torch.manual_seed(0)
    embedding, numbered = torch.randn(3, 3), numbered_batch()
    batch = numbered._replace(targets=replace(numbered.targets, class_tokens=()))
    student = Student(Fixed(embedding, ()), [], [], projected_dim=5)  # type: ignore[arg-type]
    student.set_scales(torch.ones(5), [], torch.full((3,), scale))
    config = Stage1Config(layers=(), lambda_attn=2.0, lambda_keep=3.0, cosine=cosine)
    with torch.inference_mode():
        terms = stage1_losses(student, batch, config, CPU)
    with torch.no_grad():
        matched = student.projection(embedding)
    region = region_loss(matched, batch.targets.mean, cosine=cosine)
    keep = region_loss(scale * embedding, scale * batch.targets.start)
    assert float(terms["region"]) == pytest.approx(float(region), rel=1e-5)
    assert float(terms["keep"]) == pytest.approx(float(keep), rel=1e-5)
    assert float(terms["loss"]) == pytest.approx(2 * float(region) + 3 * float(keep), rel=1e-5)


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
    train(pairs, tmp_path, replace(CONFIG, layers=(-1, 0), fit=replace(FIT, steps=3)))
    assert set(asked) == {(0, -1)}


@pytest.mark.parametrize("augmented", [True, False])
def test_batches_are_augmented_with_the_stain_of_the_settings(
    pairs: list[PairedSlide], tmp_path: Path, augmented: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of the training alone: validation and fidelity see the patches as they are."""
    asked: list[object] = []
    real = patch_stage.draw_changes

    def spied(count: int, generator: torch.Generator, **options: object) -> object:
        asked.append(options)
        return real(count, generator, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(patch_stage, "draw_changes", spied)
    train(pairs, tmp_path, replace(CONFIG, augment=augmented, stain=0.3, fit=replace(FIT, steps=3)))
    assert asked == [{"stain": 0.3}] * 3 * augmented


def test_the_last_interval_is_as_long_as_the_steps_that_are_left(pairs: list[PairedSlide], tmp_path: Path) -> None:
    _, history = train(pairs, tmp_path, replace(CONFIG, fit=replace(FIT, steps=5, interval=3)))
    assert [row["step"] for row in history] == [3, 5]
