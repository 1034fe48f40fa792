"""A dock that code opens is the one that the menu opens, under the same name."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from napari_lrmil.session.docks import open_dock
from napari_lrmil.session.viewers import session_of

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    import napari

NAME = "Classify slide"


@pytest.mark.usefixtures("display")
@pytest.mark.parametrize("menu_first", [True, False])
def test_code_and_menu_open_one_dock(
    make_napari_viewer: "Callable[..., napari.Viewer]", qtbot: "QtBot", menu_first: bool
) -> None:
    from napari._app_model import get_app_model

    viewer = make_napari_viewer(show=True)
    menu = get_app_model().commands

    def docks() -> list[str]:
        """Without the review strip, which opens beside them."""
        return [name for name in viewer.window.dock_widgets if name.startswith(NAME)]

    def from_menu() -> None:
        menu.execute_command("napari-lrmil.classify_slide").result()

    if menu_first:
        from_menu()
        (title,) = docks()
        viewer.window.dock_widgets[title].parent().close()
        dock = open_dock(viewer, NAME, tabify=True)
        assert docks() == [title] and dock.isVisible()
    else:
        dock = open_dock(viewer, NAME)
        assert open_dock(viewer, NAME) is dock
        from_menu()
        assert not dock.isVisible(), "the menu closes the open one"
        from_menu()
    assert docks() == [f"{NAME} (LRMIL)"] and dock.isVisible()
    assert menu["napari-lrmil.classify_slide"].title == f"{NAME} (LRMIL)", "so it is in the palette"
    qtbot.waitUntil(lambda: not session_of(viewer).jobs.busy, timeout=60_000)
