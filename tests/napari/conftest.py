"""Fixtures of the plugin's tests: a viewer's model on a real Qt, folders of their own, a small model."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import platformdirs
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QThreadPool

from lrmil.models.bundle import save_bundle
from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.session.session import Session
from napari_lrmil.session.viewers import session_of
from support.display import HAS_DISPLAY
from support.runs import tiny_bundle
from support.shared_folders import shared_folder
from support.windows import windows

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

FAILED = pytest.StashKey[bool]()
PATIENCE = 60_000  # ms; a busy machine may be slow, and no test waits without need


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Tell fixtures whether the test failed: its traceback then holds what it made."""
    report = yield
    item.stash[FAILED] = item.stash.get(FAILED, False) or report.failed
    return report


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep results, memory, cache and log of the plugin in the test's own folder."""
    own = tmp_path / "own"
    for kind in ("data", "cache", "log", "state"):
        monkeypatch.setattr(platformdirs, f"user_{kind}_path", lambda *_, kind=kind, **__: own / kind)
    return own


@pytest.fixture
def viewer(qtbot: "QtBot") -> ViewerModel:
    """A viewer without a window: needs no OpenGL."""
    return ViewerModel()


@pytest.fixture
def session(viewer: ViewerModel, qtbot: "QtBot") -> Iterator[Session]:
    """The viewer's session; what still runs at the end is stopped."""
    session = session_of(viewer)
    yield session
    session.jobs.cancel()
    qtbot.waitUntil(lambda: not session.jobs.busy, timeout=PATIENCE)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """Wait for what still runs, such as pictures being read for a widget that is gone."""
    yield
    assert QThreadPool.globalInstance().waitForDone(PATIENCE), "a job did not end"


@pytest.fixture(autouse=True)
def no_window_is_left(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves a widget without a parent: each lives on, answers signals and holds its session.

    What pytest-qt, or napari's own fixture, closes after a test is gone by now: this fixture is set up before them.
    """
    before = windows()
    yield
    left = windows() - before
    if left and not request.node.stash.get(FAILED, False):
        kinds = sorted(f"{type(widget).__name__} {widget.objectName()!r}" for widget in left)
        for widget in left:
            widget.deleteLater()
        pytest.fail(f"the test left {len(left)} widgets: {kinds}; add them to qtbot, or close and delete them")


@pytest.fixture
def finish(qtbot: "QtBot") -> Callable[[Session], None]:
    """Wait until the session's job has ended."""
    return lambda session: qtbot.waitUntil(lambda: not session.jobs.busy, timeout=PATIENCE)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A model with random weights that reads 64 px patches at 2.0 um/px; read only."""
    with shared_folder(tmp_path_factory, "model", lambda folder: save_bundle(folder, tiny_bundle())) as folder:
        yield folder


@pytest.fixture
def dock(
    viewer: ViewerModel, session: Session, model_folder: Path, qtbot: "QtBot", finish: Callable[[Session], None]
) -> ClassifySlide:
    """The dock "Classify slide" with a model."""
    dock = ClassifySlide(viewer)
    qtbot.addWidget(dock)
    dock.model.path.setText(str(model_folder))
    dock.model.load()
    finish(session)
    return dock


@pytest.fixture
def display() -> None:
    """For tests that draw: a display, such as xvfb gives."""
    if not HAS_DISPLAY:
        pytest.skip("no display: run the tests under xvfb-run to test what is drawn")
