"""A folder that tests share is made once in a run, is whole or absent, and is found out when a test changes it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from support.paths import TESTS
from support.shared_folders import contents, shared_folder

SCRIPT = """
import os, sys, time
from pathlib import Path

import pytest

sys.path.insert(0, os.environ["SUPPORT"])
from support.shared_folders import shared_folder

SEEN = Path(os.environ["SEEN"])


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    def make(path):
        path.mkdir()
        (SEEN / f"made-{os.getpid()}").touch()
        time.sleep(0.5)  # long enough that the other process comes meanwhile
        (path / "content").write_text("whole")

    with shared_folder(tmp_path_factory, "folder", make) as path:
        yield path


def test_it(folder):
    assert (folder / "content").read_text() == "whole"
    (SEEN / f"read-{os.getpid()}").touch()
"""


@pytest.fixture
def pytest_in(tmp_path: Path) -> Callable[..., list[str]]:
    """Run two files of one test each in another pytest, and return what its processes did."""
    (tmp_path / "tests").mkdir()
    for name in ("test_one.py", "test_two.py"):
        (tmp_path / "tests" / name).write_text(SCRIPT)
    seen = tmp_path / "seen"
    seen.mkdir()

    def run(*options: str) -> list[str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        support = str(TESTS)
        alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_DEBUG_TEMPROOT": str(tmp_path)}
        plain = ("-q", "-c", os.devnull, "-p", "no:cacheprovider", "--import-mode=importlib")
        subprocess.run(
            [sys.executable, "-m", "pytest", *plain, *options, tmp_path / "tests"],
            env={**own, **alone, "SUPPORT": support, "SEEN": str(seen)},
            cwd=tmp_path,
            check=True,
        )
        return sorted(path.name.partition("-")[0] for path in seen.iterdir())

    return run


def test_two_processes_share_one_folder(pytest_in: Callable[..., list[str]]) -> None:
    assert pytest_in("-p", "xdist", "-n", "2", "--dist", "loadfile") == ["made", "read", "read"]


def test_another_run_makes_its_own(pytest_in: Callable[..., list[str]]) -> None:
    assert pytest_in() == ["made", "read"]
    assert pytest_in() == ["made", "made", "read", "read"]


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test uses."""
    return request.node.name


def test_a_folder_is_made_once_and_left_as_it_is(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    made: list[Path] = []

    def make(path: Path) -> None:
        made.append(path)
        path.mkdir()

    with shared_folder(tmp_path_factory, name, make) as first:
        pass
    with shared_folder(tmp_path_factory, name, make) as second:
        assert first == second and len(made) == 1 and made[0] != first


def test_what_could_not_be_finished_is_made_again(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    def fail(path: Path) -> None:
        path.mkdir()
        (path / "half").touch()
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="full"), shared_folder(tmp_path_factory, name, fail):
        pass
    with shared_folder(tmp_path_factory, name, Path.mkdir) as folder:
        assert list(folder.iterdir()) == []


@pytest.mark.parametrize("change", ["write", "add", "remove"])
def test_a_test_that_changes_it_is_found(tmp_path_factory: pytest.TempPathFactory, name: str, change: str) -> None:
    def make(path: Path) -> None:
        path.mkdir()
        (path / "a.txt").write_text("one")

    with pytest.raises(AssertionError, match=r"'(a|b)\.txt'"), shared_folder(tmp_path_factory, name, make) as folder:
        if change == "write":
            (folder / "a.txt").write_text("two")
        if change == "add":
            (folder / "b.txt").touch()
        if change == "remove":
            (folder / "a.txt").unlink()


def test_a_lock_may_be_looked_at(tmp_path: Path) -> None:
    before = contents(tmp_path)
    (tmp_path / "run.lock").touch()
    assert contents(tmp_path) == before
