"""The slides of a run opened and encoded by other processes: the same features, whichever of them dies."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.features.store import read_card
from lrmil.runs.train import train
from lrmil.slides.dask_workers import DaskWorkers
from support.runs import TinyRun, stamp_of, tiny_config

pytestmark = pytest.mark.long


@pytest.fixture
def without_features(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """A copy of the finished run that lacks what it has of slides."""
    left_out = shutil.ignore_patterns("shared", "lr")
    return Path(shutil.copytree(tiny_run.folder, tmp_path / "run", ignore=left_out))


def features_in(run: Path) -> dict[str, list[bytes]]:
    """The content of the features, but for seconds."""
    found = {}
    for path in sorted(run.rglob("*.zarr")):
        card = replace(read_card(path), seconds=0.0)
        arrays = [part.read_bytes() for part in sorted(path.rglob("*")) if part.is_file() and part.parent != path]
        found[path.relative_to(run).as_posix()] = [repr(card).encode(), *arrays]
    return found


def without_seconds(figures: dict[str, object]) -> dict[str, object]:
    kept = {name: value for name, value in figures.items() if name != "seconds_per_slide"}
    return {name: without_seconds(value) if isinstance(value, dict) else value for name, value in kept.items()}


def test_features_and_figures_are_the_same(tiny_run: TinyRun, without_features: Path, two_workers: DaskWorkers) -> None:
    trained = without_features / "fold-0/lr_encoder/artefact.json"
    before = stamp_of(trained)
    run = train(tiny_run.slides, tiny_run.labels, without_features, tiny_config(), device="cpu", executor=two_workers)
    made = features_in(run.folder)
    assert made == features_in(tiny_run.folder) and len(made) == 4 * 12
    import json

    figures = json.loads((tiny_run.folder / "metrics.json").read_text())
    assert without_seconds(json.loads((run.folder / "metrics.json").read_text())) == without_seconds(figures)
    assert stamp_of(trained) == before
