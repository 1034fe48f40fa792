"""One session for each viewer."""

import gc
import weakref
from typing import TYPE_CHECKING

from napari.components import ViewerModel

from napari_lrmil.session.viewers import session_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_sessions_go_with_their_viewers(qtbot: "QtBot") -> None:
    viewer = ViewerModel()
    kept = weakref.ref(session_of(viewer))
    assert session_of(viewer) is kept()
    del viewer
    gc.collect()
    assert kept() is None
