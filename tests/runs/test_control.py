"""A training seen and stopped from another process, through its folder alone."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock

from lrmil import cli
from lrmil.errors import RunError, Stopped
from lrmil.io.settings import write_toml
from lrmil.runs import control, log
from lrmil.runs.control import is_running, request_stop, run_lock
from lrmil.runs.train import train, train_steps
from lrmil.runs.watch import RunWatch, read_status
from support.runs import TinyRun, tiny_config

pytestmark = pytest.mark.long

HOLDER = """
import sys, time
from pathlib import Path
from lrmil.runs.control import run_lock
with run_lock(Path(sys.argv[1])):
    sys.stdout.write("held\\n")
    sys.stdout.flush()
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock of `tmp_path`."""
    with subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout and process.stdout.readline() == "held\n"
        yield process
        process.kill()


def wait_for(found: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not found():
        assert time.monotonic() < end
        time.sleep(0.02)


def weights(run: Path) -> list[bytes]:
    return [(run / "model" / name).read_bytes() for name in ("encoder/model.safetensors", "mil.safetensors")]


class TestLock:
    def test_another_process_is_kept_out_until_it_is_killed(
        self, tmp_path: Path, holder: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(control, "PATIENCE", 0.1)
        assert is_running(tmp_path)
        with pytest.raises(RunError, match="lrmil stop"), run_lock(tmp_path):
            pass
        holder.kill()  # SIGKILL: it can clear nothing up
        holder.wait()
        assert not is_running(tmp_path)
        with run_lock(tmp_path):
            assert is_running(tmp_path)
        assert not is_running(tmp_path)

    def test_a_probe_makes_nothing(self, tmp_path: Path) -> None:
        assert not is_running(tmp_path / "none") and not is_running(tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_a_probe_of_an_instant_turns_no_training_away(self, tmp_path: Path) -> None:
        with run_lock(tmp_path):
            pass
        probe = FileLock(tmp_path / "run.lock", thread_local=False)
        probe.acquire()
        threading.Timer(0.2, probe.release).start()
        with run_lock(tmp_path):
            assert is_running(tmp_path)

    def test_it_is_released_by_whichever_thread_closes_the_work(self, tmp_path: Path) -> None:
        def work() -> Iterator[int]:
            with run_lock(tmp_path):
                yield 1

        steps = work()
        next(steps)
        thread = threading.Thread(target=steps.close)  # type: ignore[attr-defined]
        thread.start()
        thread.join()
        assert not is_running(tmp_path)


def test_a_stop_is_taken_once_and_needs_a_folder(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="none"):
        request_stop(tmp_path / "none")
    assert not (tmp_path / "none").exists() and not control.stop_requested(tmp_path)
    request_stop(tmp_path)
    request_stop(tmp_path)
    assert control.stop_requested(tmp_path) and not control.stop_requested(tmp_path)


class TestStopping:
    @pytest.mark.usefixtures("every_epoch_saved")
    def test_a_run_stopped_in_every_stage_ends_as_an_unbroken_one(
        self, tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(log, "INTERVAL", 0.0)
        run = tmp_path / "run"
        run.mkdir()
        request_stop(run)  # from before the start: without effect
        jobs = (("HR features",), ("fold-0", "stage 1"), ("fold-0", "LR features"), ("fold-0", "lr_undistilled"))
        for job in jobs:
            steps = train_steps(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
            for step in steps:
                if step.job == job and (step.metrics or step.unit == "slides"):  # a training after its first epoch
                    request_stop(run)
                    break
            assert is_running(run)
            with pytest.raises(Stopped):
                next(steps)
            assert not is_running(run) and not (run / "stop").exists() and not (run / "metrics.json").exists()
            status = read_status(run)
            assert (status.state, status.job[: len(job)], status.folds_total) == ("stopped", job, 1)
            if step.metrics:
                assert list((run / "fold-0").glob("*.checkpoint.safetensors"))
        train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
        assert weights(run) == weights(tiny_run.folder)
        assert read_status(run).state == "finished"
        assert [r.epoch for r in read_status(run).epochs] == [1, 2] * 4

    def test_closing_frees_the_folder_and_a_failure_is_told(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        arguments = (tiny_run.slides, tiny_run.labels, tmp_path / "run")
        steps = train_steps(*arguments, tiny_config(), device="cpu")
        next(steps)
        steps.close()  # type: ignore[attr-defined]
        assert not is_running(tmp_path / "run") and read_status(tmp_path / "run").state == "stopped"
        encoder = f"local-dir:{tmp_path}/none"
        with pytest.raises(Exception, match="none"):
            train(*arguments, tiny_config(encoder=encoder), device="cpu")
        status = read_status(tmp_path / "run")
        assert status.state == "failed" and status.message and str(tmp_path) not in status.message

    def test_from_another_process(
        self, tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As the plugin does it: a child process, its settings and its words in the folder of the run."""
        monkeypatch.setattr(control, "PATIENCE", 0.1)
        run = tmp_path / "run"
        run.mkdir()
        write_toml(run / "settings.toml", tiny_config())
        options = ["--out", run, "--config", run / "settings.toml", "--device", "cpu"]
        arguments = [str(argument) for argument in ("train", tiny_run.slides, tiny_run.labels, *options)]
        watch = RunWatch(run)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}

        def start() -> subprocess.Popen[bytes]:
            with (run / "train.log").open("ab") as log:
                command = [sys.executable, "-m", "lrmil", *arguments]
                return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)

        process = start()
        wait_for(lambda: watch.poll().job != ())
        assert watch.poll().state == "running" and cli.main(["status", str(run)]) == 0
        assert "state: running" in capsys.readouterr().out
        assert cli.main(arguments) == 1 and f"lrmil stop {run}" in capsys.readouterr().err
        assert cli.main(["stop", str(run)]) == 0 and "Finished work is kept" in capsys.readouterr().out
        assert process.wait(60) == 130 and watch.poll().state == "stopped"
        assert "Stopped. Finished work is kept" in (run / "train.log").read_text()

        process = start()
        wait_for(lambda: watch.poll().state == "running" and watch.poll().job != ())
        process.kill()
        process.wait()
        assert watch.poll().state == "interrupted" and not is_running(run)

        train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
        assert watch.poll().state == "finished" and weights(run) == weights(tiny_run.folder)
        assert (run / "settings.toml").exists() and (run / "train.log").exists()
