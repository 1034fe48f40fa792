"""The finish: encoder and MIL learn together from the losses of stage 2 on sampled patches, and resume exactly."""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lrmil.configs import FinishConfig, MILConfig, Stage2Config
from lrmil.errors import SlideError
from lrmil.features.store import read_index
from lrmil.models.encoders.loading import as_input
from lrmil.models.heads.choice import make_mil
from lrmil.models.heads.ensemble import members_of
from lrmil.models.heads.kinds import HEADS, HeadName
from lrmil.steps import Step
from lrmil.tasks.classification import Classification
from lrmil.training import finish, sampled_patches
from lrmil.training.finish import FinishedStudent, finish_losses, train_finish
from lrmil.training.loop import Fit, FitRun
from lrmil.training.lr_patches import PatchReader, read_patch
from lrmil.training.sampled_patches import SampledBag, SampledPatches, SlideBag
from lrmil.training.slide_stage import slide_losses
from support.bags import CPU
from support.runs import tiny_encoder
from support.slides import torn

pytestmark = pytest.mark.long

TASK = Classification(("no", "yes"))
CONFIG = FinishConfig(epochs=2, patches=4, slides_per_step=3, validation_patches=6, ema=0.9)
ALL = Stage2Config(lambda_bag=0.5, lambda_soft=0.5, lambda_hard=0.5)


def make_student(head: HeadName = "abmil", *, seeds: int = 2, dropout: float = 0.0) -> FinishedStudent:
    encoder = tiny_encoder("test_resnet", seed=0)
    torch.manual_seed(0)
    config = MILConfig(head=head, hidden_dim=8, projection_dim=8, dropout=dropout)
    return FinishedStudent(encoder, make_mil(encoder.dim, 2, config, seeds=seeds))


def steps_of(
    slides: Sequence[SlideBag],
    folder: Path,
    student: FinishedStudent,
    *,
    config: FinishConfig = CONFIG,
    val: Sequence[SlideBag] = (),
    stage2: Stage2Config | None = ALL,
    balance: str = "none",
) -> Iterator[Step[Fit]]:
    run = FitRun(5, folder / "finish.checkpoint.safetensors", "key", CPU)
    return train_finish(
        ("finish",), student, slides, val, run, task=TASK, config=config, balance=balance, stage2=stage2, threads=1
    )


def finished(*arguments: object, **options: object) -> Fit:
    found = list(steps_of(*arguments, **options))[-1].result  # type: ignore[arg-type]
    assert found is not None and isinstance(found.module, FinishedStudent)
    return found


def read(slides: Sequence[SlideBag], limit: int) -> list[SampledBag]:
    patches, generator = SampledPatches(1), torch.Generator().manual_seed(0)
    return list(patches.read([patches.draw(slide, limit, generator) for slide in slides]))


def same(one: nn.Module, other: nn.Module) -> bool:
    state = other.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def logits_of(student: FinishedStudent, samples: Sequence[SampledBag]) -> Tensor:
    with torch.inference_mode():
        return torch.stack([student.mil(student.embed(one.pixels, CPU)).logits for one in samples])


def gradients(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.grad.clone() for name, value in module.named_parameters() if value.grad is not None}


