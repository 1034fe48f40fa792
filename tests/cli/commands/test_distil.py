"""`lrmil distil`: an encoder from slides alone, and what is printed of it."""

from pathlib import Path

import pytest

from lrmil.models.encoders.distilled import read_encoder_card
from lrmil.runs.distil import Distilled
from lrmil.training.fidelity_figures import Fidelity, Match
from support.cli import CPU, RunCli, stand_in, write_checksums
from support.runs import TINY, TinyRun

DONE = Fidelity(7, Match(0.625, 0.5, 12.0), Match(None, None, 40.0), 9.0)


def test_distil_writes_an_encoder_and_says_how_to_go_on(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    slides = sorted(tiny_run.slides.iterdir())[:2]
    (tmp_path / "torn.svs").write_bytes(b"torn")
    settings = [f"--set={name}={value}".replace("False", "false") for name, value in TINY.items() if name != "encoder"]
    out = tmp_path / "an encoder"
    arguments = ["distil", *slides, tmp_path / "torn.svs", "--encoder", "test_resnet", "--out", out, *settings, *CPU]
    code, text, err = run_cli(*arguments)
    assert code == 1, err
    assert "R2 to the teacher" in text and f"Encoder: {out}" in text and "Left out: torn" in text
    assert "--student-encoder" in text and read_encoder_card(out) is not None


def test_every_option_arrives(
    run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = stand_in(monkeypatch, "lrmil.runs.distil.distil_steps", Distilled(tmp_path / "e", DONE, {}))
    slide = tiny_run.slides / "demo-001.ome.tif"
    checksums = write_checksums(tmp_path / "sums.txt", slide)
    about = ["--mpp", "0.6", "--use-objective-power", "--checksums", checksums]
    named = ["--encoder", "a", "--student-encoder", "b", "--mpp-hr", "20x", "--mpp-lr", "1", "--patch-size", 64]
    rest = ["--seed", 3, "--set", "stage1.fit.steps=9", "--preset", "fast", "--out", tmp_path / "e"]
    code, text, err = run_cli("distil", slide, *named, *rest, *about, "--device", "cuda:9")
    assert code == 0, err
    assert "0.625" in text and "not" in text  # the R2 of the start is not defined
    (call,) = calls
    config, (source,) = call["config"], call["slides"]
    assert (config.encoder, config.student_encoder, config.mpp_hr, config.mpp_lr) == ("a", "b", 0.5, 1.0)
    assert (config.patch_size, config.seed, config.stage1.fit.steps, config.mil.seeds) == (64, 3, 9, 1)
    assert (source.mpp, source.objective_power) == (0.6, True) and source.checksums
    assert (call["out"], call["device"]) == (tmp_path / "e", "cuda:9") and checksums in call["inputs"]


def test_a_file_and_a_preset_exclude_each_other(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("seed = 1\n")
    arguments = ["distil", tmp_path, "--encoder", "a", "--out", tmp_path / "e"]
    code, _, err = run_cli(*arguments, "--config", tmp_path / "settings.toml", "--preset", "paper")
    assert code == 2 and "--config" in err and "--preset" in err
