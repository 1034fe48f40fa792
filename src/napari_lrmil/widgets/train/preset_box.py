"""Choose named settings of the method, or return to one's own."""

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QWidget

from lrmil.presets import PRESETS, SUMMARIES

OWN = ""  # in place of a preset's name
WORDS = {**{name: f"{name}: {SUMMARIES[name]}" for name in PRESETS}, OWN: "own settings: as set under More settings"}
TIP = "\n".join(["Fills in teacher, stage1, mil and stage2 under More settings.", *WORDS.values()])


class PresetBox(QComboBox):
    """List of presets, and of the user's own settings once there are some; `chosen` is emitted only for the user."""

    chosen = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setToolTip(TIP)
        for name in PRESETS:
            self._add(name)
        self.activated.connect(lambda index: self.chosen.emit(self.itemData(index)))

    def show_name(self, name: str) -> None:
        """Show which preset the settings are, or `OWN`."""
        if self.findData(name) < 0:
            self._add(name)
        self.setCurrentIndex(self.findData(name))

    def forget_own(self) -> None:
        """Take away the user's own settings from the list."""
        if (index := self.findData(OWN)) >= 0:
            self.removeItem(index)

    def _add(self, name: str) -> None:
        self.addItem(name or "own settings", name)
        self.setItemData(self.count() - 1, WORDS[name], Qt.ItemDataRole.ToolTipRole)
