"""Fixtures for every test."""

import gc
import os
import shutil
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from lrmil.slides.each import Executor
from lrmil.slides.source import SlideSource
from support.display import HAS_DISPLAY, open_own_display
from support.paths import REPOSITORY
from support.runs import TinyRun, tiny_config
from support.shared_folders import shared_folder
from support.slides import COHORT_SIDE

open_own_display()
if os.environ.get("QT_API") == "pyside6" and sys.version_info < (3, 12):
    # PySide6 6.12 gives back references to None that it does not own; a process in which none is left ends.
    SPARE_NONES = [None] * 5_000_000
if not HAS_DISPLAY:  # Qt ends a process that asks for a screen where there is none
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
gc.disable()  # while modules are imported: until the tests are collected

# Cores are shared between tests: how long an example takes says nothing about the code.
settings.register_profile("shared cores", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared cores")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that train, so that processes which share the files end at about the same time."""
    long = {item.path for item in items if item.get_closest_marker("long")}
    items.sort(key=lambda item: item.path not in long)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Spare the garbage collections of the run the 650,000 objects of imported modules, which live until its end."""
    try:
        return (yield)
    finally:
        gc.collect()
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session", autouse=True)
def no_wait_for_the_disk() -> Iterator[None]:
    """Files of tests need not outlast a power cut, the only thing that a flush to the disk is for.

    What is flushed must still be an open file. Tests of flushing put their own function here, and programs that tests
    start do flush.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", os.fstat)
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real slides and images: LRMIL_SHARED, or ``shared`` beside the repository; absent means skipped."""
    folder = Path(os.environ.get("LRMIL_SHARED", REPOSITORY.parent / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}; set LRMIL_SHARED to the folder that has them")
    return folder


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """12 small synthetic slides in ``slides`` with ``labels.csv`` (which has a split column); read only."""
    from lrmil.demo.synthetic import make_cohort_steps

    def make(folder: Path) -> None:
        list(make_cohort_steps(folder, slides=12, size=COHORT_SIDE))

    with shared_folder(tmp_path_factory, "cohort", make) as folder:
        yield folder


@pytest.fixture(scope="session")
def tiny_run(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TinyRun]:
    """A finished run on `cohort` with the settings `runs.TINY`, made by one thread so that it can be repeated."""

    def make(folder: Path) -> None:
        import torch

        from lrmil.runs.train import train

        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            train(cohort / "slides", cohort / "labels.csv", folder, tiny_config(), device="cpu")
        finally:
            torch.set_num_threads(threads)

    with shared_folder(tmp_path_factory, "run", make) as folder:
        yield TinyRun(folder, cohort / "slides", cohort / "labels.csv")


@pytest.fixture(scope="session")
def two_workers() -> Iterator[Executor]:
    """Two processes of this machine, which are kept for all tests."""
    from lrmil.slides.workers import Workers

    with Workers(2).kept() as executor:
        yield executor


@pytest.fixture
def every_epoch_saved(monkeypatch: pytest.MonkeyPatch) -> None:
    """A training writes its checkpoint after every epoch, however short."""
    from lrmil.training import checkpoint

    monkeypatch.setattr(checkpoint, "INTERVAL", 0.0)
    monkeypatch.setattr(checkpoint, "REST", 0.0)


@pytest.fixture
def slides(cohort: Path, tmp_path: Path) -> list[SlideSource]:
    """Three slides that may be changed."""
    sources = []
    for name in ("demo-000", "demo-001", "demo-002"):
        path = tmp_path / "slides" / f"{name}.ome.tif"
        path.parent.mkdir(exist_ok=True)
        shutil.copy(cohort / "slides" / path.name, path)
        sources.append(SlideSource(name, path))
    return sources