class TestLosses:
    @pytest.mark.parametrize("head", HEADS)
    def test_gradients_reach_the_encoder_and_every_member(self, slide_bags: list[SlideBag], head: HeadName) -> None:
        student = make_student(head)
        finish_losses(student, read(slide_bags[:3], 4), TASK, ALL)["loss"].backward()
        encoder = gradients(student.encoder)
        assert {name for name, _ in student.encoder.named_parameters()} == encoder.keys()
        assert all(value.isfinite().all() for value in encoder.values())
        assert sum(float(value.abs().sum()) for value in encoder.values()) > 0
        for member in members_of(student.mil):
            assert sum(float(value.grad.abs().sum()) for value in member.parameters() if value.grad is not None) > 0

    @pytest.mark.parametrize("limit", [1, 4, 1000])
    def test_they_are_those_of_each_slide_alone(self, slide_bags: list[SlideBag], limit: int) -> None:
        """Slides of different length, one after the other and one member after the other: the mean of all."""
        student, samples = make_student(), read(slide_bags[:4], limit)
        found = finish_losses(student, samples, TASK, ALL)
        sums = dict.fromkeys(found, 0.0)
        for one in samples:
            assert one.bag.log_mass is not None and len(one.bag.log_mass) == len(one.pixels)
            embeddings = student.encoder(as_input(one.pixels, CPU)).embedding
            for member in members_of(student.mil):
                alone = finish.pad_embeddings([one.bag], [embeddings])
                for name, value in slide_losses(member, alone, TASK, ALL).items():
                    sums[name] += float(value.detach().sum()) / (len(samples) * 2)
        assert {name: float(value.detach()) for name, value in found.items()} == pytest.approx(sums, rel=1e-4, abs=1e-6)

    def test_the_encoder_gets_the_mean_of_what_the_members_ask(self, slide_bags: list[SlideBag]) -> None:
        student, samples = make_student(seeds=3), read(slide_bags[:2], 3)
        finish_losses(student, samples, TASK, ALL)["loss"].backward()
        together = gradients(student.encoder)
        alone = []
        for member in members_of(student.mil):
            one = FinishedStudent(copy.deepcopy(student.encoder), copy.deepcopy(member))
            one.zero_grad()
            finish_losses(one, samples, TASK, ALL)["loss"].backward()
            alone.append(gradients(one.encoder))
        for name, value in together.items():
            expected = torch.stack([of[name] for of in alone]).mean(0)
            torch.testing.assert_close(value, expected, rtol=1e-3, atol=1e-6)

    def test_a_sample_that_the_teacher_did_not_see_has_no_terms_of_attention(self, slide_bags: list[SlideBag]) -> None:
        (one,) = read(slide_bags[:1], 5)
        unseen = one._replace(bag=replace(one.bag, log_mass=np.full(5, -np.inf, np.float32)))
        with torch.inference_mode():
            found = finish_losses(make_student(), [unseen], TASK, ALL)
        assert float(found["soft"]) == float(found["hard"]) == 0 and found["loss"].isfinite()


