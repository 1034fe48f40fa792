"""What CONTRIBUTING.md says of the code is so: every file, folder and name in it is there."""

import ast
import re

import pytest

from support.paths import REPOSITORY

GUIDE = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
SOURCES = REPOSITORY / "src/lrmil"
NAMES = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", GUIDE)))
FILES = sorted({path for path in re.findall(r"`([\w/]+(?:\.py|/))`", GUIDE) if not path.startswith("test")})


def defined_in(path: str) -> set[str]:
    body = ast.parse((SOURCES / path).read_text(encoding="utf-8")).body
    return {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}


def test_the_guide_names_enough_to_be_checked() -> None:
    assert len(NAMES) > 20 and len(FILES) > 15


@pytest.mark.parametrize(("path", "name"), NAMES, ids=str)
def test_a_name_is_defined_where_the_guide_says(path: str, name: str) -> None:
    assert name in defined_in(path)


@pytest.mark.parametrize("path", FILES)
def test_a_file_or_folder_is_there(path: str) -> None:
    places = [SOURCES / path, SOURCES / "training" / path, REPOSITORY / path]
    assert any(place.exists() for place in places)


def test_the_rooms_of_the_guide_are_those_of_the_import_rule() -> None:
    rule = re.search(r"    cli > demo .*?errors\n", GUIDE, re.DOTALL)
    assert rule is not None
    rooms = set(re.findall(r"\w+", rule.group()))
    there = {path.parent.name for path in SOURCES.glob("*/__init__.py")}
    there |= {path.stem for path in SOURCES.glob("*.py") if not path.name.startswith("_")}
    assert rooms == there
