"""What the tests of commands share: the command line in this process, a small model, a real slide."""

from pathlib import Path

import pytest

from lrmil import cli
from lrmil.models.bundle import save_bundle
from support.cli import RunCli
from support.runs import tiny_bundle


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    save_bundle(folder, tiny_bundle())
    return folder


@pytest.fixture
def cmu(shared: Path) -> Path:
    return shared / "data/slides/CMU-1-Small-Region.svs"


@pytest.fixture
def run_cli(capsys: pytest.CaptureFixture[str]) -> RunCli:
    """Run the command line in this process: exit code, standard output, standard error."""

    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        try:
            code = cli.main([str(argument) for argument in arguments])
        except SystemExit as error:
            code = int(error.code or 0)
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        return code, captured.out, captured.err

    return run
