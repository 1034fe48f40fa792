"""What CONTRIBUTING.md says of the code is so: every file, folder and name in it is there."""

import ast
import re
import tomllib

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


@pytest.mark.parametrize("package", ["lrmil", "napari_lrmil"])
def test_the_rooms_of_the_guide_are_those_of_the_import_rule(package: str) -> None:
    with (REPOSITORY / "pyproject.toml").open("rb") as file:
        rules = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = [rule["layers"] for rule in rules if rule.get("containers") == [package]]
    first, last = layers[0], layers[-1]
    said = re.search(rf"    {re.escape(first)} > .*?> {last}\b", GUIDE, re.DOTALL)
    assert said is not None
    assert [" ".join(line.split()) for line in said.group().split(">")] == layers
