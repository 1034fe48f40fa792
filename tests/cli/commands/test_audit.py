"""`lrmil audit`: one line for each finding, and the exit code."""

import json
import shutil
from pathlib import Path

import pytest

from support.cli import RunCli
from support.runs import TinyRun

pytestmark = pytest.mark.long


def test_a_sound_run(run_cli: RunCli, tiny_run: TinyRun) -> None:
    code, out, _ = run_cli("audit", str(tiny_run.folder))
    assert code == 0 and len(out.splitlines()) == 1 and "4 test slides" in out
    code, out, _ = run_cli("audit", str(tiny_run.folder), "--json")
    found = json.loads(out)
    assert code == 0 and found["ok"] and (found["findings"], found["notes"], found["slides"]) == ([], [], 4)


def test_one_line_for_each_finding(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    (run / "fold-0/teacher/history.json").write_text("[]")
    (run / "fold-0/lr_encoder/history.json").write_text("[]")
    code, out, _ = run_cli("audit", str(run))
    places = [f"fold-0/{name}/history.json" for name in ("teacher", "lr_encoder")]
    assert code == 1 and [line.partition(":")[0] for line in out.splitlines()[:-1]] == places
    code, out, _ = run_cli("audit", str(run), "--json")
    found = json.loads(out)
    assert code == 1 and not found["ok"] and [one["where"] for one in found["findings"]] == places


def test_a_folder_without_a_run(run_cli: RunCli, tmp_path: Path) -> None:
    code, _, errors = run_cli("audit", str(tmp_path))
    assert code == 1 and "plan.toml" in errors
