"""The fault matrix in docs/reliability.md names tests that are there."""

import ast
import re
from pathlib import Path

import pytest

from support.paths import REPOSITORY

ROW = re.compile(r"^\|(?P<fault>[^|]+)\|[^|]+\|\s*`tests/[\w/]+\.py::[\w:]+`\s*\|$", re.MULTILINE)
TEXT = (REPOSITORY / "docs/reliability.md").read_text(encoding="utf-8")
ROWS = [found.groupdict() for found in ROW.finditer(TEXT)]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py::[\w:]+)`", TEXT)))


def names_in(file: Path) -> set[str]:
    """The tests of a file as pytest names them, without parameters."""
    found = set[str]()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef):
            found.add(node.name)
        elif isinstance(node, ast.ClassDef):
            found |= {f"{node.name}::{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
    return found


def test_there_are_at_least_forty_faults_each_told_once() -> None:
    faults = [row["fault"].strip() for row in ROWS]
    assert len(faults) >= 40 and len(set(faults)) == len(faults)


@pytest.mark.parametrize("test", NAMED)
def test_a_test_that_is_named_is_there(test: str) -> None:
    file, _, name = test.partition("::")
    assert name.rpartition("::")[2].startswith("test") and name in names_in(REPOSITORY / file)


def test_every_row_of_the_matrix_was_read() -> None:
    matrix = TEXT.partition("## The fault matrix")[2].partition("\n## ")[0]
    headers = [line for line in matrix.splitlines() if line.startswith(("| fault |", "|---"))]
    assert sum(line.startswith("|") for line in matrix.splitlines()) - len(headers) == len(ROWS)
