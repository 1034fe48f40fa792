"""The training loop: the best epoch is kept, early stopping counts right, and a broken run ends as an unbroken one."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lrmil.configs import FitConfig
from lrmil.errors import ConfigError, OutputError, OverwriteError
from lrmil.steps import Step
from lrmil.training import checkpoint, loop
from lrmil.training.loop import Budget, Fit, FitRun, fit_steps

CPU = torch.device("cpu")
STEPS_PER_EPOCH = 3
Weights = dict[str, Tensor]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 16), nn.Dropout(0.5), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 1))


def scores(values: Sequence[tuple[float, float]]) -> Callable[[], dict[str, float]]:
    """Validation that gives one (score, loss) an epoch, whatever the module."""
    left = iter(values)

    def validate() -> dict[str, float]:
        score, loss = next(left)
        return {"score": score, "loss": loss}

    return validate


def fitting(
    module: nn.Module,
    folder: Path,
    *,
    validate: Callable[[], dict[str, float]] | None = None,
    key: str = "key",
    seed: int = 1,
    selects: bool = True,
    smoothing: float = 0.0,
    validates_start: bool = False,
    **settings: object,
) -> Iterator[Step[Fit]]:
    config = FitConfig(**{"epochs": 6, "learning_rate": 0.05, **settings})  # type: ignore[arg-type]
    inputs = torch.randn(24, 4, generator=torch.Generator().manual_seed(5))
    truth = inputs.sum(1, keepdim=True)

    def epoch_losses(epoch: int, generator: torch.Generator) -> Iterator[dict[str, Tensor]]:
        order = torch.randperm(24, generator=generator)
        for part in order.split(8):
            loss = (module(inputs[part]) - truth[part]).square().mean()
            yield {"loss": loss, "twice": 2 * loss}

    def measured() -> dict[str, float]:
        with torch.inference_mode():
            loss = float((module(inputs) - truth).square().mean())
        return {"score": -loss, "loss": loss}

    return fit_steps(
        ("fold-0", "job"),
        module,
        FitRun(seed, folder / "job.checkpoint.safetensors", key, CPU),
        epoch_losses=epoch_losses,
        budget=Budget(config.epochs, config.epochs * STEPS_PER_EPOCH),
        validate=(validate or measured) if selects else None,
        config=config,
        smoothing=smoothing,
        validates_start=validates_start,
    )


def weights(module: nn.Module) -> Weights:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def same(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def run(steps: Iterator[Step[Fit]], module: nn.Module) -> tuple[Fit, list[Weights]]:
    """Train to the end; the weights after each epoch."""
    epochs = []
    fit: Fit | None = None
    for step in steps:
        fit = step.result or fit
        if step.metrics:
            epochs.append(weights(module))
    assert fit is not None and fit.module is module
    return fit, epochs


@pytest.mark.parametrize("best", [1, 3, 6])
def test_the_best_epoch_is_given_back_in_evaluation_mode(tmp_path: Path, best: int) -> None:
    module = network()
    values = [(1.0 if epoch == best else epoch / 100, 1.0) for epoch in range(1, 7)]
    fit, epochs = run(fitting(module, tmp_path, validate=scores(values)), module)
    assert len(epochs) == 6 and same(weights(module), epochs[best - 1])
    assert not any(same(epochs[best - 1], other) for i, other in enumerate(epochs) if i != best - 1)
    assert not module.training and [row["epoch"] for row in fit.history] == [1, 2, 3, 4, 5, 6]
    assert [row["step"] for row in fit.history] == [3, 6, 9, 12, 15, 18]


@pytest.mark.parametrize("patience", [1, 2, 3])
def test_training_stops_after_patience_epochs_without_a_better_one(tmp_path: Path, patience: int) -> None:
    module = network()
    values = [(0.1, 1.0), (0.5, 1.0)] + [(0.4, 1.0)] * 8
    fit, epochs = run(fitting(module, tmp_path, validate=scores(values), patience=patience, epochs=10), module)
    assert len(fit.history) == 2 + patience
    assert same(weights(module), epochs[1])


def test_equal_scores_are_decided_by_the_loss_and_equal_losses_by_the_first(tmp_path: Path) -> None:
    module = network()
    values = [(0.5, 0.9), (0.5, 0.3), (0.5, 0.3), (0.5, 0.6), (0.4, 0.1), (0.5, 0.8)]
    _, epochs = run(fitting(module, tmp_path, validate=scores(values)), module)
    assert same(weights(module), epochs[1])


def test_a_score_that_is_not_a_number_never_wins(tmp_path: Path) -> None:
    module = network()
    values = [(0.5, 0.9), (float("nan"), 0.3), (0.4, float("nan")), (0.6, 0.6), (float("nan"), 0.1), (0.5, 0.8)]
    _, epochs = run(fitting(module, tmp_path, validate=scores(values)), module)
    assert same(weights(module), epochs[3])


def test_no_epochs_leave_the_module_as_it_was(tmp_path: Path) -> None:
    module = network()
    before = weights(module)
    fit, epochs = run(fitting(module, tmp_path, epochs=0), module)
    assert same(weights(module), before) and fit.history == [] and epochs == []


def test_learning_lowers_the_loss_and_reports_it(tmp_path: Path) -> None:
    module = network()
    steps = list(fitting(module, tmp_path, epochs=20))
    history = steps[-1].result.history  # type: ignore[union-attr]
    assert history[-1]["val_loss"] < 0.5 * history[0]["val_loss"]
    assert all(row["train_twice"] == pytest.approx(2 * row["train_loss"]) for row in history)
    assert [dict(step.metrics) for step in steps if step.metrics] == history
    assert [step.done for step in steps] == sorted(step.done for step in steps)
    assert steps[-1].done == steps[-1].total == 20 * STEPS_PER_EPOCH


def test_parameters_that_need_no_gradient_stay(tmp_path: Path) -> None:
    module = network()
    module[0].requires_grad_(False)  # type: ignore[union-attr]
    before = weights(module)
    run(fitting(module, tmp_path), module)
    after = weights(module)
    assert torch.equal(after["0.weight"], before["0.weight"]) and not torch.equal(after["4.weight"], before["4.weight"])


@pytest.mark.usefixtures("every_epoch_saved")
@pytest.mark.parametrize("stopped", [1, 2, 3, 5])
@pytest.mark.parametrize("further", [0, 2])
@pytest.mark.parametrize(
    "settings",
    [{}, {"ema": 0.9}, {"selects": False}, {"selects": False, "ema": 0.9}, {"ema": 0.9, "smoothing": 0.5}],
    ids=str,
)
def test_a_broken_run_ends_with_the_same_weights(
    tmp_path: Path, stopped: int, further: int, settings: dict[str, Any]
) -> None:
    """Stopped after an epoch, or in the middle of the next: dropout, batch norm, moments, averages, schedule go on."""
    unbroken = network()
    whole, epochs = run(fitting(unbroken, tmp_path / "unbroken", **settings), unbroken)
    assert len(epochs) == 6

    first = network()
    steps = fitting(first, tmp_path / "broken", **settings)
    for step in steps:
        if step.metrics and step.metrics["epoch"] == stopped:
            break
    for _ in range(further):
        next(steps)
    steps.close()  # type: ignore[attr-defined]

    torch.rand(11)
    second = network(seed=9)  # what it starts from does not matter
    fit, rest = run(fitting(second, tmp_path / "broken", **settings), second)
    assert len(rest) == 6 - stopped
    assert same(weights(second), weights(unbroken)) and same(rest[-1], epochs[-1])
    assert fit.history == whole.history


@pytest.mark.usefixtures("every_epoch_saved")
@pytest.mark.parametrize("further", [1, 2, 4, 7])
@pytest.mark.parametrize("saved", [0, 1, 3])
@pytest.mark.parametrize("settings", [{}, {"ema": 0.9, "smoothing": 0.5}, {"selects": False, "ema": 0.9}], ids=str)
def test_epochs_after_the_last_checkpoint_are_trained_again_to_the_same_end(
    tmp_path: Path, saved: int, further: int, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that breaks between two epochs' ends, one or more after its last checkpoint, or without any."""
    unbroken = network()
    whole, epochs = run(fitting(unbroken, tmp_path / "unbroken", **settings), unbroken)

    if saved == 0:
        monkeypatch.setattr(checkpoint, "INTERVAL", math.inf)
    steps = fitting(network(), tmp_path / "broken", **settings)
    done = 0
    while done < saved * (STEPS_PER_EPOCH + 1):  # each epoch has a Step of its own
        if done == saved * (STEPS_PER_EPOCH + 1) - 1:
            monkeypatch.setattr(checkpoint, "INTERVAL", math.inf)  # this write is the last
        next(steps)
        done += 1
    for _ in range(further):
        next(steps)
    if further % (STEPS_PER_EPOCH + 1) == 0:  # an epoch's end, where a stop would save it: be killed instead
        monkeypatch.setattr(checkpoint, "save_checkpoint", lambda *_: None)
    steps.close()  # type: ignore[attr-defined]

    monkeypatch.undo()
    second = network(seed=9) if saved else network()
    fit, rest = run(fitting(second, tmp_path / "broken", **settings), second)
    assert len(rest) == 6 - saved
    assert same(weights(second), weights(unbroken)) and same(rest[-1], epochs[-1])
    assert fit.history == whole.history


