"""Why a training ended, from its log and its folder."""

import os
import time
from pathlib import Path

import pytest

from lrmil.runs.watch import RunStatus
from napari_lrmil.jobs import training_process
from napari_lrmil.jobs.training_process import end_message, last_words, may_write_report


def test_words_of_a_log_that_are_shown(tmp_path: Path) -> None:
    assert last_words(tmp_path) == ""
    for printed, shown in (
        ("", ""),
        ("Traceback (most recent call last):\n  File x\nValueError: no\n", "ValueError: no"),
        ("a warning\nlrmil train: Expected a. Got b;\n  row 2: c\n", "Expected a. Got b;\n  row 2: c"),
        ("x" * 5000, "x" * training_process.MAX_CHARACTERS),
    ):
        (tmp_path / "train.log").write_text(printed)
        assert last_words(tmp_path) == shown


@pytest.mark.parametrize("state", ["absent", "running", "stopped", "failed", "interrupted", "finished"])
def test_an_end_has_a_reason_unless_it_was_asked_for_or_all_is_there(tmp_path: Path, state: str) -> None:
    status = RunStatus(state, message="no disk" if state == "failed" else "")  # type: ignore[arg-type]
    assert bool(end_message(tmp_path, status)) == (state in ("failed", "interrupted", "finished"))
    (tmp_path / "train.log").write_text("lrmil train: the reason\n")
    message = end_message(tmp_path, status)
    assert bool(message) == (state not in ("running", "stopped"))
    assert (str(tmp_path / "train.log") in message) == bool(message)
    assert ("no disk" if state == "failed" else "the reason") in message or not message
    assert ("Resume" in message) == (state == "interrupted")
    (tmp_path / "report.html").write_text("")
    assert (end_message(tmp_path, status) == message) == (state != "finished")


def test_a_report_is_waited_for_a_while_after_the_metrics(tmp_path: Path) -> None:
    finished = RunStatus("finished")
    assert not may_write_report(tmp_path, finished)
    (tmp_path / "metrics.json").write_text("{}")
    assert may_write_report(tmp_path, finished) and not may_write_report(tmp_path, RunStatus("stopped"))
    old = time.time() - training_process.REPORT_SECONDS - 5
    os.utime(tmp_path / "metrics.json", (old, old))
    assert not may_write_report(tmp_path, finished)
    (tmp_path / "metrics.json").write_text("{}")
    (tmp_path / "report.html").write_text("")
    assert not may_write_report(tmp_path, finished)
