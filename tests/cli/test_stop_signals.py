"""A batch system's SIGTERM ends a command as Ctrl+C does: nothing half-written or locked, and it goes on later."""

import csv
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from lrmil.cli import stop_signals
from lrmil.cli.stop_signals import stopped_by_signals
from lrmil.io.locks import output_lock
from lrmil.io.settings import write_toml
from lrmil.models.bundle import save_bundle
from lrmil.runs.control import is_running
from lrmil.runs.watch import read_status
from napari_lrmil.jobs import training_process
from support.runs import TinyRun, tiny_bundle, tiny_config

pytestmark = [pytest.mark.long, pytest.mark.skipif(sys.platform == "win32", reason="signals are sent another way")]

# Sends itself a signal in the middle of a write, after so many other writes.
STOPPED = """
import os, signal, sys
from lrmil import cli
from lrmil.io import atomic
flush, name, left = atomic.flush, sys.argv[1], int(sys.argv[2])
def stopping(path):
    global left
    if left == 0:
        for _ in range(3):
            os.kill(os.getpid(), getattr(signal, name))
    left -= 1
    flush(path)
atomic.flush = stopping
signal.signal(signal.SIGINT, signal.default_int_handler)  # what a shell or nohup runs in the background ignores some
signal.signal(signal.SIGHUP, signal.SIG_DFL)
del sys.argv[1:3]
sys.exit(cli.main())
"""
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def stopped(name: str, writes: int, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", STOPPED, name, str(writes), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)


def leftovers(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.suffix in (".tmp", ".old")]


def wait_for(found: Callable[[], bool], seconds: float = 90) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def weights(run: Path) -> list[bytes]:
    return [(run / "model" / name).read_bytes() for name in ("encoder/model.safetensors", "mil.safetensors")]


@pytest.mark.parametrize(("name", "writes"), [("SIGTERM", 28), ("SIGHUP", 40)])
def test_a_training(name: str, writes: int, tiny_run: TinyRun, tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_toml(tmp_path / "settings.toml", tiny_config())
    options = ["--out", run, "--config", tmp_path / "settings.toml", "--device", "cpu"]
    ended = stopped(name, writes, "train", tiny_run.slides, tiny_run.labels, *options)
    assert ended.returncode == 130 and ended.stderr.count("Stopped. Finished work is kept") == 1
    assert "Traceback" not in ended.stderr
    assert read_status(run).state == "stopped" and not is_running(run) and not leftovers(run)
    assert not (run / "metrics.json").exists()
    ended = stopped(name, -1, "train", tiny_run.slides, tiny_run.labels, *options)
    assert ended.returncode == 0, ended.stderr
    assert weights(run) == weights(tiny_run.folder)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_classification(name: str, cohort: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    save_bundle(tmp_path / "model", tiny_bundle())
    slides = sorted((cohort / "slides").iterdir())[:4]
    out = tmp_path / "out"
    arguments = ["predict", *slides, "--model", tmp_path / "model", "--out", out, "--device", "cpu"]
    ended = stopped(name, 10, *arguments)
    assert ended.returncode == 130 and "Traceback" not in ended.stderr and "Stopped." in ended.stderr
    assert not leftovers(out)
    finished = sorted(path.stem for path in out.glob("demo-*.json"))
    with (out / "predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = [row["slide_id"] for row in csv.DictReader(file)]
    assert 0 < len(finished) < 4 and set(rows) <= set(finished)
    with output_lock(out, patience=0.1):
        pass
    assert stopped(name, -1, *arguments).returncode == 0
    assert len(list(out.glob("demo-*.json"))) == 4


def test_a_training_that_the_window_started(tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    run = tmp_path / "run"
    training_process.start_training(run, tiny_run.slides, tiny_run.labels, tiny_config(), "cpu")
    process = training_process._started[run]
    wait_for(lambda: read_status(run).job != ())
    process.terminate()
    assert process.wait(60) == 130
    assert read_status(run).state == "stopped" and not is_running(run) and not leftovers(run)
    assert "Stopped" in training_process.last_words(run) and not training_process.has_process(run)


def test_a_command_that_nohup_started_outlives_its_terminal(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\nfrom lrmil import cli\nfrom lrmil.cli.commands import doctor\n"
        "doctor.run = lambda options: os.kill(os.getpid(), signal.SIGHUP) or 0\n"
        "sys.exit(cli.main(['doctor']))"
    )
    for handler, ended in (("SIG_IGN", 0), ("SIG_DFL", 130)):
        command = [sys.executable, "-c", f"import signal; signal.signal(signal.SIGHUP, signal.{handler})\n{code}"]
        assert subprocess.run(command, env=ENVIRONMENT, timeout=90, check=False).returncode == ended


class TestHandlers:
    def test_the_first_raises_and_those_that_follow_do_not_cut_the_clean_up_short(self) -> None:
        cleaned = []
        with pytest.raises(KeyboardInterrupt), stopped_by_signals():
            try:
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(1)
            finally:
                os.kill(os.getpid(), signal.SIGTERM)
                os.kill(os.getpid(), signal.SIGHUP)
                time.sleep(0.01)
                cleaned.append(True)
        assert cleaned == [True] and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL

    def test_one_that_comes_much_later_raises_again(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stop_signals, "PATIENCE", 0.0)
        with stopped_by_signals():
            for _ in range(2):
                with pytest.raises(KeyboardInterrupt):
                    os.kill(os.getpid(), signal.SIGTERM)
                    time.sleep(1)

    def test_handlers_of_others_stay(self) -> None:
        seen = []
        before = signal.signal(signal.SIGTERM, lambda number, frame: seen.append(number))
        try:
            with stopped_by_signals():
                os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.01)
            assert seen == [signal.SIGTERM]
        finally:
            signal.signal(signal.SIGTERM, before)

    def test_another_thread_takes_none(self) -> None:
        errors = []

        def work() -> None:
            try:
                with stopped_by_signals():
                    pass
            except ValueError as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert not errors
