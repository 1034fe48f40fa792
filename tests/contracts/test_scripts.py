"""What the benchmarks and the screenshots import and ask of a session is there, though no test runs them."""

import ast
import importlib
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pytest
from napari.components import ViewerModel

from napari_lrmil.session.session import Session
from support.paths import REPOSITORY

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

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


def missing_of_a_session(source: str, session: object) -> list[str]:
    """Return what a source asks of ``session``, or of the session of a dock, that it does not have."""
    chains = [chain_of(node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Attribute)]
    asked = [chain[chain.index("session") + 1 :] for chain in chains if "session" in chain]
    return [".".join(names) for names in asked if not has(session, names)]


def chain_of(node: ast.expr) -> list[str]:
    """Return the names of an expression such as ``dock.session.jobs``."""
    if isinstance(node, ast.Attribute):
        return [*chain_of(node.value), node.attr]
    return [node.id] if isinstance(node, ast.Name) else []


def has(thing: object, names: list[str]) -> bool:
    """Return whether a thing has an attribute, that attribute the next, and so on; None stands for any value."""
    for name in names:
        if thing is None:
            return True
        if not hasattr(thing, name):
            return False
        thing = getattr(thing, name)
    return True


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_a_script_asks_a_session_for_what_it_has(path: Path, qtbot: "QtBot") -> None:
    assert missing_of_a_session(path.read_text(encoding="utf-8"), Session(ViewerModel())) == []


def test_what_a_session_does_not_have_is_found(qtbot: "QtBot") -> None:
    source = "wait(dock.session.jobs.busy)\nwhile session.busy:\n    session.jobs.job.gone()"
    assert missing_of_a_session(source, Session(ViewerModel())) == ["busy"]
