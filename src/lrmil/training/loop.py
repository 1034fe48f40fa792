"""The one training loop: warm-up and cosine, mixed precision, clipping, early stopping, resume at any epoch.

A checkpoint is one safetensors file, complete or absent; on a CPU a run that was killed ends with the same weights as
an uninterrupted one, since the randomness of each epoch and step depends only on the seed and its number.
"""

import json
import logging
import math
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lrmil.configs import FitConfig
from lrmil.errors import ConfigError
from lrmil.io import atomic
from lrmil.io.ownership import is_checkpoint, is_free
from lrmil.io.plain_files import is_plain
from lrmil.io.tensors import save_tensors
from lrmil.io.untrusted import read_header
from lrmil.steps import Job, Step, job_text

log = logging.getLogger(__name__)

EpochLosses = Callable[[int, torch.Generator], Iterator[dict[str, Tensor]]]
Validate = Callable[[], dict[str, float]]


class Fit(NamedTuple):
    """A trained module with the weights of its best epoch, and the metrics of every epoch."""

    module: nn.Module
    history: list[dict[str, float]]


@dataclass(frozen=True, slots=True)
class FitRun:
    """What makes a training repeatable and lets it resume.

    Attributes
    ----------
    seed
        With the number of the epoch, it determines all randomness.
    checkpoint
        File to resume from and to update. The caller deletes it when the final weights are written.
    key
        Hash of all inputs; a checkpoint with another key is ignored.
    device
        Where the module is trained.
    """

    seed: int
    checkpoint: Path
    key: str
    device: torch.device


@dataclass(slots=True)
class _State:
    """Progress of a training, stored in the checkpoint beside the weights."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)


def fit_steps(
    job: Job,
    module: nn.Module,
    run: FitRun,
    *,
    epoch_losses: EpochLosses,
    steps_per_epoch: int,
    validate: Validate,
    config: FitConfig,
) -> Iterator[Step[Fit]]:
    """Train a module and keep the weights of its best validation epoch.

    Parameters
    ----------
    job
        Job of the Steps.
    module
        What is trained; its parameters with `requires_grad`.
    run
        Seed, checkpoint, key and device.
    epoch_losses
        Called with the epoch and a seeded generator. It yields named scalar losses for each optimisation step; "loss"
        is minimised.
    steps_per_epoch
        Expected optimisation steps in an epoch, for the schedule.
    validate
        Called after each epoch. It returns "score" (higher is better) and "loss" (breaks ties) on validation data.
    config
        Epochs, learning rate, schedule, clipping and patience.

    Yields
    ------
    Step
        One per optimisation step, and one per epoch with its metrics. The last carries the `Fit`.

    Raises
    ------
    ConfigError
        If a loss is not finite.
    OutputError
        If the checkpoint cannot be written.
    """
    training = _Training(job, module, run, config, total=config.epochs * steps_per_epoch)
    while training.goes_on:
        generator = torch.Generator().manual_seed(run.seed * 100_003 + training.state.epoch)
        means = yield from training.fit_epoch(epoch_losses(training.state.epoch, generator))
        yield training.end_epoch(means, validate())
    yield training.end()


class _Training:
    """A module in training: its optimiser, its progress, and the weights of its best epoch."""

    def __init__(self, job: Job, module: nn.Module, run: FitRun, config: FitConfig, *, total: int) -> None:
        self.job, self.module, self.run, self.config, self.total = job, module, run, config, total
        self.parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
        self.best = _weights_of(module)
        self.state = _resume(run, module, self.optimiser, self.best) or _State()

    @property
    def goes_on(self) -> bool:
        """Whether an epoch is left, and validation has improved lately."""
        state, config = self.state, self.config
        return state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience

    def fit_epoch(self, losses_of_epoch: Iterator[dict[str, Tensor]]) -> Generator[Step[Fit], None, dict[str, float]]:
        """Take the optimisation steps of an epoch, and return the mean of each loss."""
        self.module.train()
        sums: dict[str, float] = {}
        count = 0
        while (losses := _next(losses_of_epoch, self._step_seed, self.run.device)) is not None:
            self._take_step(losses["loss"])
            count += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            yield self._report()
        self.module.eval()
        return {name: value / max(1, count) for name, value in sums.items()}

    @property
    def _step_seed(self) -> int:
        return self.run.seed * 1_000_003 + self.state.step

    def _take_step(self, loss: Tensor) -> None:
        if not loss.isfinite():
            raise ConfigError(
                f"Expected finite losses in {job_text(self.job)}. Got {loss.detach().item()} in epoch "
                f"{self.state.epoch + 1} at a learning rate of {self.config.learning_rate:g}. Lower it, or check the "
                "features."
            )
        _set_rate(self.optimiser, self.config, self.state.step, self.total)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.parameters, self.config.clip)
        self.optimiser.step()
        self.state.step += 1

    def end_epoch(self, means: dict[str, float], scores: dict[str, float]) -> Step[Fit]:
        """Keep the weights if this epoch is the best, and save the checkpoint."""
        state = self.state
        state.epoch += 1
        if (scores["score"], -scores["loss"]) > (state.best_score, -state.best_loss):
            state.best_epoch, state.best_score, state.best_loss = state.epoch, scores["score"], scores["loss"]
            self.best = _weights_of(self.module)
        metrics = {f"train_{name}": value for name, value in means.items()}
        metrics |= {f"val_{name}": value for name, value in scores.items()} | {"epoch": float(state.epoch)}
        state.history.append(metrics)
        _save(self.run, self.module, self.optimiser, self.best, state)
        return self._report(metrics)

    def _report(self, metrics: dict[str, float] | None = None) -> Step[Fit]:
        return Step(self.job, min(self.state.step, self.total), self.total, "steps", metrics=metrics or {})

    def end(self) -> Step[Fit]:
        """Give the module the weights of its best epoch."""
        self.module.load_state_dict(self.best)
        self.module.eval()
        message = f"best validation at epoch {self.state.best_epoch} of {self.state.epoch}"
        result = Fit(self.module, self.state.history)
        return Step(self.job, self.total, self.total, "steps", result=result, message=message)


def _weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def _next(losses: Iterator[dict[str, Tensor]], seed: int, device: torch.device) -> dict[str, Tensor] | None:
    """Return the losses of the next step with dropout drawn from `seed`, and restore the random state."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        return next(losses, None)


