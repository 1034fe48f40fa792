"""The user's preferences, which napari keeps as the manifest describes them."""

from dataclasses import dataclass, fields
from pathlib import Path

from napari_lrmil.state import folders

PLUGIN = "napari-lrmil"


@dataclass(frozen=True, slots=True)
class Preferences:
    """The values of Preferences > LRMIL; the defaults are those of the manifest.

    Attributes
    ----------
    device
        "auto" or a name of `lrmil.models.devices.available_devices`.
    model_folder, results_folder
        "" for the folder used last, and for the plugin's own.
    uncertain_below
        A prediction whose highest probability is below this is marked as uncertain.
    opacity
        Of the attention overlay, 0 to 1.
    top_patches
        How many patches of the highest and of the lowest attention are shown.
    reviewer
        Name of the reader, "" when it is not given.
    read_first
        Whether a slide's output is hidden until the reader has recorded their own label.
    """

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
        """Folder of the results: the chosen one, or else the plugin's own."""
        return Path(self.results_folder) if self.results_folder else folders.data_folder() / "results"


def read_preferences() -> Preferences:
    """Return the preferences, or the defaults if napari has none for this plugin, as in a test without a manifest."""
    from napari.settings import get_plugin_settings

    try:
        found = get_plugin_settings(PLUGIN).classify
    except (KeyError, AttributeError):
        return Preferences()
    return Preferences(**{field.name: getattr(found, field.name) for field in fields(Preferences)})
