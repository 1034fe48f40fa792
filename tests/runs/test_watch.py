"""The state of a run as its folder tells it, and how it is followed."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.configs import TrainConfig
from lrmil.runs import log, watch
from lrmil.runs.control import run_lock
from lrmil.runs.plan_file import write_plan
from lrmil.runs.watch import RunStatus, RunWatch, read_status
from support.run_logs import LOG, START, write_split_rows
from support.runs import TinyRun

pytestmark = pytest.mark.long

# The same in the words of earlier versions.
EARLIER = (
    START
    + b'{"time": 2.0, "job": "LR features: a", "done": 3, "total": 4, "unit": "patches"}\n'
    + b'{"time": 3.0, "job": "fold-0: teacher", "done": 1, "total": 2, "unit": "steps", "metrics": {"epoch": 1}}\n'
    + b'{"time": 4.0, "job": "fold-0", "done": 1, "total": 1, "unit": "folds"}\n'
    + b'{"time": 6.0, "job": "fold-1: stage 1", "done": 1, "total": 9, "unit": "steps", "message": "so so"}\n'
    + b'{"time": 7.0, "job": "fold-1: stage 1", "done": 3, "total": 9, "unit": "steps"}\n'
)


class TestStatus:
    def test_absent(self, tmp_path: Path) -> None:
        assert read_status(tmp_path / "none") == RunStatus("absent") == read_status(tmp_path)
        (tmp_path / "settings.toml").write_text("")
        assert read_status(tmp_path).state == "absent"

    def test_a_training_that_begins(self, tmp_path: Path) -> None:
        write_plan(tmp_path, TrainConfig(folds=3), "slides", "labels")
        with run_lock(tmp_path):
            assert read_status(tmp_path) == RunStatus("running", stage="starting", folds_total=4, has_final=True)
            (tmp_path / "steps.jsonl").write_bytes(LOG + b'{"time": 8, "end": "failed", "message": "bad"}\n')
            status = read_status(tmp_path)  # of an earlier call: this one has not yet said that it begins
            assert (status.state, status.stage, status.message, status.done) == ("running", "starting", "", 0)
        status = read_status(tmp_path)
        assert (status.state, status.message, status.done) == ("failed", "bad", 3)

    def test_running_then_each_end(self, tmp_path: Path) -> None:
        write_split_rows(tmp_path, "fold-0", "fold-1", "final")
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

    def test_the_place_among_the_folds_counts_the_model_apart(self, tmp_path: Path) -> None:
        run = RunStatus("running", folds_total=4, has_final=True)
        assert run.place == "3 folds and the final model"
        training = replace(run, job=("fold-1", "stage 1"), folds_done=1)
        assert training.place == "fold-1 (2 of 3), then the final model"
        assert replace(training, job=("final", "stage 1"), folds_done=3).place == "the final model, after 3 folds"
        assert replace(training, state="finished", job=("train",)).place == "3 folds and the final model"
        alone = RunStatus("running", job=("fold-0", "teacher"), folds_total=1)
        assert alone.place == "fold-0 (1 of 1)" and replace(alone, state="finished").place == "1 fold"
        assert RunStatus("running").place == ""

    def test_a_planned_test_part_needs_one_training(self, tmp_path: Path) -> None:
        write_plan(tmp_path, TrainConfig(folds=3, test_fraction=0.25), "slides", "labels")
        status = read_status(tmp_path)
        assert (status.folds_total, status.has_final, status.place) == (1, False, "1 fold")

    def test_a_log_of_an_earlier_version_says_the_same(self, tmp_path: Path) -> None:
        write_split_rows(tmp_path, "fold-0", "fold-1", "final")
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
        write_split_rows(tmp_path, "fold-a", "final")
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
            assert [{**record.metrics, "epoch": record.epoch, "step": record.step} for record in records] == history


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
