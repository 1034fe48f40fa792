"""What the benchmarks and the screenshots import is there, though no test runs them."""

import ast
import importlib
from pathlib import Path
from types import ModuleType

import pytest

from support.paths import REPOSITORY

SCRIPTS = sorted([*(REPOSITORY / "benchmarks").glob("*.py"), *(REPOSITORY / "docs").glob("*.py")])


def missing_imports(source: str) -> list[str]:
    """Return what a source imports from our packages that is not there."""
    missing = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] in ("lrmil", "napari_lrmil"):
            module = importlib.import_module(node.module)
            missing += [f"{node.module}.{name.name}" for name in node.names if not is_there(module, name.name)]
    return missing


def is_there(module: ModuleType, name: str) -> bool:
    """Tell whether a module has a name, or is a package with a module of that name."""
    if hasattr(module, name):
        return True
    try:
        importlib.import_module(f"{module.__name__}.{name}")
    except ModuleNotFoundError:
        return False
    return True


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_what_is_there(path: Path) -> None:
    assert missing_imports(path.read_text(encoding="utf-8")) == []


def test_what_is_not_there_is_found() -> None:
    assert missing_imports("from lrmil.steps import Step, Stride\nfrom lrmil import steps") == ["lrmil.steps.Stride"]
