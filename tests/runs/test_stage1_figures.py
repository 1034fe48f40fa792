"""The fidelity of the folds becomes figures, and a sentence where stage 1 fell short."""

import copy
import json
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from lrmil.errors import FormatError
from lrmil.io import atomic
from lrmil.runs.stage1_figures import find_stage1, read_fidelity, shortfall, stage1_figures
from lrmil.training.fidelity_figures import Fidelity, Match


def fidelity(r2: float | None, start: float | None = -1.0, patches: int = 10) -> Fidelity:
    return Fidelity(patches, Match(r2, 0.5, 8.0), Match(start, 0.25, None), 16.0)


def test_the_means_are_those_of_the_tested_folds() -> None:
    by_fold = {"fold-0": fidelity(0.25), "fold-1": fidelity(0.75, None, 30), "final": fidelity(-5.0, -5.0)}
    figures = json.loads(json.dumps({"stage1": stage1_figures(by_fold, ["fold-0", "fold-1"])}))
    found = find_stage1(figures)
    assert found is not None and found.by_fold == by_fold and found.patches == 40 and found.target_rank == 16
    assert found.distilled == Match(0.5, 0.5, 8.0) and found.start == Match(-1.0, 0.25, None)


@pytest.mark.parametrize(
    ("student", "start", "words"),
    [
        (0.5, 0.1, ""),
        (0.9, None, ""),
        (None, 0.1, ""),
        (0.49, 0.1, "R2 of 0.49"),
        (0.3, None, "R2 of 0.30"),
        (0.3, 0.4, r"R2 0.30\) than .* \(R2 0.40\)"),
        (0.7, 0.7 + 1e-9, ""),
        (0.7, 0.8, r"R2 0.70\) than .* \(R2 0.80\)"),
    ],
)
def test_a_shortfall_is_said(student: float | None, start: float | None, words: str) -> None:
    found = find_stage1({"stage1": stage1_figures({"fold-0": fidelity(student, start)}, ["fold-0"])})
    assert found is not None
    assert re.search(words, shortfall(found)) and bool(shortfall(found)) == bool(words)


@pytest.mark.parametrize("stated", [None, 3, {}, {"patches": 1}, [], {"distilled": {"r2": "high"}}])
def test_figures_without_it_have_none(stated: object) -> None:
    assert find_stage1({"stage1": stated}) is None and find_stage1({}) is None


@pytest.mark.parametrize("value", ["nan", "inf", float("nan"), float("-inf")])
def test_no_figure_that_is_not_finite_is_taken(value: object) -> None:
    """Also not one in words: a report could not be written with it."""
    whole = {"stage1": stage1_figures({"fold-0": fidelity(0.5, 0.4)}, ["fold-0"])}
    assert find_stage1(whole) is not None
    for part, name in (("distilled", "r2"), ("distilled", "cosine"), ("start", "rank"), ("target_rank", "")):
        changed = copy.deepcopy(whole)
        of = changed["stage1"]
        if name:
            of[part][name] = value  # type: ignore[index]
        else:
            of[part] = value
        assert find_stage1(changed) is None


@pytest.mark.parametrize("content", [None, "[]", "{}", '{"patches": 3', '{"patches": "many"}'])
def test_a_damaged_file_is_named(tmp_path: Path, content: str | None) -> None:
    folder = tmp_path / "lr_encoder"
    folder.mkdir()
    if content is not None:
        (folder / "fidelity.json").write_text(content)
    with pytest.raises(FormatError, match=r"fidelity\.json does not state the fidelity"):
        read_fidelity(tmp_path)


def test_a_file_comes_back(tmp_path: Path) -> None:
    (tmp_path / "lr_encoder").mkdir()
    atomic.write_json(tmp_path / "lr_encoder/fidelity.json", asdict(fidelity(0.5, None)))
    assert read_fidelity(tmp_path) == fidelity(0.5, None)
