"""Open a dock of the plugin from code, as its menu does."""

from typing import Any

PLUGIN, DISPLAY_NAME = "napari-lrmil", "LRMIL"


def open_dock(viewer: Any, name: str, *, tabify: bool = False) -> Any:
    """Bring a dock to the front, and return napari's dock around it; if there is none, open it under the menu's name.

    napari's own `add_plugin_dock_widget` has another name for it, so that code and menu would open one each.

    Parameters
    ----------
    viewer
        A viewer with a window.
    name
        Of the widget in the manifest, such as "Classify slide".
    tabify
        Whether a new dock becomes a tab of those that are there.
    """
    from npe2 import PluginManager

    widgets = PluginManager.instance().get_manifest(PLUGIN).contributions.widgets or []
    make: Any = next(widget.get_callable() for widget in widgets if widget.display_name == name)
    open_ones = (inside for inside in viewer.window.dock_widgets.values() if isinstance(inside, make))
    if (inside := next(open_ones, None)) is not None:
        dock = inside.parent()
    else:
        dock = viewer.window.add_dock_widget(make(viewer), name=f"{name} ({DISPLAY_NAME})", tabify=tabify)
    dock.show()
    dock.raise_()
    return dock
