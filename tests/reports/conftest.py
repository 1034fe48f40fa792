"""Fixtures of the tests of reports."""

import shutil
from pathlib import Path

import pytest

from lrmil.reports.run_report import write_report
from support.runs import TinyRun


@pytest.fixture(scope="session")
def finished(tiny_run: TinyRun) -> Path:
    """A run on 12 small slides; read only."""
    return tiny_run.folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of the run, to write into."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture(scope="session")
def written(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the run as it is; read only."""
    return write_report(Path(shutil.copytree(finished, tmp_path_factory.mktemp("written") / "run")))
