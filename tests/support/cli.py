"""The command line in this process."""

import csv
import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lrmil.steps import Step

RunCli = Callable[..., tuple[int, str, str]]  # arguments -> exit code, standard output, standard error
CPU = ["--device", "cpu"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def stand_in(patch: pytest.MonkeyPatch, place: str, answer: object) -> list[dict[str, Any]]:
    """Put a function that answers at once in the place of one of the library.

    Parameters
    ----------
    patch
        Undoes it after the test.
    place
        Module and name of the function, such as "lrmil.runs.train.train_steps".
    answer
        What it returns, or, if its name ends with "_steps" or "_slides" or "_features", the result of its last Step.

    Returns
    -------
    list of dict
        For each call the arguments by name, with the defaults.
    """
    module, _, name = place.rpartition(".")
    signature = inspect.signature(getattr(importlib.import_module(module), name))
    calls: list[dict[str, Any]] = []

    def function(*arguments: object, **named: object) -> object:
        bound = signature.bind(*arguments, **named)
        bound.apply_defaults()
        calls.append(bound.arguments)
        return answer

    def steps(*arguments: object, **named: object) -> Iterator[Step[object]]:
        yield Step(("test",), 1, 1, result=function(*arguments, **named))

    is_work = name.endswith(("_steps", "_slides", "_features"))
    patch.setattr(place, steps if is_work else function)
    return calls


def write_checksums(path: Path, slide: Path) -> Path:
    """Write a list as `md5sum` does."""
    path.write_text(f"{hashlib.md5(slide.read_bytes()).hexdigest()}  {slide.name}\n")
    return path


def write_outline(folder: Path, slide_id: str) -> Path:
    """Write a tissue mask as QuPath exports an annotation."""
    folder.mkdir(exist_ok=True)
    square = [[0, 0], [900, 0], [900, 900], [0, 900], [0, 0]]
    feature = {"type": "Feature", "properties": {}, "geometry": {"type": "Polygon", "coordinates": [square]}}
    path = folder / f"{slide_id}.geojson"
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return path
