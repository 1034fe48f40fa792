"""What no module of the package may do, however it is written: unpickle, print, or reach for torch's own loader."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import lrmil

ROOT = Path(lrmil.__file__).parents[1]
SOURCES = sorted(ROOT.glob("*lrmil/**/*.py"))
PICKLES = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
LOADERS = {("torch", "load"), ("torch", "save"), ("pd", "read_pickle"), ("pandas", "read_pickle")}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def offences(source: str) -> list[str]:
    tree = ast.parse(source)
    found = [name for name in imported(tree) if name.split(".")[0] in PICKLES or tuple(name.split(".")) in LOADERS]
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{node.value.id}.{node.attr}"] if (node.value.id, node.attr) in LOADERS else []
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            found += [] if isinstance(node.value, ast.Constant) and node.value.value is False else ["allow_pickle"]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("eval", "exec", "print"):
            found.append(node.func.id)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_a_module_reads_no_pickle_and_prints_nothing(path: Path) -> None:
    assert offences(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "import torch\ntorch.load('x', weights_only=True)",
        "from torch import load",
        "numpy.load('x', allow_pickle=True)",
        "def f():\n    import joblib.numpy_pickle",
        "print(1)",
    ],
)
def test_the_check_finds_what_it_forbids(source: str) -> None:
    assert offences(source)


def test_all_modules_are_looked_at() -> None:
    names = {path.relative_to(ROOT).as_posix() for path in SOURCES}
    assert {"lrmil/models/bundle.py", "lrmil/training/loop.py", "napari_lrmil/docks/classify.py"} <= names
