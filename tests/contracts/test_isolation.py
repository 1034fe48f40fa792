"""One place isolates a slide: elsewhere a broad except raises again, or answers for a library that raises anything."""

import ast
from pathlib import Path

import pytest

import lrmil
import napari_lrmil

BROAD = {"Exception", "BaseException"}
# Optional answers of a library, for which "none" is a good one.
OF_LIBRARIES = {"models/encoders/hub.py", "models/encoders/source.py"}


def swallowing(text: str) -> list[int]:
    """Lines of the broad excepts that do not raise."""
    handlers = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ExceptHandler)]
    return [
        node.lineno
        for node in handlers
        if (node.type is None or BROAD & {part.id for part in ast.walk(node.type) if isinstance(part, ast.Name)})
        and not any(isinstance(part, ast.Raise) for part in ast.walk(node))
    ]


@pytest.mark.parametrize(
    ("caught", "body", "counts"),
    [
        ("Exception", "y", True),
        ("(OSError, Exception) as e", "y", True),
        ("", "y", True),
        ("Exception", "raise", False),
        ("OSError", "y", False),
    ],
)
def test_a_broad_except_is_found(caught: str, body: str, *, counts: bool) -> None:
    assert bool(swallowing(f"try:\n    x\nexcept {caught}:\n    {body}")) == counts


def test_slides_are_isolated_in_one_place() -> None:
    found = set()
    for package in (lrmil, napari_lrmil):
        root = Path(str(package.__file__)).parent
        for path in root.rglob("*.py"):
            if swallowing(path.read_text("utf-8")):
                found.add(path.relative_to(root).as_posix())
    assert found - OF_LIBRARIES == {"slides/each.py"}
