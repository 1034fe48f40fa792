"""One place isolates a slide: elsewhere a broad except raises again, or answers for a library that raises anything."""

import ast
from pathlib import Path

import pytest

import lrmil
import napari_lrmil

BROAD = {"Exception", "BaseException"}
# Optional answers of a library, for which "none" is a good one.
OF_LIBRARIES = {"lrmil/models/encoders/hub.py", "lrmil/models/encoders/source.py"}


def swallowing(text: str) -> list[int]:
    """Lines where a broad except does not raise, or a broad error is suppressed."""
    nodes = list(ast.walk(ast.parse(text)))
    excepts = [
        node.lineno
        for node in nodes
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or is_broad(node.type))
        and not any(isinstance(part, ast.Raise) for part in ast.walk(node))
    ]
    calls = [node for node in nodes if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("suppress")]
    return [*excepts, *(call.lineno for call in calls if any(map(is_broad, call.args)))]


def is_broad(node: ast.expr) -> bool:
    """Whether `Exception` or `BaseException` is named, alone, among others or as `builtins.Exception`."""
    return any(
        (isinstance(part, ast.Name) and part.id in BROAD) or (isinstance(part, ast.Attribute) and part.attr in BROAD)
        for part in ast.walk(node)
    )


@pytest.mark.parametrize(
    ("caught", "body", "counts"),
    [
        ("Exception", "y", True),
        ("(OSError, Exception) as e", "y", True),
        ("", "y", True),
        ("Exception", "raise", False),
        ("OSError", "y", False),
        ("builtins.Exception", "y", True),
    ],
)
def test_a_broad_except_is_found(caught: str, body: str, *, counts: bool) -> None:
    assert bool(swallowing(f"try:\n    x\nexcept {caught}:\n    {body}")) == counts


@pytest.mark.parametrize(
    ("call", "counts"), [("suppress(OSError, Exception)", True), ("contextlib.suppress(OSError)", False)]
)
def test_a_broad_error_that_is_suppressed_is_found(call: str, *, counts: bool) -> None:
    assert bool(swallowing(f"with {call}:\n    x")) == counts


def test_slides_are_isolated_in_one_place() -> None:
    found = set()
    for package in (lrmil, napari_lrmil):
        root = Path(str(package.__file__)).parent
        for path in root.rglob("*.py"):
            if swallowing(path.read_text("utf-8")):
                found.add(path.relative_to(root.parent).as_posix())
    assert found == OF_LIBRARIES | {"lrmil/slides/each.py"}
