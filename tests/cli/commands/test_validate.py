"""`lrmil validate`: every problem of a cohort at once."""

import json
from pathlib import Path

from support.cli import RunCli


def test_validate_lists_every_problem(run_cli: RunCli, cohort: Path, tmp_path: Path) -> None:
    code, out, _ = run_cli("validate", cohort / "slides", cohort / "labels.csv", "--json")
    assert code == 0 and json.loads(out) == {"ok": True, "problems": []}
    code, out, _ = run_cli("validate", cohort / "slides", cohort / "labels.csv")
    assert code == 0 and "12 slides can be trained on" in out
    (tmp_path / "labels.csv").write_text((cohort / "labels.csv").read_text().replace("demo-003", "demo-3000"))
    code, out, _ = run_cli("validate", cohort / "slides", tmp_path / "labels.csv", "--json")
    report = json.loads(out)
    assert code == 1 and not report["ok"]
    (error,) = [problem for problem in report["problems"] if problem["severity"] == "error"]
    assert (error["row"], error["column"]) == (5, "slide_id") and "demo-3000" in error["message"] and error["hint"]
    code, out, _ = run_cli("validate", cohort / "slides", tmp_path / "labels.csv")
    assert code == 1 and "demo-3000" in out and "slides can be trained on" not in out
