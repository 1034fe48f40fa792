"""`lrmil reviews`: the last word on each slide, as a list, JSON or a table."""

import json
from pathlib import Path

import pytest

from lrmil.reviews.log import append_review
from support.cli import RunCli, table
from support.reviews import entry


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.jsonl"
    append_review(path, entry(note="first"))
    append_review(path, entry(note="[bold]last[/bold]"))
    append_review(path, entry(slide_fingerprint="f2", slide_id="b"))
    return path


def test_only_the_last_of_a_slide_and_model_is_listed(run_cli: RunCli, log: Path) -> None:
    code, out, _ = run_cli("reviews", log, "--json")
    assert code == 0 and [one["note"] for one in json.loads(out)["reviews"]] == ["[bold]last[/bold]", ""]
    code, out, _ = run_cli("reviews", log)
    assert code == 0 and "first" not in out


def test_a_table_is_not_written_over_the_log(run_cli: RunCli, log: Path, tmp_path: Path) -> None:
    before = log.read_bytes()
    assert run_cli("reviews", log, "--csv", log)[0] == 1 and log.read_bytes() == before
    assert run_cli("reviews", log, "--csv", tmp_path / "a.csv")[0] == 0
    assert [row["slide_id"] for row in table(tmp_path / "a.csv")] == ["a", "b"]


def test_a_log_that_is_not_there(run_cli: RunCli, tmp_path: Path) -> None:
    code, _, err = run_cli("reviews", tmp_path / "absent.jsonl")
    assert code == 1 and "absent.jsonl" in err.replace("\n", "")
