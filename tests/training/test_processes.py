"""Processes that torchrun starts train one network: with the mean of their gradients, and broken off and resumed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w
import torch
from torch import Tensor, nn

from lrmil.cli import main
from lrmil.configs import to_dict
from lrmil.models.encoders.distilled import read_encoder_card
from lrmil.training.averages import moving_average
from lrmil.training.optimiser import make_optimiser, set_rate
from lrmil.training.processes import average_gradients, from_first, joined, rank, share_buffers
from support.paths import TESTS
from support.runs import tiny_config
from support.trained_in_processes import CONFIG, EPOCHS, STEPS, loss_of, network

pytestmark = pytest.mark.long
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def torchrun(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TORCHRUN, *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=300, check=False
    )


def naive_training() -> nn.Module:
    """Train as both processes do: a network for each, one step of both from the mean of their gradients."""
    modules = [network(), network()]
    optimisers = [make_optimiser(module, CONFIG, {}) for module in modules]
    average = moving_average(modules[0], CONFIG.ema)
    assert average is not None
    best, best_loss = {}, torch.inf
    for step in range(EPOCHS * STEPS):
        for process, module in enumerate(modules):
            module.train()
            module.zero_grad()
            loss_of(module, process).backward()
        for one, other in zip(modules[0].parameters(), modules[1].parameters(), strict=True):
            assert one.grad is not None and other.grad is not None
            one.grad = (one.grad + other.grad) / 2
            other.grad = one.grad.clone()
        for module, optimiser in zip(modules, optimisers, strict=True):
            nn.utils.clip_grad_norm_(module.parameters(), CONFIG.clip)
            set_rate(optimiser, CONFIG, step, EPOCHS * STEPS)
            optimiser.step()
        average.update_parameters(modules[0])
        if (step + 1) % STEPS == 0:
            average.module.eval()
            with torch.inference_mode():
                loss = float(loss_of(average.module, 5))
            if loss < best_loss:
                best_loss = loss
                best = {name: value.clone() for name, value in average.module.state_dict().items()}
    modules[0].load_state_dict(best)
    return modules[0]


def test_all_take_the_step_of_the_mean_gradient_and_a_broken_training_goes_on(tmp_path: Path) -> None:
    done = torchrun(str(TESTS / "support/trained_in_processes.py"), str(tmp_path))
    assert done.returncode == 0, done.stderr
    first, second = (torch.load(tmp_path / f"{number}.pt", weights_only=True) for number in range(2))

    def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
        return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())

    assert same(first["whole"], second["whole"]) and same(first["whole"], first["resumed"])
    assert same(first["resumed"], second["resumed"])
    scores = [[epoch["val_score"] for epoch in one["history"]] for one in (first, second)]
    assert scores[0] == scores[1] and len(scores[0]) == EPOCHS, "the first process decides"
    assert {path.name for path in tmp_path.iterdir()} == {"0.pt", "1.pt", "broken.safetensors"}
    expected = naive_training().state_dict()
    for name, value in first["whole"].items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)


def test_a_process_alone_is_left_as_it_is() -> None:
    module = network()
    loss_of(module, 0).backward()
    before = [value.grad.clone() for value in module.parameters() if value.grad is not None]
    with joined("cuda:9") as device:
        average_gradients(list(module.parameters()))
        share_buffers(module)
        assert (device, rank(), from_first(3)) == ("cuda:9", 0, 3)
    assert all(torch.equal(value.grad, old) for value, old in zip(module.parameters(), before, strict=True))  # type: ignore[arg-type]


def test_an_encoder_is_distilled_by_two_processes(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = [str(path) for path in sorted((cohort / "slides").iterdir())[:4]]
    settings = tmp_path / "settings.toml"
    settings.write_text(tomli_w.dumps(to_dict(tiny_config(stage1__fit__steps=6, stage1__fit__interval=3))))
    asked = ["distil", *slides, "--config", str(settings), "--device", "cpu"]
    out = tmp_path / "two"
    done = torchrun("-m", "lrmil", *asked, "--out", str(out))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Encoder:") == 1, "one process speaks"
    history = json.loads((out / "work/lr_encoder/history.json").read_text())
    assert [epoch["step"] for epoch in history] == [3, 6]
    card = (out / "lrmil.json").read_bytes()
    assert main([*asked, "--out", str(out)]) == 0, "a plain call finds it done"
    assert "Encoder:" in capsys.readouterr().out and (out / "lrmil.json").read_bytes() == card
    assert len(read_encoder_card(out).seen) == 4
