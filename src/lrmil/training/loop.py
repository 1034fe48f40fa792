"""The one training loop: warm-up and cosine, mixed precision, clipping, early stopping, resume at any epoch.

A checkpoint is one safetensors file, complete or absent; on a CPU a run that was killed ends with the same weights as
an uninterrupted one, since the randomness of each epoch and step depends only on the seed and its number.
"""

import json
import logging
import math
from collections.abc import Callable, Iterator
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
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
    best = {name: value.detach().clone() for name, value in module.state_dict().items()}
    state = _resume(run, module, optimiser, best) or _State()
    total = config.epochs * steps_per_epoch

    while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
        module.train()
        generator = torch.Generator().manual_seed(run.seed * 100_003 + state.epoch)
        sums: dict[str, float] = {}
        count = 0
        losses_of_epoch = epoch_losses(state.epoch, generator)
        while (losses := _next(losses_of_epoch, run.seed * 1_000_003 + state.step, run.device)) is not None:
            if not losses["loss"].isfinite():
                raise ConfigError(
                    f"Expected finite losses in {job_text(job)}. Got {losses['loss'].detach().item()} in epoch "
                    f"{state.epoch + 1} at a learning rate of {config.learning_rate:g}. Lower it, or check the "
                    "features."
                )
            _set_rate(optimiser, config, state.step, total)
            optimiser.zero_grad(set_to_none=True)
            losses["loss"].backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, config.clip)
            optimiser.step()
            state.step += 1
            count += 1
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + float(value.detach())
            yield Step(job, min(state.step, total), total, "steps")
        module.eval()
        scores = validate()
        state.epoch += 1
        if (scores["score"], -scores["loss"]) > (state.best_score, -state.best_loss):
            state.best_epoch, state.best_score, state.best_loss = state.epoch, scores["score"], scores["loss"]
            best = {name: value.detach().clone() for name, value in module.state_dict().items()}
        metrics = {f"train_{name}": value / max(1, count) for name, value in sums.items()}
        metrics |= {f"val_{name}": value for name, value in scores.items()} | {"epoch": float(state.epoch)}
        state.history.append(metrics)
        _save(run, module, optimiser, best, state)
        yield Step(job, min(state.step, total), total, "steps", metrics=metrics)

    module.load_state_dict(best)
    module.eval()
    message = f"best validation at epoch {state.best_epoch} of {state.epoch}"
    yield Step(job, total, total, "steps", result=Fit(module, state.history), message=message)


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
