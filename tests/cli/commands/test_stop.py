"""`lrmil stop`: only where a training is at work."""

from pathlib import Path

import pytest

from lrmil import cli
from lrmil.runs.control import run_lock

pytestmark = pytest.mark.long


class TestCommandLine:
    def test_stop_needs_a_training(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert cli.main(["stop", str(tmp_path)]) == 1
        assert capsys.readouterr().err.startswith("lrmil stop: No training is running in")
        assert not (tmp_path / "stop").exists()
        with run_lock(tmp_path):
            assert cli.main(["stop", str(tmp_path)]) == 0
        assert (tmp_path / "stop").exists()