class TestTraining:
    def test_it_lowers_the_loss_and_changes_the_answers(
        self, slide_bags: list[SlideBag], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """On slides of which one class is darker."""

        def tinted(reader: PatchReader, index: np.ndarray) -> np.ndarray | None:
            pixels = read_patch(reader, index)
            return pixels // 2 if pixels is not None and int(reader.slide.slide_id[-3:]) % 2 else pixels

        monkeypatch.setattr(sampled_patches, "read_patch", tinted)
        student = make_student()
        config = replace(CONFIG, epochs=16, learning_rate=3e-3, head_learning_rate=1e-2, ema=0.0, stain=0.0)
        fit = finished(slide_bags[:6], tmp_path, student, config=config)
        labels = [epoch["train_ce"] for epoch in fit.history]
        losses = [epoch["train_loss"] for epoch in fit.history]
        assert len(labels) == 16 and np.mean(labels[-3:]) < 0.7 * labels[0] and np.mean(losses[-3:]) < losses[0]
        samples = read(slide_bags[6:], 6)
        assert isinstance(fit.module, FinishedStudent)
        before, after = logits_of(student, samples), logits_of(fit.module, samples)
        targets = torch.tensor([one.bag.target for one in samples])
        assert not torch.allclose(before, after, atol=0.05)
        assert (after.argmax(1) == targets).all() and not (before.argmax(1) == targets).all()

    @pytest.mark.parametrize(("part", "rates"), [("encoder", (1e-3, 1e-12)), ("mil", (1e-12, 1e-3))])
    def test_encoder_and_head_learn_at_their_own_rate(
        self, slide_bags: list[SlideBag], tmp_path: Path, part: str, rates: tuple[float, float]
    ) -> None:
        student, (encoder, head) = make_student(), rates
        config = replace(CONFIG, learning_rate=encoder, head_learning_rate=head, ema=0.0, weight_decay=0.0)
        found = finished(slide_bags[:3], tmp_path, student, config=config).module.state_dict()
        moved = {name: float((found[name] - value.detach()).abs().max()) for name, value in student.named_parameters()}
        own = {name: distance for name, distance in moved.items() if name.startswith(part)}
        assert max(own.values()) > 5e-4 and max(moved[name] for name in moved.keys() - own.keys()) < 1e-9

    def test_the_student_of_stage_2_stays_as_it_is(self, slide_bags: list[SlideBag], tmp_path: Path) -> None:
        student = make_student()
        before = copy.deepcopy(student)
        fit = finished(slide_bags[:3], tmp_path, student)
        assert same(before, student) and not same(before, fit.module)

    def test_no_normalisation_of_the_encoder_is_in_training_mode(
        self, slide_bags: list[SlideBag], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Statistics of a few patches would replace those of the pretraining; the heads have their dropout."""
        modes: list[tuple[bool, bool]] = []
        real = finish.finish_losses

        def spied(student: FinishedStudent, *arguments: object) -> dict[str, Tensor]:
            modes.append((any(part.training for part in student.encoder.modules()), student.mil.training))  # type: ignore[attr-defined]
            return real(student, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(finish, "finish_losses", spied)
        student = make_student(dropout=0.5)
        assert any(isinstance(part, nn.BatchNorm2d) for part in student.encoder.modules())
        found = finished(slide_bags[:6], tmp_path, student, val=slide_bags[6:9]).module
        assert modes == [(False, True)] * 4
        buffers = dict(student.encoder.named_buffers())
        assert all(torch.equal(value, buffers[name]) for name, value in found.encoder.named_buffers())  # type: ignore[union-attr]

    @pytest.mark.parametrize("balance", ["none", "sampling", "logits"])
    def test_rare_classes_are_balanced_as_in_stage_2(
        self, slide_bags: list[SlideBag], tmp_path: Path, balance: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        drawn: list[str] = []
        real = SampledPatches.draw

        def spied(self: SampledPatches, slide: SlideBag, *arguments: object) -> object:
            drawn.append(slide.bag.slide_id)
            return real(self, slide, *arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(SampledPatches, "draw", spied)
        rare = [*slide_bags[::2][:5], slide_bags[1]]
        fit = finished(rare, tmp_path, make_student(), balance=balance, config=replace(CONFIG, epochs=12))
        assert len(fit.history) == 12 and len(drawn) == 72
        share = drawn.count(slide_bags[1].bag.slide_id) / len(drawn)
        assert share == pytest.approx(1 / 6) if balance != "sampling" else 0.35 < share < 0.65

    @pytest.mark.parametrize("augment", [True, False])
    def test_patches_are_augmented_with_the_stain_of_the_settings(
        self, slide_bags: list[SlideBag], tmp_path: Path, augment: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[object] = []
        real = finish.draw_changes

        def spied(count: int, generator: torch.Generator, **options: object) -> object:
            asked.append(options)
            return real(count, generator, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(finish, "draw_changes", spied)
        config = replace(CONFIG, epochs=1, augment=augment, stain=0.3)
        finished(slide_bags[:3], tmp_path, make_student(), config=config)
        assert asked == [{"stain": 0.3}] * augment

    @pytest.mark.parametrize("balance", ["none", "logits"])
    def test_logits_are_adjusted_by_the_frequency_of_the_classes(
        self, slide_bags: list[SlideBag], tmp_path: Path, balance: str
    ) -> None:
        rare = [*slide_bags[::2][:5], slide_bags[1]]
        config = replace(CONFIG, epochs=1, patches=99, slides_per_step=6, augment=False)
        fit = finished(rare, tmp_path, make_student(), balance=balance, config=config)
        adjusted = torch.tensor([5 / 6, 1 / 6]).log() if balance == "logits" else None
        expected = finish_losses(make_student(), read(rare, 99), TASK, ALL, adjusted)
        assert fit.history[0]["train_ce"] == pytest.approx(float(expected["ce"].detach()), rel=1e-4)


class TestSelection:
    def test_without_validation_all_epochs_are_taken_and_averaged(
        self, slide_bags: list[SlideBag], tmp_path: Path
    ) -> None:
        averaged, last = (
            finished(slide_bags[:4], tmp_path / str(ema), make_student(), config=replace(CONFIG, ema=ema))
            for ema in (0.9, 0.0)
        )
        assert [epoch["epoch"] for epoch in averaged.history] == [1, 2]
        assert not any(name.startswith("val_") for epoch in averaged.history for name in epoch)
        assert not same(averaged.module, last.module)

    def test_the_kept_epoch_is_the_best_on_validation(self, slide_bags: list[SlideBag], tmp_path: Path) -> None:
        config = replace(CONFIG, epochs=5, learning_rate=3e-3, head_learning_rate=3e-3, ema=0.0)
        fit = finished(slide_bags[:6], tmp_path, make_student(), val=slide_bags[6:10], config=config)
        best = max(fit.history, key=lambda epoch: (epoch["val_score"], -epoch["val_loss"]))
        assert isinstance(fit.module, FinishedStudent)
        generator, patches = torch.Generator().manual_seed(5), SampledPatches(1)  # the seed of the run
        samples = list(patches.read([patches.draw(slide, 6, generator) for slide in slide_bags[6:10]]))
        values = np.stack([TASK.values(logits.numpy()) for logits in logits_of(fit.module, samples)])
        found = TASK.validate([one.bag.target for one in samples], values)
        assert found.loss == pytest.approx(best["val_loss"], rel=1e-4)

    def test_a_finish_that_only_harms_leaves_the_student_of_stage_2(
        self, slide_bags: list[SlideBag], tmp_path: Path
    ) -> None:
        """It learns the opposite of what it says, which is right on the validation slides."""
        student, held = make_student(), slide_bags[6:10]
        said = logits_of(student, read(held, 6)).argmax(1).tolist()
        right, wrong = (
            [replace(one, bag=replace(one.bag, target=target)) for one, target in zip(held, targets, strict=True)]
            for targets in (said, [1 - target for target in said])
        )
        config = replace(CONFIG, epochs=4, learning_rate=1e-3, head_learning_rate=3e-2, ema=0.0)
        fit = finished(wrong, tmp_path, student, val=right, config=config, stage2=None)
        assert [row["epoch"] for row in fit.history] == [0, 1, 2, 3, 4] and same(fit.module, student)
        assert fit.history[0]["val_loss"] < min(row["val_loss"] for row in fit.history[1:])


@pytest.mark.parametrize("val", [0, 3])
def test_a_stopped_finish_ends_as_an_unbroken_one(slide_bags: list[SlideBag], tmp_path: Path, val: int) -> None:
    """Bit for bit, dropout and augmentation included, wherever it was stopped."""
    options = {"config": replace(CONFIG, epochs=3), "val": slide_bags[6 : 6 + val], "balance": "sampling"}
    unbroken = finished(slide_bags[:6], tmp_path / "one", make_student(dropout=0.5), **options)
    for stop in (2, 4, 7):
        steps = steps_of(slide_bags[:6], tmp_path / "other", make_student(dropout=0.5), **options)  # type: ignore[arg-type]
        for _ in range(stop):
            next(steps)
        steps.close()  # type: ignore[attr-defined]
    resumed = finished(slide_bags[:6], tmp_path / "other", make_student(dropout=0.5), **options)
    assert same(unbroken.module, resumed.module) and unbroken.history == resumed.history


class TestUnreadable:
    def lose(self, slide: SlideBag, monkeypatch: pytest.MonkeyPatch) -> None:
        corners = {tuple((one.astype(int) * 256).tolist()) for one in read_index(slide.lr)}
        torn(monkeypatch, slide.source.slide_id, corners)

    def test_slides_that_are_lost_are_left_out(
        self, slide_bags: list[SlideBag], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for slide in (slide_bags[0], slide_bags[7]):
            self.lose(slide, monkeypatch)
        fit = finished(slide_bags[:4], tmp_path, make_student(), val=slide_bags[6:9])
        assert all(np.isfinite(epoch["val_loss"]) for epoch in fit.history)
        assert all(np.isfinite(epoch["train_loss"]) for epoch in fit.history[1:])

    @pytest.mark.parametrize(("lost", "what"), [((0, 1), "training"), ((6,), "validation")])
    def test_without_any_patch_it_stops(
        self,
        slide_bags: list[SlideBag],
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        lost: tuple[int, ...],
        what: str,
    ) -> None:
        for place in lost:
            self.lose(slide_bags[place], monkeypatch)
        with pytest.raises(SlideError, match=f"{what} slides can be read"):
            finished(slide_bags[:2], tmp_path, make_student(), val=slide_bags[6:7])
