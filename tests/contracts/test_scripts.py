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
        if isinstance(node, ast.Import):
            missing += [name.name for name in node.names if is_ours(name.name) and not is_module(name.name)]
        elif isinstance(node, ast.ImportFrom) and node.module and is_ours(node.module):
            if not is_module(node.module):
                missing.append(node.module)
                continue
            module = importlib.import_module(node.module)
            missing += [f"{node.module}.{name.name}" for name in node.names if not is_there(module, name.name)]
    return missing


def is_ours(module: str) -> bool:
    return module.split(".")[0] in ("lrmil", "napari_lrmil")


def is_module(name: str) -> bool:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not name.startswith(error.name):  # something that it imports is not installed
            raise
        return False
    return True


def is_there(module: ModuleType, name: str) -> bool:
    """Tell whether a module has a name, or is a package with a module of that name."""
    return hasattr(module, name) or is_module(f"{module.__name__}.{name}")


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_imports_what_is_there(path: Path) -> None:
    assert missing_imports(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("source", "missing"),
    [
        ("from lrmil.steps import Step, Stride\nfrom lrmil import steps", ["lrmil.steps.Stride"]),
        ("import lrmil.steps\nimport lrmil.strides as s, numpy", ["lrmil.strides"]),
        ("def f():\n    from lrmil.strides import Step", ["lrmil.strides"]),
        ("from lrmil.steps.deeper import Step", ["lrmil.steps.deeper"]),
    ],
)
def test_what_is_not_there_is_found(source: str, missing: list[str]) -> None:
    assert missing_imports(source) == missing
