"""`lrmil report`: only of a run that is finished."""

from pathlib import Path

from support.cli import RunCli


def test_a_folder_that_is_no_run(run_cli: RunCli, tmp_path: Path) -> None:
    code, out, err = run_cli("report", tmp_path)
    assert code == 1 and out == "" and str(tmp_path) in err.replace("\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_did_not_finish(run_cli: RunCli, tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("folds = 3\n")
    assert run_cli("report", tmp_path)[0] == 1 and not (tmp_path / "report.html").exists()