def saved_epochs(steps: Iterator[Step[Fit]], path: Path) -> Iterator[int]:
    """The epoch of the checkpoint after each Step; 0 without one."""
    for _ in steps:
        if not path.exists():
            yield 0
            continue
        with safe_open(path, framework="pt") as file:
            yield json.loads(file.metadata()["state"])["epoch"]


def test_short_epochs_are_not_saved_but_a_stop_at_their_end_is(tmp_path: Path) -> None:
    path = tmp_path / "job.checkpoint.safetensors"
    steps = fitting(network(), tmp_path)
    for step in steps:
        if step.metrics and step.metrics["epoch"] == 3:
            break
    assert not path.exists()
    steps.close()  # type: ignore[attr-defined]
    assert next(saved_epochs(iter([step]), path)) == 3
    before = path.stat().st_mtime_ns
    resumed = fitting(network(), tmp_path)
    next(resumed)
    resumed.close()  # type: ignore[attr-defined]  # in the middle of an epoch, which is no state to resume from
    assert path.stat().st_mtime_ns == before and next(saved_epochs(iter([step]), path)) == 3


@pytest.mark.usefixtures("every_epoch_saved")
def test_without_an_interval_every_epoch_is_saved(tmp_path: Path) -> None:
    found = list(saved_epochs(fitting(network(), tmp_path), tmp_path / "job.checkpoint.safetensors"))
    assert found == [0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 6, 6]


