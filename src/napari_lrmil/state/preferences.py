"""The user's preferences, as napari keeps them for the configurations of the manifest."""

from dataclasses import dataclass, fields
from pathlib import Path

from napari_lrmil.state import folders

PLUGIN = "napari-lrmil"


@dataclass(frozen=True, slots=True)
class Preferences:
    """What Preferences > LRMIL holds; the defaults are those of the manifest."""

    device: str = "auto"
    model_folder: str = ""
    results_folder: str = ""
    uncertain_below: float = 0.0
    opacity: float = 0.6
    top_patches: int = 8
    reviewer: str = ""
    read_first: bool = False

    @property
    def results(self) -> Path:
        """Folder of the results: the chosen one, or the application's own."""
        return Path(self.results_folder) if self.results_folder else folders.data_folder() / "results"


def read_preferences() -> Preferences:
    """Read the preferences; the defaults where napari has none for this plugin, as in a test without a manifest."""
    from napari.settings import get_plugin_settings

    try:
        found = get_plugin_settings(PLUGIN).classify
    except (KeyError, AttributeError):
        return Preferences()
    return Preferences(**{field.name: getattr(found, field.name) for field in fields(Preferences)})
