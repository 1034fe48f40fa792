"""What one viewer works on."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from napari.components import ViewerModel
from qtpy.QtCore import QObject

from napari_lrmil.jobs.jobs import Jobs
from napari_lrmil.session.session import Session
from napari_lrmil.session.viewers import session_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

Finish = Callable[[Session], None]


def test_what_waits_for_idle_happens_once(session: Session, finish: Finish, model_folder: Path) -> None:
    done: list[int] = []
    session.jobs.when_idle(lambda: done.append(1))
    assert done == [1]
    session.load_model(model_folder)
    session.jobs.when_idle(lambda: done.append(2))
    assert done == [1]
    finish(session)
    session.load_model(model_folder)
    finish(session)
    assert done == [1, 2]


def test_a_session_owns_its_jobs_and_is_no_part_of_qt(session: Session, qtbot: "QtBot") -> None:
    assert not isinstance(session, (QObject, Jobs))
    other = session_of(ViewerModel())
    heard: list[str] = []
    session.jobs.failed.connect(heard.append)
    other.jobs.failed.emit("of another viewer")
    assert other.jobs is not session.jobs and heard == []


def test_what_a_reader_may_see_is_one_frozen_value(session: Session, qtbot: "QtBot") -> None:
    before, told = session.blinding, list[str]()
    session.revealed_changed.connect(lambda: told.append("revealed"))
    session.read_first_changed.connect(lambda: told.append("read first"))
    session.read_first = True
    assert not before.read_first and session.blinding.read_first and session.read_first
    assert session.revealed and told == ["read first"], "nothing is shown, so nothing is hidden"
