"""Collections are paused while libraries are loaded, and left out when the program ends; work is collected as ever."""

import gc
import subprocess
import sys

import pytest

from lrmil.collector import without_collections

CYCLE = """
import sys
from lrmil import cli
class Told:
    def __del__(self):
        sys.stdout.write("collected ")
told = Told()
told.itself = told
try:
    cli.main({arguments})
except SystemExit:
    pass
"""


@pytest.mark.parametrize("before", [True, False])
def test_they_go_on_afterwards_as_before_also_after_an_error(before: bool) -> None:
    was = gc.isenabled()
    try:
        (gc.enable if before else gc.disable)()
        with pytest.raises(ImportError), without_collections():
            assert not gc.isenabled()
            raise ImportError("torch")
        assert gc.isenabled() == before
    finally:
        (gc.enable if was else gc.disable)()


@pytest.mark.parametrize(("arguments", "collected"), [("", False), ("['--version']", True)])
def test_only_a_program_of_its_own_ends_without_one(arguments: str, collected: bool) -> None:
    command = [sys.executable, "-c", CYCLE.format(arguments=arguments), "--version"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.startswith("lrmil ") and done.stdout.endswith("collected ") == collected
