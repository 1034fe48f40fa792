"""`lrmil validate`: every problem of a cohort at once."""

import json
from pathlib import Path

import pytest

from lrmil.cohorts.screening import Screened
from support.cli import RunCli, stand_in, write_checksums


def test_validate_lists_every_problem(run_cli: RunCli, cohort: Path, tmp_path: Path) -> None:
    code, out, _ = run_cli("validate", cohort / "slides", cohort / "labels.csv", "--patch-size", 64, "--json")
    assert code == 0 and json.loads(out) == {"ok": True, "problems": []}
    code, out, _ = run_cli("validate", cohort / "slides", cohort / "labels.csv", "--patch-size", 64)
    assert code == 0 and "12 slides can be trained on" in out and "patches of 128 um a slide" in out
    code, out, _ = run_cli("validate", cohort / "slides", cohort / "labels.csv", "--json")
    (warning,) = json.loads(out)["problems"]
    assert code == 0 and warning["severity"] == "warning" and "a patch of 256 px" in warning["message"]
    (tmp_path / "labels.csv").write_text((cohort / "labels.csv").read_text().replace("demo-003", "demo-3000"))
    code, out, _ = run_cli("validate", cohort / "slides", tmp_path / "labels.csv", "--json")
    report = json.loads(out)
    assert code == 1 and not report["ok"]
    (error,) = [problem for problem in report["problems"] if problem["severity"] == "error"]
    assert (error["row"], error["column"]) == (5, "slide_id") and "demo-3000" in error["message"] and error["hint"]
    code, out, _ = run_cli("validate", cohort / "slides", tmp_path / "labels.csv")
    assert code == 1 and "demo-3000" in out and "slides can be trained on" not in out


def test_what_is_planned_is_what_is_checked(
    run_cli: RunCli, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"demo-{number:03d}" for number in range(12)]
    looks = (Screened(names[0], "torn"), *(Screened(name, finer=64.0) for name in names[1:]))
    calls = stand_in(monkeypatch, "lrmil.cohorts.screening.screen_steps", looks)
    slides, labels = cohort / "slides", tmp_path / "labels.csv"
    rows = [",".join(row.split(",")[:3]) for row in (cohort / "labels.csv").read_text().splitlines()]
    labels.write_text("\n".join(rows) + "\n")
    checksums = write_checksums(tmp_path / "sums.txt", slides / "demo-001.ome.tif")
    arguments = ["validate", slides, labels, "--mpp-hr", "1", "--mpp-lr", "4"]
    code, out, err = run_cli(*arguments, "--checksums", checksums, "--json")
    told = [(problem["severity"], problem["message"]) for problem in json.loads(out)["problems"]]
    assert code == 1 and ("warning", "Slide 'demo-000': torn") in told and len(told) == 2
    (call,) = calls
    assert (call["mpp"], call["lr"]) == (1.0, 4.0)
    assert [one.slide_id for one in call["sources"] if one.checksums] == ["demo-001"]
    code, out, err = run_cli(*arguments)
    assert code == 1 and "11 slides can be trained on" in out and "1 of 12 failed" in err
    code, out, _ = run_cli(*arguments, "--table-only")
    assert code == 0 and "12 slides can be trained on" in out and len(calls) == 2, "no slide is opened"
    code, out, _ = run_cli(*arguments, "--table-only", "--folds", 9)
    assert code == 1 and "9" in out
    assert run_cli(*arguments, "--table-only", "--label-column", "no-such")[0] == 1
