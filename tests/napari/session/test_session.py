"""One session for each viewer."""

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari.components import ViewerModel

from napari_lrmil.session.session import Session, session_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]


def test_sessions_go_with_their_viewers(qtbot: "QtBot") -> None:
    import weakref

    viewer = ViewerModel()
    kept = weakref.ref(session_of(viewer))
    assert session_of(viewer) is kept()
    del viewer
    gc.collect()
    assert kept() is None


def test_what_waits_for_idle_happens_once(session: Session, finish: Finish, model_folder: Path) -> None:
    done: list[int] = []
    session.when_idle(lambda: done.append(1))
    assert done == [1]
    session.load_model(model_folder)
    session.when_idle(lambda: done.append(2))
    assert done == [1]
    finish(session)
    session.load_model(model_folder)
    finish(session)
    assert done == [1, 2]
