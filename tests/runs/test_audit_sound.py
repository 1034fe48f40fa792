"""The audit of sound runs of every kind finds nothing, and no leak in their answers."""

import csv
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from lrmil.runs.audit import audit_run
from lrmil.runs.train import train
from support.runs import PATCH_TEACHER, WARM, TinyRun, tiny_config

pytestmark = pytest.mark.long

KINDS: dict[str, dict[str, object]] = {
    "calibrated": {"calibration__folds": 2, "stage2__inner_folds": 2, "mil__seeds": 4},
    "finished": {"finish__epochs": 1, "finish__patches": 4, "calibration__folds": 2},
    "another start": {"student_encoder": "test_convnext"},
    "a start that is not kept": {"student_encoder": "test_convnext", "stage1__lambda_keep": 0.0},
    "a chosen head": {"mil__head": "auto", "stage2__inner_folds": 2},
    "the paper": {**PATCH_TEACHER, "stage1__lambda_keep": 0.0, "calibration__folds": 2, **WARM},
    "a start that stage 1 forbids": {
        "stage1__lambda_keep": 0.0,
        "stage2__warm_start": True,
        "stage2__warm_start_r2": 1.0,
    },
    "attention in regions": {"teacher": "region_attention", "stage2__inner_folds": 2},
    "a selected epoch": {"mil__select_from": 0, "mil__balance": "sampling"},
    "no stage 1": {"stage1__fit__steps": 0},
    "labels alone": {"stage2__lambda_bag": 0.0, "stage2__lambda_soft": 0.0, "stage2__lambda_hard": 0.0},
}

Row = dict[str, str]


def rows_of(labels: Path) -> list[Row]:
    with labels.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(path: Path, rows: list[Row]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def findings(run: Path) -> list[str]:
    return [f"{where}: {message}" for where, message in audit_run(run, answers=True).findings]


@pytest.fixture
def run(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """A folder with the frozen features of the tiny run."""
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
    return tmp_path / "run"


@pytest.mark.parametrize("kind", KINDS)
def test_settings(tiny_run: TinyRun, run: Path, kind: str) -> None:
    train(tiny_run.slides, tiny_run.labels, run, tiny_config(**KINDS[kind]), device="cpu")
    assert findings(run) == []


def test_changed_settings(tiny_run: TinyRun, tmp_path: Path) -> None:
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    changed = tiny_config(mil__hidden_dim=16, stage2__lambda_bag=0.5, calibration__folds=2)
    train(tiny_run.slides, tiny_run.labels, run, changed, device="cpu", replace=True)
    assert findings(run) == [] and not audit_run(run).notes


def three_classes(rows: list[Row]) -> list[Row]:
    return [{**row, "label": "abc"[number % 3]} for number, row in enumerate(rows)]


def given_folds(rows: list[Row]) -> list[Row]:
    others = [{name: value for name, value in row.items() if name != "split"} for row in rows]
    return [{**row, "fold": str(number // 2 % 3)} for number, row in enumerate(others)]


@pytest.mark.parametrize("change", [three_classes, given_folds])
def test_tables(tiny_run: TinyRun, run: Path, change: Callable[[list[Row]], list[Row]]) -> None:
    labels = write_rows(run.parent / "labels.csv", change(rows_of(tiny_run.labels)))
    train(tiny_run.slides, labels, run, tiny_config(calibration__folds=2), device="cpu")
    assert findings(run) == []


def test_a_failed_slide_is_noted(tiny_run: TinyRun, run: Path) -> None:
    slides = Path(shutil.copytree(tiny_run.slides, run.parent / "slides"))
    victim = next(slides / row["slide_id"] for row in rows_of(tiny_run.labels) if row["split"] == "train")
    (path,) = slides.glob(f"{victim.name}.*")
    path.write_bytes(path.read_bytes()[:1000])
    train(slides, tiny_run.labels, run, tiny_config(), device="cpu")
    (note,) = audit_run(run).notes
    assert findings(run) == [] and "problems.json" in note
