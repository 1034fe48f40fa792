"""A checkpoint comes back as it was, and only whole, to its own training."""

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from lrmil.training import checkpoint
from lrmil.training.checkpoint import (
    INTERVAL,
    REST,
    Checkpoint,
    CheckpointFile,
    Progress,
    read_checkpoint,
    save_checkpoint,
)

KINDS = ("now", "best", "average")


def module() -> nn.Module:
    network = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    network[0].bias.requires_grad_(False)
    return network


def example(network: nn.Module) -> Checkpoint:
    """A checkpoint whose numbers all differ."""
    weights = {kind: {name: value + i for name, value in network.state_dict().items()} for i, kind in enumerate(KINDS)}
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    moments = {
        i: {"exp_avg": torch.rand_like(one), "exp_avg_sq": torch.rand_like(one), "step": torch.tensor(5.0)}
        for i, one in enumerate(trained)
    }
    return Checkpoint(Progress(2, 5, 1, 0.5, 0.25, [{"epoch": 1.0}, {"epoch": 2.0}]), weights, moments)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    network, path = module(), tmp_path / "a.checkpoint.safetensors"
    saved = example(network)
    save_checkpoint(path, "key", saved)
    found = read_checkpoint(path, "key", module(), kinds=KINDS)
    assert found is not None and found.progress == saved.progress and found.moments.keys() == saved.moments.keys()
    for before, after in ((saved.weights, found.weights), (saved.moments, found.moments)):
        assert all(torch.equal(after[one][name], value) for one, part in before.items() for name, value in part.items())


@pytest.mark.parametrize("change", ["absent", "key", "link"])
def test_another_trainings_is_ignored_without_a_word(
    tmp_path: Path, change: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.checkpoint.safetensors"
    if change != "absent":
        save_checkpoint(tmp_path / "b" if change == "link" else path, "key", example(module()))
    if change == "link":
        path.symlink_to(tmp_path / "b")
    assert read_checkpoint(path, "other" if change == "key" else "key", module(), kinds=KINDS) is None
    assert caplog.text == ""


@pytest.mark.parametrize("missing", ["average", "now/0.weight", "optimiser shape", "weight shape"])
def test_one_that_does_not_fit_is_ignored_as_a_whole(
    tmp_path: Path, missing: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.checkpoint.safetensors"
    save_checkpoint(path, "key", example(module()))
    tensors = {name: value for name, value in load_file(path).items() if not name.startswith(missing)}
    for name, change in (("optimiser/0/exp_avg", "optimiser shape"), ("best/0.weight", "weight shape")):
        if missing == change:
            tensors[name] = torch.zeros(7)
    state = '{"epoch": 2, "step": 5, "best_epoch": 1, "best_score": 0.5, "best_loss": 0.25, "history": []}'
    save_file(tensors, path, {"key": "key", "state": state})
    assert read_checkpoint(path, "key", module(), kinds=KINDS) is None and "starts again" in caplog.text


def test_a_file_of_someone_else_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.checkpoint.safetensors"
    path.write_text("a user's")
    save_checkpoint(path, "key", example(module()))
    assert read_checkpoint(path, "key", module(), kinds=KINDS) is not None
    assert sorted(one.read_text() for one in tmp_path.iterdir() if one != path) == ["a user's"]


class Clock:
    """Seconds that pass when a test says so, and while a checkpoint is written."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("took", [0.0, 0.1, 0.9 * INTERVAL / REST, 3.0, 60.0])
@pytest.mark.parametrize("epoch", [0.05, 3.0, 2 * INTERVAL])
def test_writing_takes_a_small_share_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: float, epoch: float
) -> None:
    clock, written, key = Clock(), [], "key"

    def write(*_: object) -> None:
        written.append(clock.now)
        clock.now += took

    monkeypatch.setattr(checkpoint, "save_checkpoint", write)
    file, saved = CheckpointFile(tmp_path / "a", key, clock=clock), example(module())
    while len(written) < 10:
        clock.now += epoch
        file.save_if_due(saved)
    between = [later - earlier - took for earlier, later in pairwise(written)]
    pause = max(INTERVAL, REST * took)
    assert min(between) >= pause - 1e-6
    assert max(between) <= pause + epoch + 1e-6  # the first end of an epoch after it
    assert INTERVAL - 1e-6 <= written[0] - 1000 <= INTERVAL + epoch
    assert (len(written) - 1) * took <= (clock.now - 1000) / REST


def test_at_a_stop_it_writes_what_it_has_not(tmp_path: Path) -> None:
    clock, path = Clock(), tmp_path / "a.checkpoint.safetensors"
    file, saved = CheckpointFile(path, "key", clock=clock), example(module())
    file.save_at_stop(saved)  # before the first epoch has ended
    file.save_if_due(saved)
    assert not path.exists()
    file.save_at_stop(saved)
    assert read_checkpoint(path, "key", module(), kinds=KINDS) is not None
    path.unlink()
    clock.now += INTERVAL
    file.save_if_due(saved)
    assert path.exists()
    path.unlink()
    file.save_at_stop(saved)
    assert not path.exists()
