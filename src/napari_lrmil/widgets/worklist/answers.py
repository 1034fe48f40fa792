"""Whose answers the list shows, where several models answered: a choice by name, and the offer to use that model."""

from collections.abc import Iterable
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QWidget

from napari_lrmil.session.session import Session
from napari_lrmil.state.known_models import KnownModel, find_model_folder, known_models, name_of, title_of
from napari_lrmil.state.worklist import Entry
from napari_lrmil.state.worklist_memory import list_file, read_memory
from napari_lrmil.widgets.breaks import shortened

MAX_NAME = 20  # characters
WIDTH = 260  # px of the names; longer ones end with dots


class ListAnswers(QWidget):
    """Chooses the model whose answers are listed; hidden where all are of the model in use.

    A list that is opened shows those of the model that classified it last. A model that is used instead of another is
    followed; the first one of a window, which is only remembered, is not.

    Parameters
    ----------
    session
        Gives the model in use, and loads another.

    Attributes
    ----------
    use
        The button that loads the model whose answers are listed; it stands beside this widget, where there is room.
    """

    changed = Signal()
    """Another model's answers are to be listed."""
    refreshed = Signal()
    """The names of the models, or what is visible, may be others now."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._chosen = ""
        self._had_model = session.bundle is not None
        self._known: dict[str, KnownModel] = {}
        self._models: set[str] = set()
        self._folder: Path | None = None
        self.choice, self.use = QComboBox(), QPushButton()
        self.choice.setAccessibleName("Whose answers are listed")
        self.choice.setToolTip("The model whose answers the table, the result and the overlays show")
        self.choice.setMaximumWidth(WIDTH)
        self.choice.activated.connect(self._choose)
        self.use.setAccessibleName("Use the model whose answers are listed")
        self.use.setToolTip("Load this model: it classifies then, and exports its cases")
        self.use.clicked.connect(self._use_model)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.addWidget(QLabel("Answers of"))
        row.addWidget(self.choice)
        self.hide()
        self.use.hide()

    @property
    def model(self) -> str:
        """Hash of the model whose answers are listed, "" without one."""
        return self._chosen or self._session.hash_in_use

    def open_list(self, folder: Path) -> None:
        """Begin with the answers of the model that classified a folder of slides last."""
        own = read_memory(list_file(self._session.preferences.results, folder, ".json")).bundle_sha256
        self._chosen = "" if own == self._session.hash_in_use else own
        self._had_model = self._session.bundle is not None
        self._models = {own} - {""}
        self._session.view(self.model)
        self.refresh()

    def follow_model(self, *, chosen: bool = False) -> None:
        """List the answers of the model in use.

        Parameters
        ----------
        chosen
            Whether it was chosen for this list; otherwise the first model of a window changes nothing.
        """
        if chosen or self._had_model or self._chosen == self._session.hash_in_use:
            self._chosen = ""
        else:
            self._session.view(self._chosen)  # the answers of the remembered model are not what this list shows
        self._had_model = self._session.bundle is not None
        self.refresh()

    def take(self, entries: Iterable[Entry]) -> None:
        """Offer the models that answered to slides of the list."""
        models = {sha256 for entry in entries for sha256 in entry.models}
        if models != self._models:
            self._models = models
            self.refresh()

    def refresh(self) -> None:
        """Name the models; only the answers of other models than the one in use need a choice."""
        in_use, busy = self._session.hash_in_use, self._session.jobs.busy
        self._known = known_models(self._session.preferences.results)
        if in_use and (folder := self._session.model_folder):
            self._known[in_use] = KnownModel(name_of(folder), str(folder))
        models = sorted(self._models | {in_use, self.model} - {""}, key=lambda one: (title_of(one, self._known), one))
        named = [(f"{self._title(one)} (in use)" if one == in_use else self._title(one), one) for one in models]
        if named != [(self.choice.itemText(row), self.choice.itemData(row)) for row in range(self.choice.count())]:
            self.choice.clear()  # only then: it would forget the letters that are being typed
            for name, sha256 in named:
                self.choice.addItem(name, sha256)
        self.choice.setCurrentIndex(self.choice.findData(self.model))
        self.setVisible(bool(self._models - {in_use}))
        self._folder = None if self.model == in_use else find_model_folder(self.model, self._known)
        self.use.setVisible(self._folder is not None)
        self.use.setText(f"Use {self._title(self.model)}")
        self.choice.setEnabled(not busy)
        self.use.setEnabled(not busy)
        self.refreshed.emit()

    @property
    def names_model_in_use(self) -> bool:
        """Whether the name of the model in use is seen here."""
        return not self.isHidden() and self.model == self._session.hash_in_use

    def _title(self, sha256: str) -> str:
        return shortened(title_of(sha256, self._known), MAX_NAME)

    def _choose(self, _index: int) -> None:
        sha256 = str(self.choice.currentData())
        if sha256 != self.model:
            self._chosen = "" if sha256 == self._session.hash_in_use else sha256
            self._session.view(self.model)
            self.refresh()
            self.changed.emit()

    def _use_model(self) -> None:
        if self._folder is not None:
            self._session.load_model(self._folder)
