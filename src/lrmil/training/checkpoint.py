"""The checkpoint of a training: one safetensors file, complete or absent, that only its own training resumes from."""

import json
import logging
import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from pydantic import TypeAdapter
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from lrmil.errors import OutputError, OverwriteError
from lrmil.io import atomic
from lrmil.io.ownership import is_checkpoint, is_free
from lrmil.io.plain_files import is_plain
from lrmil.io.tensors import save_tensors
from lrmil.io.untrusted import read_header

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]
INTERVAL = 10.0  # seconds from the end of one write to the next, at least: an epoch can be shorter than a write
REST = 20.0  # and this many times what the write took, at least, so that writing takes less than 5 % of the time


@dataclass(slots=True)
class Progress:
    """How far a training is."""

    epoch: int = 0
    step: int = 0
    best_epoch: int = 0
    best_score: float = -math.inf
    best_loss: float = math.inf
    history: list[dict[str, float]] = field(default_factory=list)


class Checkpoint(NamedTuple):
    """A training at the end of an epoch."""

    progress: Progress
    weights: Mapping[str, Weights]
    """The weights by what they are: "now", "best" and, where they are averaged, "average"."""
    moments: Mapping[int, Weights]
    """The optimiser's moments by the number of the parameter."""


class CheckpointFile:
    """The checkpoint of a training in progress, which is written now and then.

    Parameters
    ----------
    path
        The file.
    key
        Hash of all inputs of the training.
    clock
        Seconds that only rise.
    writes
        Whether it is this process that writes it.
    """

    def __init__(
        self, path: Path, key: str, *, clock: Callable[[], float] = time.monotonic, writes: bool = True
    ) -> None:
        self._path, self._key, self._clock, self._writes = path, key, clock, writes
        self._due = clock() + INTERVAL
        self._saved = True

    def save_if_due(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, as `save_checkpoint` does, unless the last write or the start was a moment ago."""
        self._saved = self._clock() >= self._due
        if self._saved:
            self._save(checkpoint)

    def save_at_stop(self, checkpoint: Checkpoint) -> None:
        """Write what `save_if_due` did not write last; a full disk does not hinder the stop."""
        if not self._saved:
            try:
                self._save(checkpoint)
            except (OutputError, OverwriteError) as error:
                log.warning("The last epochs will be trained again: %s", error)

    def _save(self, checkpoint: Checkpoint) -> None:
        begin = self._clock()
        if self._writes:
            save_checkpoint(self._path, self._key, checkpoint)
        end = self._clock()
        self._due = end + max(INTERVAL, REST * (end - begin))


def save_checkpoint(path: Path, key: str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint, in place of an earlier one.

    Parameters
    ----------
    path
        The file. A file that is not a checkpoint is renamed.
    key
        Hash of all inputs of the training.
    checkpoint
        The training.

    Raises
    ------
    OutputError
        If it cannot be written.
    """
    tensors = {f"{kind}/{name}": value for kind, values in checkpoint.weights.items() for name, value in values.items()}
    for i, moments in checkpoint.moments.items():
        tensors |= {f"optimiser/{i}/{name}": torch.as_tensor(value) for name, value in moments.items()}
    if not is_free(path, is_checkpoint):  # damaged, or another program's
        atomic.move_aside(path)
    with atomic.replacing(path, is_checkpoint) as temporary:
        save_tensors(temporary, tensors, {"key": key, "state": json.dumps(asdict(checkpoint.progress))})


def read_checkpoint(path: Path, key: str, module: nn.Module, *, kinds: Sequence[str]) -> Checkpoint | None:
    """Read a checkpoint that is complete and has this key; return None if there is none.

    Parameters
    ----------
    path
        The file.
    key
        Hash of all inputs of the training; a checkpoint with another key is ignored.
    module
        The module in training, whose shapes the weights must have.
    kinds
        The weights that the training needs; see `Checkpoint`.
    """
    if not is_plain(path):
        return None
    try:
        read_header(path)
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if metadata.get("key") != key:
                return None
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        progress = TypeAdapter(Progress).validate_json(metadata["state"])
        weights = {kind: _weights(tensors, kind, module) for kind in kinds}
        return Checkpoint(progress, weights, _moments(tensors, module))
    except (SafetensorError, OSError, KeyError, IndexError, TypeError, ValueError) as error:
        log.warning("%s is damaged and ignored, so this training starts again: %s", path.name, error)
        return None


def _weights(tensors: Weights, kind: str, module: nn.Module) -> Weights:
    """Return the weights of one kind; require those of the module, so that a checkpoint is loaded whole or not."""
    found = _under(f"{kind}/", tensors)
    own = {name: value.shape for name, value in module.state_dict().items()}
    if {name: value.shape for name, value in found.items()} != own:
        raise ValueError("its weights are those of another network")
    return found


def _moments(tensors: Weights, module: nn.Module) -> dict[int, Weights]:
    shapes = [parameter.shape for parameter in module.parameters() if parameter.requires_grad]
    moments: dict[int, Weights] = {}
    for name, value in _under("optimiser/", tensors).items():
        i, moment = name.split("/", 1)
        if value.shape != (shapes[int(i)] if moment.startswith("exp_avg") else torch.Size()):
            raise ValueError("its moments are those of another network")
        moments.setdefault(int(i), {})[moment] = value
    return moments


def _under(prefix: str, tensors: Weights) -> Weights:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
