"""A training seen and stopped from another process, through its folder alone."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from lrmil import cli
from lrmil.configs import TrainConfig
from lrmil.errors import RunError, Stopped
from lrmil.io.settings import write_toml
from lrmil.runs import control, log, watch
from lrmil.runs.control import is_running, request_stop, run_lock
from lrmil.runs.plan_file import write_plan
from lrmil.runs.train import train, train_steps
from lrmil.runs.watch import RunStatus, RunWatch, read_status
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
START = b'{"time": 1.0, "start": true, "plan": "p"}\n'
LOG = (
    START
    + b'{"time": 2.0, "job": ["LR features", "a"], "done": 3, "total": 4, "unit": "patches"}\n'
    + b'{"time": 3.0, "job": ["fold-0", "teacher"], "done": 1, "total": 2, "unit": "steps", "metrics": {"epoch": 1}}\n'
    + b'{"time": 4.0, "job": ["fold-0"], "done": 1, "total": 1, "unit": "folds"}\n'
    + b'{"time": 6.0, "job": ["fold-1", "stage 1"], "done": 1, "total": 9, "unit": "steps", "message": "so so"}\n'
    + b'{"time": 7.0, "job": ["fold-1", "stage 1"], "done": 3, "total": 9, "unit": "steps"}\n'
)
# The same in the words of earlier versions.
EARLIER = (
    START
    + b'{"time": 2.0, "job": "LR features: a", "done": 3, "total": 4, "unit": "patches"}\n'
    + b'{"time": 3.0, "job": "fold-0: teacher", "done": 1, "total": 2, "unit": "steps", "metrics": {"epoch": 1}}\n'
    + b'{"time": 4.0, "job": "fold-0", "done": 1, "total": 1, "unit": "folds"}\n'
    + b'{"time": 6.0, "job": "fold-1: stage 1", "done": 1, "total": 9, "unit": "steps", "message": "so so"}\n'
    + b'{"time": 7.0, "job": "fold-1: stage 1", "done": 3, "total": 9, "unit": "steps"}\n'
)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order: weights can be compared bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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
        with pytest.raises(RunError, match="one is at work; wait for it, stop it"), run_lock(tmp_path):
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
    with pytest.raises(RunError, match="Expected the folder of a run"):
        request_stop(tmp_path / "none")
    assert not (tmp_path / "none").exists() and not control.stop_requested(tmp_path)
    request_stop(tmp_path)
    request_stop(tmp_path)
    assert control.stop_requested(tmp_path) and not control.stop_requested(tmp_path)


class TestStatus:
    @staticmethod
    def splits(run: Path, *folds: str) -> None:
        rows = [f"{fold},a,a,x,train" for fold in (*folds, *folds)]
        (run / "splits.csv").write_text("\n".join(["fold,slide_id,case_id,label,part", *rows]) + "\n")

    def test_absent(self, tmp_path: Path) -> None:
        assert read_status(tmp_path / "none") == RunStatus("absent") == read_status(tmp_path)
        (tmp_path / "settings.toml").write_text("")
        assert read_status(tmp_path).state == "absent"

    def test_a_training_that_begins(self, tmp_path: Path) -> None:
        write_plan(tmp_path, TrainConfig(folds=3), "slides", "labels")
        with run_lock(tmp_path):
            assert read_status(tmp_path) == RunStatus("running", stage="starting", folds_total=4)
            (tmp_path / "steps.jsonl").write_bytes(LOG + b'{"time": 8, "end": "failed", "message": "bad"}\n')
            status = read_status(tmp_path)  # of an earlier call: this one has not yet said that it begins
            assert (status.state, status.stage, status.message, status.done) == ("running", "starting", "", 0)
        status = read_status(tmp_path)
        assert (status.state, status.message, status.done) == ("failed", "bad", 3)

    def test_running_then_each_end(self, tmp_path: Path) -> None:
        self.splits(tmp_path, "fold-0", "fold-1", "final")
        log = tmp_path / "steps.jsonl"
        log.write_bytes(LOG)
        with run_lock(tmp_path):
            status = read_status(tmp_path)
        assert (status.state, status.job, status.stage) == (
            "running",
            ("fold-1", "stage 1"),
            "fold-1: stage 1, patch distillation",
        )
        assert (status.done, status.total, status.unit, status.message) == (3, 9, "steps", "so so")
        assert (status.folds_done, status.folds_total) == (1, 3)
        assert status.stage_seconds_left == pytest.approx(3) and status.seconds_left == pytest.approx(2 * 2 - 2)
        assert [(record.fold, record.stage, record.epoch) for record in status.epochs] == [("fold-0", "teacher", 1)]
        assert read_status(tmp_path) == replace(status, state="interrupted", stage_seconds_left=None, seconds_left=None)
        for end, folds in (("stopped", 1), ("failed", 1), ("finished", 3)):
            log.write_bytes(LOG + f'{{"time": 8, "end": "{end}", "message": ""}}\n'.encode())
            status = read_status(tmp_path)
            assert (status.state, status.message, status.seconds_left) == (end, "so so", None)
            assert status.folds_done == folds

    def test_a_log_of_an_earlier_version_says_the_same(self, tmp_path: Path) -> None:
        self.splits(tmp_path, "fold-0", "fold-1", "final")
        log = tmp_path / "steps.jsonl"
        for length in range(1, len(LOG.splitlines()) + 1):
            found = []
            for version in (EARLIER, LOG):
                log.write_bytes(b"".join(version.splitlines(keepends=True)[:length]))
                with run_lock(tmp_path):
                    found.append(read_status(tmp_path))
            assert found[0] == found[1], length
        assert found[0].epochs and found[0].folds_done == 1

    def test_folds_of_other_settings_are_not_shown(self, tmp_path: Path) -> None:
        (tmp_path / "steps.jsonl").write_bytes(LOG)
        assert len(read_status(tmp_path).epochs) == 1 and read_status(tmp_path).folds_total is None
        self.splits(tmp_path, "fold-a", "final")
        status = read_status(tmp_path)
        assert (status.epochs, status.folds_done, status.folds_total) == ((), 0, 2)

    def test_a_run_of_before_there_were_starts_and_ends(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
        old = [json.loads(line) for line in (run / "steps.jsonl").read_text().splitlines()]
        kept = [line for line in old if "metrics" in line or line.get("message")]
        (run / "steps.jsonl").write_text("".join(json.dumps(line) + "\n" for line in kept if "job" in line))
        status = read_status(run)
        assert (status.state, status.folds_done, status.folds_total, len(status.epochs)) == ("finished", 1, 1, 8)
        (run / "metrics.json").unlink()
        assert read_status(run).state == "interrupted"

    def test_of_a_real_run(self, tiny_run: TinyRun) -> None:
        status = read_status(tiny_run.folder)
        assert (status.state, status.job, status.stage) == ("finished", ("train",), "all folds done, model written")
        assert (status.folds_done, status.folds_total) == (1, 1)
        for stage, name in (("lr_encoder", "lr_encoder"), ("teacher", "teacher"), ("lr_student", "lr_student")):
            history = json.loads((tiny_run.folder / f"fold-0/{name}/history.json").read_text())
            records = [record for record in status.epochs if record.stage == stage]
            assert [{**record.metrics, "epoch": record.epoch} for record in records] == history


class TestWatch:
    @given(st.lists(st.integers(0, len(LOG)), max_size=6))
    def test_however_the_log_grows_it_says_the_same(
        self, tmp_path_factory: pytest.TempPathFactory, cuts: list[int]
    ) -> None:
        run = tmp_path_factory.mktemp("run")
        watch = RunWatch(run)
        for cut in sorted(cuts):
            (run / "steps.jsonl").write_bytes(LOG[:cut])
            assert watch.poll().state in ("absent", "interrupted")
        (run / "steps.jsonl").write_bytes(LOG)
        assert watch.poll() == read_status(run)

    def test_half_a_line_waits_and_garbage_is_passed_over(self, tmp_path: Path) -> None:
        log, watch = tmp_path / "steps.jsonl", RunWatch(tmp_path)
        log.write_bytes(LOG + b'\xff\xfe{"]\n[]\n\n{"time": 9, "job": ["fold-1", "stage 1"], "do')
        assert watch.poll().done == 3
        with log.open("ab") as file:
            file.write(b'ne": 4, "total": 9}\n')
        assert watch.poll().done == 4

    def test_only_what_is_new_is_read(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path, run = tmp_path / "steps.jsonl", RunWatch(tmp_path)
        path.write_bytes(LOG)
        run.poll()
        parsed = []
        monkeypatch.setattr(watch, "parse_line", lambda line: parsed.append(line) or log.parse_line(line))
        run.poll()
        with path.open("ab") as file:
            file.write(b'{"time": 9, "end": "stopped"}\n')
        assert run.poll().state == "stopped" and parsed == [b'{"time": 9, "end": "stopped"}']

    @pytest.mark.parametrize("longer", [False, True])
    def test_a_log_made_anew_is_read_anew(self, tmp_path: Path, longer: bool) -> None:
        log, watch = tmp_path / "steps.jsonl", RunWatch(tmp_path)
        log.write_bytes(LOG)
        assert len(watch.poll().epochs) == 1
        new = START.replace(b"1.0", b"5.0")
        log.write_bytes(new + (b"\n" * len(LOG) if longer else b"") + b'{"time": 6, "job": ["new"], "done": 1}\n')
        status = watch.poll()
        assert (status.job, status.epochs) == (("new",), ())
        log.unlink()
        assert watch.poll() == RunStatus("absent")


class TestStopping:
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
        assert cli.main(arguments) == 1 and "no other training uses" in capsys.readouterr().err
        assert cli.main(["stop", str(run)]) == 0 and "What is finished is kept" in capsys.readouterr().out
        assert process.wait(60) == 130 and watch.poll().state == "stopped"
        assert "Stopped. What is finished is kept" in (run / "train.log").read_text()

        process = start()
        wait_for(lambda: watch.poll().state == "running" and watch.poll().job != ())
        process.kill()
        process.wait()
        assert watch.poll().state == "interrupted" and not is_running(run)

        train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
        assert watch.poll().state == "finished" and weights(run) == weights(tiny_run.folder)
        assert (run / "settings.toml").exists() and (run / "train.log").exists()


class TestCommandLine:
    def test_status(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["status", str(tmp_path)]) == 1 and capsys.readouterr().out == "state: absent\n"
        TestStatus.splits(tmp_path, "fold-0", "fold-1", "final")
        (tmp_path / "steps.jsonl").write_bytes(LOG)
        with run_lock(tmp_path):
            assert cli.main(["status", str(tmp_path)]) == 0
            assert capsys.readouterr().out.splitlines() == [
                "state: running",
                "stage: fold-1: stage 1, patch distillation (3 of 9 steps), about 3 s left",
                "folds: 1 of 3, about 2 s left",
                "last epoch: fold-0, teacher, epoch 1: ",
                "message: so so",
            ]
            assert cli.main(["status", str(tmp_path), "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert (found["state"], found["folds_done"], found["stage_seconds_left"]) == ("running", 1, 3.0)
        assert found["epochs"] == [{"fold": "fold-0", "stage": "teacher", "epoch": 1, "metrics": {}}]

    def test_stop_needs_a_training(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["stop", str(tmp_path)]) == 1
        assert capsys.readouterr().err.startswith("lrmil stop: Expected a training at work in")
        assert not (tmp_path / "stop").exists()
        with run_lock(tmp_path):
            assert cli.main(["stop", str(tmp_path)]) == 0
        assert (tmp_path / "stop").exists()
