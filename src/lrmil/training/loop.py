"""The one training loop: warm-up and cosine, mixed precision, clipping, averaged weights, early stopping, resume.

On a CPU a run that was killed ends with the same weights as an uninterrupted one, wherever its last checkpoint is,
since the randomness of each epoch and step depends only on the seed and its number. An epoch is what lies between two
validations: a pass over the slides at the slide level, a number of optimisation steps in stage 1.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from lrmil.configs import OptimiserConfig
from lrmil.errors import ConfigError
from lrmil.steps import Job, Step, job_text
from lrmil.training.averages import averaged_weights, moving_average, weights_of
from lrmil.training.checkpoint import Checkpoint, CheckpointFile, Progress, Weights, read_checkpoint
from lrmil.training.optimiser import load_moments, make_optimiser, set_rate
from lrmil.training.processes import average_gradients, from_first, rank, share_buffers

RANK_SEED = 7919  # added to the seed of each process but the first
AT_ONCE = ("cpu",)  # devices on which a result is there when its call returns
EpochLosses = Callable[[int, torch.Generator], Iterator[dict[str, Tensor]]]
Validate = Callable[[], dict[str, float]]


class Fit(NamedTuple):
    """A trained module with the weights that are kept, and the metrics of every epoch."""

    module: nn.Module
    history: list[dict[str, float]]
    documents: Mapping[str, object] = {}
    """What else the training found, JSON-ready, by the name of the file that is kept beside the weights."""


@dataclass(frozen=True, slots=True)
class FitRun:
    """What makes a training repeatable and lets it resume.

    Attributes
    ----------
    seed
        With the number of the epoch, it determines all randomness.
    checkpoint
        File to resume from and to update now and then (`CheckpointFile`). The caller deletes it when the final weights
        are written.
    key
        Hash of all inputs; a checkpoint with another key is ignored.
    device
        Where the module is trained.
    """

    seed: int
    checkpoint: Path
    key: str
    device: torch.device


class Budget(NamedTuple):
    """How long a training is at most."""

    epochs: int
    """Epochs, each followed by a validation."""
    steps: int
    """Optimisation steps of all epochs, for the schedule of the learning rate."""


def fit_steps(
    job: Job,
    module: nn.Module,
    run: FitRun,
    *,
    epoch_losses: EpochLosses,
    budget: Budget,
    validate: Validate | None,
    config: OptimiserConfig,
    smoothing: float = 0.0,
    rates: Mapping[str, float] | None = None,
    validates_start: bool = False,
) -> Iterator[Step[Fit]]:
    """Train a module; keep its weights at the best validation, without one its last: with `config.ema` their average.

    Parameters
    ----------
    job, run
        Job of the Steps; seed, checkpoint, key and device.
    module
        What is trained; its parameters with `requires_grad`.
    epoch_losses
        Called with the epoch and a seeded generator. It yields named scalar losses for each optimisation step; "loss"
        is minimised.
    budget
        Epochs and optimisation steps at most.
    validate
        Called after each epoch with the weights that would be kept. It returns "score" (higher is better) and "loss"
        (breaks ties) on validation data. None trains for the whole budget and selects nothing.
    config
        Learning rate, schedule, clipping, averaging and patience.
    smoothing
        Share of the scores before in the score of an epoch, 0 to 1; 0 takes each as it is.
    rates
        Highest learning rate of parts of the module that have their own: name of the submodule -> rate.
    validates_start
        Whether the weights before the first step are validated too, as epoch 0, so that they may be the ones to keep.

    Yields
    ------
    Step
        One per optimisation step, and one per epoch with its metrics. The last carries the `Fit`.

    Raises
    ------
    ConfigError, OutputError
        If a loss is not finite; if the checkpoint cannot be written.
    """
    training = _Training(job, module, run, config, budget, selects=validate is not None, rates=rates or {})
    if validates_start and validate is not None and not training.state.history:
        yield training.validate_start(validate)
    while training.goes_on:
        generator = torch.Generator().manual_seed(training.seed * 100_003 + training.state.epoch)
        means = yield from training.fit_epoch(epoch_losses(training.state.epoch, generator))
        try:
            yield training.end_epoch(means, validate, smoothing)
        except GeneratorExit:
            training.stop()
            raise
    yield training.end()


class _Training:
    """A module in training: its optimiser, its progress, the average of its weights, and the best weights."""

    def __init__(
        self,
        job: Job,
        module: nn.Module,
        run: FitRun,
        config: OptimiserConfig,
        budget: Budget,
        *,
        selects: bool,
        rates: Mapping[str, float],
    ) -> None:
        self.job, self.module, self.run, self.config, self.budget = job, module, run, config, budget
        self.selects, self.file = selects, CheckpointFile(run.checkpoint, run.key, writes=rank() == 0)
        self.seed = run.seed + RANK_SEED * rank()
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.optimiser = make_optimiser(module, config, rates)
        self.average = moving_average(module, config.ema)
        self.best = weights_of(module)
        self.state = Progress()
        kinds = ("now", "best", "average") if self.average else ("now", "best")
        if found := read_checkpoint(run.checkpoint, run.key, module, kinds=kinds):
            self._resume(found)

    def _resume(self, found: Checkpoint) -> None:
        self.state = found.progress
        self.module.load_state_dict(found.weights["now"])
        self.best.update(found.weights["best"])
        if self.average:
            self.average.module.load_state_dict(found.weights["average"])
            self.average.n_averaged.fill_(self.state.step)
        load_moments(self.optimiser, self.parameters, found.moments)

    @property
    def goes_on(self) -> bool:
        """Whether an epoch is left, and validation has improved lately."""
        state = self.state
        stale = self.selects and state.epoch - state.best_epoch >= self.config.patience
        return state.epoch < self.budget.epochs and not stale

    def validate_start(self, validate: Validate) -> Step[Fit]:
        """Validate the weights before the first step, as epoch 0."""
        self.module.eval()
        metrics = self._validate(validate, smoothing=0.0) | {"epoch": 0.0, "step": 0.0}
        self.state.history.append(metrics)
        return self._report(metrics)

    def fit_epoch(self, losses_of_epoch: Iterator[dict[str, Tensor]]) -> Generator[Step[Fit], None, dict[str, float]]:
        """Take the optimisation steps of an epoch, and return the mean of each loss."""
        self.module.train()
        sums: dict[str, Tensor] = {}  # on the device, which need not wait for a number of each step
        first, at_once = self.state.step + 1, self.run.device.type in AT_ONCE
        while (losses := _next(losses_of_epoch, self._step_seed, self.run.device)) is not None:
            if at_once:
                self._require_finite(losses["loss"], self.state.step + 1)
            self._take_step(losses["loss"])
            for name, value in losses.items():
                sums[name] = sums[name] + value.detach().double() if name in sums else value.detach().double()
            yield self._report()
        self.module.eval()
        if "loss" in sums:
            self._require_finite(sums["loss"], first)
        return {name: float(value) / (self.state.step + 1 - first) for name, value in sums.items()}

    @property
    def _step_seed(self) -> int:
        return self.seed * 1_000_003 + self.state.step

    def _require_finite(self, loss: Tensor, step: int) -> None:
        """Require a finite loss of a step, or sum of the losses since then."""
        if not loss.isfinite():
            since = "" if step > self.state.step else " or later"
            raise ConfigError(
                f"Expected finite losses in {job_text(self.job)}. Got {loss.detach().item()} in step {step}{since} at "
                f"a learning rate of {self.config.learning_rate:g}. Lower it, or check the features."
            )

    def _take_step(self, loss: Tensor) -> None:
        set_rate(self.optimiser, self.config, self.state.step, self.budget.steps)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        average_gradients(self.parameters)
        nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimiser.step()
        if self.average:
            self.average.update_parameters(self.module)
        self.state.step += 1

    def end_epoch(self, means: dict[str, float], validate: Validate | None, smoothing: float) -> Step[Fit]:
        """Validate, keep the weights if this epoch is the best, and save the checkpoint if it is due."""
        state = self.state
        state.epoch += 1
        metrics = {f"train_{name}": value for name, value in means.items()}
        share_buffers(self.module, *([self.average] if self.average else []))
        if validate is not None:
            with averaged_weights(self.module, self.average):
                metrics |= self._validate(validate, smoothing)
        metrics |= {"epoch": float(state.epoch), "step": float(state.step)}
        state.history.append(metrics)
        self.file.save_if_due(self._checkpoint())
        return self._report(metrics)

    def _validate(self, validate: Validate, smoothing: float) -> dict[str, float]:
        """Return the scores of the module, and keep its weights if they are the best."""
        state, scores = self.state, from_first(validate())
        scores["score"] = _smoothed(scores["score"], state.history, smoothing)
        if (scores["score"], -scores["loss"]) > (state.best_score, -state.best_loss):
            state.best_epoch, state.best_score, state.best_loss = state.epoch, scores["score"], scores["loss"]
            self.best = weights_of(self.module)
        return {f"val_{name}": value for name, value in scores.items()}

    def stop(self) -> None:
        """Save the epoch that has just ended."""
        self.file.save_at_stop(self._checkpoint())

    def _checkpoint(self) -> Checkpoint:
        weights: dict[str, Weights] = {"now": self.module.state_dict(), "best": self.best}
        if self.average:
            weights["average"] = self.average.module.state_dict()
        return Checkpoint(self.state, weights, self.optimiser.state_dict()["state"])

    def _report(self, metrics: dict[str, float] | None = None) -> Step[Fit]:
        total = self.budget.steps
        return Step(self.job, min(self.state.step, total), total, "steps", metrics=metrics or {})

    def end(self) -> Step[Fit]:
        """Give the module the weights to keep."""
        state, total = self.state, self.budget.steps
        if self.selects:
            self.module.load_state_dict(self.best)
            best = next((row["step"] for row in state.history if row["epoch"] == state.best_epoch), 0.0)
            message = f"kept the weights after step {best:.0f} of {state.step}, the best validation"
        else:
            if self.average and state.step:
                self.module.load_state_dict(self.average.module.state_dict())
            message = f"kept the weights after step {state.step}"
        self.module.eval()
        return Step(self.job, total, total, "steps", result=Fit(self.module, state.history), message=message)


def _smoothed(score: float, history: Sequence[Mapping[str, float]], smoothing: float) -> float:
    """Return the exponential smoothing of the scores up to this one."""
    before = history[-1]["val_score"] if history else math.nan
    return smoothing * before + (1 - smoothing) * score if smoothing and math.isfinite(before) else score


def _next(losses: Iterator[dict[str, Tensor]], seed: int, device: torch.device) -> dict[str, Tensor] | None:
    """Return the losses of the next step with dropout drawn from `seed`, and restore the random state."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return next(losses, None)
