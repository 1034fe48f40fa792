"""`lrmil labels-from-reviews`: from the reviews of a folder to a table that `lrmil validate` and `lrmil train` take."""

import json
from pathlib import Path

import pytest

from lrmil.reviews.log import append_review
from lrmil.slides.parts import fingerprint_of
from support.cli import CPU, RunCli, table
from support.reviews import entry
from support.runs import TINY

NO = {"decision": "override", "human_label": "no"}


@pytest.fixture
def log(cohort: Path, tmp_path: Path) -> Path:
    """Reviews of all slides of the cohort but one: one slide in conflict, one uncertain, and one of another folder."""
    path = tmp_path / "reviews.jsonl"
    for number, slide in enumerate(sorted((cohort / "slides").iterdir())[:-1]):
        about = {"slide_id": slide.name.partition(".")[0], "slide_fingerprint": fingerprint_of(slide), "reviewer": "r"}
        append_review(path, entry(**about, **(NO if number % 2 else {})))
        if number == 0:
            append_review(path, entry(**(about | {"reviewer": "[q]"}), **NO))
        if number == 1:
            append_review(path, entry(**about, decision="uncertain", human_label=""))
    append_review(path, entry(slide_id="gone\x1b[31m", slide_fingerprint="fx", note="Zzyzx-Canary"))
    return path


def test_what_it_writes_is_what_validate_takes(run_cli: RunCli, cohort: Path, log: Path, tmp_path: Path) -> None:
    slides, out = cohort / "slides", tmp_path / "labels.csv"
    code, told, err = run_cli(
        "labels-from-reviews", log, "--slides", slides, "--out", out, "--cases", cohort / "labels.csv"
    )
    assert code == 0 and "9 labels, 3 left out" in told
    assert "Zzyzx" not in told + err + out.read_text() and "\x1b[31m" not in told
    assert [(row["case_id"], row["label"]) for row in table(out)][:2] == [("case-002", "yes"), ("case-003", "no")]
    code, told, _ = run_cli("validate", slides, out, "--json", "--folds", "2", "--table-only")
    assert code == 0 and [one["severity"] for one in json.loads(told)["problems"]] == ["warning"]  # three without a row


@pytest.mark.long
def test_a_training_runs_on_it(run_cli: RunCli, cohort: Path, log: Path, tmp_path: Path) -> None:
    slides, out, run = cohort / "slides", tmp_path / "labels.csv", tmp_path / "run"
    arguments = ["labels-from-reviews", log, "--slides", slides, "--out", out, "--cases", cohort / "labels.csv"]
    assert run_cli(*arguments)[0] == 0
    settings = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items() if not isinstance(value, str)]
    settings += ["--encoder", "test_resnet", "--set=folds=2", *CPU]
    assert run_cli("train", slides, out, "--out", run, *settings)[0] == 0
    answers = table(run / "predictions.csv")
    assert {row["slide_id"]: row["label"] for row in answers} == {row["slide_id"]: row["label"] for row in table(out)}
    assert {row["case_id"] for row in answers} == {row["case_id"] for row in table(out)}


def test_for_programs(run_cli: RunCli, cohort: Path, log: Path, tmp_path: Path) -> None:
    arguments = ["labels-from-reviews", log, "--slides", cohort / "slides", "--out", tmp_path / "labels.csv", "--json"]
    code, out, _ = run_cli(*arguments)
    found = json.loads(out)
    assert code == 0 and found["table"] == str(tmp_path / "labels.csv") and len(found["labels"]) == 9
    by_slide = {one["slide_id"]: one for one in found["left_out"]}
    assert {name: one["why"] for name, one in by_slide.items()} == {
        "demo-000": "conflict",
        "demo-001": "uncertain",
        "gone\x1b[31m": "not in the slides",
    }
    said = [(one["reviewer"], one["human_label"], one["log"]) for one in by_slide["demo-000"]["reviews"]]
    assert sorted(said) == [("[q]", "no", str(log)), ("r", "yes", str(log))]
    assert any("demo-011" in note for note in found["notes"])
    _, out, _ = run_cli(*arguments, "--conflicts", "newest")
    assert "demo-001" in {one["slide_id"] for one in json.loads(out)["left_out"]}


def test_a_users_table_stays_and_a_rerun_replaces_ours(
    run_cli: RunCli, cohort: Path, log: Path, tmp_path: Path
) -> None:
    mine = tmp_path / "mine.csv"
    mine.write_text("slide_id,case_id,label\ndemo-000,p,yes\n")
    before = mine.read_bytes()
    arguments = ["labels-from-reviews", log, "--slides", cohort / "slides", "--out"]
    for out in (mine, log):
        whole = out.read_bytes()
        code, _, err = run_cli(*arguments, out)
        assert code == 1 and out.name in err and out.read_bytes() == whole
    assert mine.read_bytes() == before
    assert [run_cli(*arguments, tmp_path / "labels.csv")[0] for _ in range(2)] == [0, 0]


def test_no_label_is_a_failure_that_says_so(run_cli: RunCli, cohort: Path, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").touch()
    arguments = ["--slides", cohort / "slides", "--out", tmp_path / "labels.csv"]
    code, out, _ = run_cli("labels-from-reviews", tmp_path / "empty.jsonl", *arguments)
    assert code == 1 and "no table was written" in out and not (tmp_path / "labels.csv").exists()
    code, _, err = run_cli("labels-from-reviews", tmp_path / "absent.jsonl", *arguments)
    assert code == 1 and "absent.jsonl" in err
    assert run_cli("labels-from-reviews", *arguments)[0] == 2