@pytest.mark.parametrize("error", [OutputError, OverwriteError])
def test_a_full_disk_does_not_hinder_a_stop(
    tmp_path: Path, error: type[Exception], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise error("the disk is full")

    monkeypatch.setattr(checkpoint, "save_checkpoint", full)
    steps = fitting(network(), tmp_path)
    next(step for step in steps if step.metrics)
    steps.close()  # type: ignore[attr-defined]
    assert "trained again" in caplog.text and "the disk is full" in caplog.text


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_full_disk_ends_a_training_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OutputError("the disk is full")

    monkeypatch.setattr(checkpoint, "save_checkpoint", full)
    with pytest.raises(OutputError, match="full"):
        list(fitting(network(), tmp_path))


@pytest.mark.usefixtures("every_epoch_saved")
def test_the_best_epoch_survives_a_break(tmp_path: Path) -> None:
    values = [(0.1, 1.0), (0.9, 1.0), (0.2, 1.0), (0.3, 1.0), (0.4, 1.0), (0.5, 1.0)]
    module = network()
    _, epochs = run(fitting(module, tmp_path / "unbroken", validate=scores(values)), module)
    steps = fitting(network(), tmp_path / "broken", validate=scores(values))
    for step in steps:
        if step.metrics and step.metrics["epoch"] == 4:
            break
    steps.close()  # type: ignore[attr-defined]
    again = network()
    run(fitting(again, tmp_path / "broken", validate=scores(values[4:])), again)
    assert same(weights(again), epochs[1])


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    module = network()
    run(fitting(module, tmp_path), module)
    again = network(seed=3)
    steps = list(fitting(again, tmp_path))
    assert len(steps) == 1 and same(weights(again), weights(module))


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_checkpoint_of_other_inputs_is_not_resumed(tmp_path: Path) -> None:
    module = network()
    _, epochs = run(fitting(module, tmp_path, epochs=2), module)
    other = network()
    _, anew = run(fitting(other, tmp_path, key="another", epochs=2), other)
    assert len(anew) == 2 and same(anew[0], epochs[0])


@pytest.mark.usefixtures("every_epoch_saved")
@pytest.mark.parametrize("damage", ["half", "empty", "text", "no state"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    reference, again = network(), network()
    run(fitting(reference, tmp_path / "a"), reference)
    checkpoint = tmp_path / "b/job.checkpoint.safetensors"
    checkpoint.parent.mkdir()
    whole = (tmp_path / "a/job.checkpoint.safetensors").read_bytes()
    if damage == "no state":
        save_file({"now/x": torch.zeros(1)}, checkpoint, {"key": "key"})
    else:
        checkpoint.write_bytes({"half": whole[: len(whole) // 2], "empty": b"", "text": b"no weights"}[damage])
    run(fitting(again, tmp_path / "b"), again)
    assert same(weights(again), weights(reference)) and "job.checkpoint.safetensors is damaged" in caplog.text


def test_randomness_comes_from_the_seed_alone_and_is_given_back(tmp_path: Path) -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    one, other, third = network(), network(), network()
    torch.random.set_rng_state(state)
    run(fitting(one, tmp_path / "1"), one)
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.rand(5)
    run(fitting(other, tmp_path / "2"), other)
    run(fitting(third, tmp_path / "3", seed=2), third)
    assert same(weights(one), weights(other)) and not same(weights(one), weights(third))


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_checkpoint_is_safetensors_and_nothing_else(tmp_path: Path) -> None:
    module = network()
    run(fitting(module, tmp_path, epochs=1), module)
    assert [path.name for path in tmp_path.iterdir()] == ["job.checkpoint.safetensors"]
    with safe_open(tmp_path / "job.checkpoint.safetensors", framework="pt") as file:
        names = set(file.keys())
        assert file.metadata()["key"] == "key"
    assert {f"{part}/{name}" for part in ("now", "best") for name in module.state_dict()} <= names


def test_the_rate_rises_then_falls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rates: list[float] = []
    step = torch.optim.AdamW.step

    def spied(self: torch.optim.AdamW, *args: object) -> object:
        rates.append(self.param_groups[0]["lr"])
        return step(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(torch.optim.AdamW, "step", spied)
    module = network()
    run(fitting(module, tmp_path, epochs=10, warmup=0.2, learning_rate=0.06), module)
    assert len(rates) == 30
    assert rates[:6] == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])
    assert rates[6] == pytest.approx(0.06) and rates[18] == pytest.approx(0.03)
    assert rates[6:] == sorted(rates[6:], reverse=True) and rates[-1] < 0.001


def test_a_loss_that_is_not_finite_ends_the_training_with_the_remedy(tmp_path: Path) -> None:
    module = network()
    module[0].weight.data[0, 0] = torch.nan  # type: ignore[index, union-attr]
    with pytest.raises(ConfigError, match=r"finite losses in fold-0: job\. Got nan in step 1 "):
        list(fitting(module, tmp_path))


def test_on_a_device_that_computes_behind_losses_are_judged_once_an_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_once = list(fitting(network(), tmp_path / "one"))[-1].result
    monkeypatch.setattr(loop, "AT_ONCE", ())
    later = list(fitting(network(), tmp_path / "other"))[-1].result
    assert at_once is not None and later is not None and at_once.history == later.history
    module = network()
    module[0].weight.data[0, 0] = torch.nan  # type: ignore[index, union-attr]
    with pytest.raises(ConfigError, match=r"Got nan in step 1 or later "):
        list(fitting(module, tmp_path / "last"))


def test_the_callers_random_state_is_left_alone(tmp_path: Path) -> None:
    module = network()
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    steps = fitting(module, tmp_path)
    next(steps)
    assert torch.equal(torch.rand(3), expected)
    steps.close()  # type: ignore[attr-defined]


def test_without_a_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    module = network()
    fit, epochs = run(fitting(module, tmp_path, selects=False, patience=1), module)
    assert len(epochs) == 6 and same(weights(module), epochs[-1]) and not module.training
    assert all(row.keys() == {"train_loss", "train_twice", "epoch", "step"} for row in fit.history)


def naive_average(every: Sequence[Weights], decay: float) -> Weights:
    """The moving average of the weights after each step, whose decay rises at first."""
    average = {name: value.clone() for name, value in every[0].items()}
    for count, now in enumerate(every[1:], 1):
        share = min(decay, (1 + count) / (10 + count))
        for name, value in now.items():
            if value.is_floating_point():
                average[name] = share * average[name] + (1 - share) * value
    return average


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.999])
def test_averaged_weights_are_kept_and_validated(tmp_path: Path, decay: float) -> None:
    module, every, validated = network(), [], []

    def validate() -> dict[str, float]:
        validated.append(weights(module))
        return {"score": float(len(validated)), "loss": 0.0}

    for step in fitting(module, tmp_path, validate=validate, ema=decay):
        if not step.metrics and step.result is None:
            every.append(weights(module))
    assert len(every) == 18 and len(validated) == 6
    for epoch, found in enumerate(validated, 1):
        expected = naive_average(every[: 3 * epoch], decay)
        for name, value in expected.items():
            if value.is_floating_point():
                torch.testing.assert_close(found[name], value)
    assert same(weights(module), validated[-1]) and not same(weights(module), every[-1])

    alone = network()
    run(fitting(alone, tmp_path / "alone", selects=False, ema=decay), alone)
    assert same(weights(alone), weights(module))


def test_averaging_does_not_change_the_training_itself(tmp_path: Path) -> None:
    plain, averaged = network(), network()
    _, expected = run(fitting(plain, tmp_path / "plain"), plain)
    _, epochs = run(fitting(averaged, tmp_path / "averaged", ema=0.9), averaged)
    assert all(same(one, other) for one, other in zip(epochs, expected, strict=True))


def test_smoothed_scores_decide(tmp_path: Path) -> None:
    """One lucky validation is not the best, and a slow rise is no standstill."""
    module = network()
    values = [(-4.0, 4.0), (-1.0, 1.0), (-3.0, 3.0), (-1.5, 1.5), (-1.4, 1.4), (-4.0, 4.0)]
    fit, epochs = run(fitting(module, tmp_path, validate=scores(values), smoothing=0.5), module)
    expected, last = [], -4.0
    for score, _ in values:
        last = 0.5 * last + 0.5 * score
        expected.append(last)
    assert [row["val_score"] for row in fit.history] == pytest.approx(expected)
    assert same(weights(module), epochs[4]) and [row["val_loss"] for row in fit.history][4] == 1.4


def test_a_score_that_is_not_a_number_does_not_spoil_the_later_ones(tmp_path: Path) -> None:
    module = network()
    values = [(0.1, 1.0), (float("nan"), 1.0), (0.3, 1.0), (0.2, 1.0), (0.1, 1.0), (0.1, 1.0)]
    _, epochs = run(fitting(module, tmp_path, validate=scores(values), smoothing=0.5), module)
    assert same(weights(module), epochs[2])


def test_no_epochs_leave_a_module_that_is_averaged_as_it_was(tmp_path: Path) -> None:
    for selects in (True, False):
        module = network()
        before = weights(module)
        run(fitting(module, tmp_path, epochs=0, ema=0.9, selects=selects), module)
        assert same(weights(module), before)


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_checkpoint_without_the_average_is_not_resumed_with_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    module, again = network(), network()
    run(fitting(module, tmp_path, epochs=2), module)
    _, epochs = run(fitting(again, tmp_path, epochs=2, ema=0.9), again)
    assert len(epochs) == 2 and "starts again" in caplog.text


def test_a_start_that_is_never_beaten_is_kept_if_it_is_validated(tmp_path: Path) -> None:
    """It counts as epoch 0: it wins ties, and patience counts from it."""
    for name, found, best in (
        ("start", [(0.9, 0.1), (0.8, 0.1), (0.9, 0.1), (0.7, 0.1)], 0),
        ("later", [(0.5, 0.1), (0.4, 0.1), (0.5, 0.05), (0.4, 0.1)], 2),
    ):
        module = network()
        before = weights(module)
        options = {"validate": scores(found), "validates_start": True, "epochs": 3, "ema": 0.5, "patience": 3}
        fit, _ = run(fitting(module, tmp_path / name, **options), module)  # type: ignore[arg-type]
        assert [row["epoch"] for row in fit.history] == [0, 1, 2, 3]
        assert [row["val_score"] for row in fit.history] == [score for score, _ in found]
        assert "train_loss" not in fit.history[0] and fit.history[0]["step"] == 0
        assert same(weights(fit.module), before) == (best == 0) and not fit.module.training
    short = scores([(0.9, 0.1), (0.8, 0.1), (0.7, 0.1)])
    module = network()
    steps = fitting(module, tmp_path / "short", validate=short, validates_start=True, epochs=6, patience=2)
    assert len(run(steps, module)[0].history) == 3


def test_to_validate_the_start_changes_no_weight_of_the_training(tmp_path: Path) -> None:
    ends = []
    for validates in (False, True):
        module = network()
        fit, epochs = run(fitting(module, tmp_path / str(validates), validates_start=validates, ema=0.9), module)
        ends.append((weights(fit.module), epochs[int(validates) :], fit.history[int(validates) :]))
    assert same(ends[0][0], ends[1][0]) and ends[0][2] == ends[1][2]
    assert all(same(one, other) for one, other in zip(ends[0][1], ends[1][1], strict=True))


@pytest.mark.usefixtures("every_epoch_saved")
def test_a_start_is_validated_once_however_often_the_training_breaks(tmp_path: Path) -> None:
    whole = network()
    unbroken, _ = run(fitting(whole, tmp_path / "whole", validates_start=True), whole)
    for stop in (1, 2, 6, 14):  # at the validation, in the first epoch, and later
        steps = fitting(network(), tmp_path / "broken", validates_start=True)
        for _ in range(stop):
            next(steps)
        steps.close()  # type: ignore[attr-defined]
    module = network()
    fit, _ = run(fitting(module, tmp_path / "broken", validates_start=True), module)
    assert fit.history == unbroken.history and same(weights(fit.module), weights(unbroken.module))


def test_without_a_validation_there_is_none_of_the_start(tmp_path: Path) -> None:
    module = network()
    fit, _ = run(fitting(module, tmp_path, validates_start=True, selects=False), module)
    assert [row["epoch"] for row in fit.history] == [1, 2, 3, 4, 5, 6]


def test_each_epoch_and_each_seed_has_draws_of_its_own(tmp_path: Path) -> None:
    drawn: dict[int, list[float]] = {}
    for seed in (1, 2):
        module, of_seed = network(), drawn.setdefault(seed, [])

        def epoch_losses(
            _: int, generator: torch.Generator, module: nn.Module = module, of_seed: list[float] = of_seed
        ) -> Iterator[dict[str, Tensor]]:
            of_seed.append(float(torch.rand((), generator=generator)))
            yield {"loss": module(torch.ones(2, 4)).square().mean()}

        config = FitConfig(epochs=3)
        options = {"epoch_losses": epoch_losses, "budget": Budget(3, 3), "validate": None, "config": config}
        list(fit_steps(("job",), module, FitRun(seed, tmp_path / str(seed), "key", CPU), **options))  # type: ignore[arg-type]
    assert len({*drawn[1], *drawn[2]}) == 6