def _set_rate(optimiser: torch.optim.Optimizer, config: FitConfig, step: int, total: int) -> None:
    warm = max(1, round(config.warmup * total))
    if step < warm:
        factor = (step + 1) / warm
    else:
        factor = 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm) / max(1, total - warm))))
    for group in optimiser.param_groups:
        group["lr"] = config.learning_rate * factor


def _save(
    run: FitRun,
    module: nn.Module,
    optimiser: torch.optim.Optimizer,
    best: dict[str, Tensor],
    state: _State,
) -> None:
    tensors = {f"now/{name}": value for name, value in module.state_dict().items()}
    tensors |= {f"best/{name}": value for name, value in best.items()}
    for i, moments in optimiser.state_dict()["state"].items():
        tensors |= {f"optimiser/{i}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    metadata = {"key": run.key, "state": json.dumps(asdict(state))}
    if not is_free(run.checkpoint, is_checkpoint):  # damaged, or another program's
        atomic.move_aside(run.checkpoint)
    with atomic.replacing(run.checkpoint, is_checkpoint) as temporary:
        save_tensors(temporary, tensors, metadata)


def _resume(run: FitRun, module: nn.Module, optimiser: torch.optim.Optimizer, best: dict[str, Tensor]) -> _State | None:
    """Load the checkpoint into module, optimiser and `best`, if it is complete and has this key."""
    path = run.checkpoint
    if not is_plain(path):
        return None
    try:
        read_header(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != run.key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        state = TypeAdapter(_State).validate_json(metadata["state"])
        _require_shapes(tensors, module, optimiser)
    except (SafetensorError, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        log.warning("%s is damaged and ignored, so this training starts again: %s", path.name, error)
        return None
    module.load_state_dict(_under("now/", tensors))
    best.update(_under("best/", tensors))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimiser/", tensors).items():
        i, moment = name.split("/", 1)
        moments.setdefault(int(i), {})[moment] = value
    optimiser.load_state_dict({"state": moments, "param_groups": optimiser.state_dict()["param_groups"]})
    return state


def _require_shapes(tensors: dict[str, Tensor], module: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    """Require tensors that fit the module and its optimiser, so that a checkpoint is loaded whole or not at all."""
    own = {name: value.shape for name, value in module.state_dict().items()}
    for prefix in ("now/", "best/"):
        if {name: value.shape for name, value in _under(prefix, tensors).items()} != own:
            raise ValueError("its weights are those of another network")
    shapes = [parameter.shape for group in optimiser.param_groups for parameter in group["params"]]
    for name, value in _under("optimiser/", tensors).items():
        i, moment = name.split("/", 1)
        if value.shape != (shapes[int(i)] if moment.startswith("exp_avg") else torch.Size()):
            raise ValueError("its moments are those of another network")


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
