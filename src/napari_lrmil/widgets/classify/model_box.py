"""Choose the model folder; show its card in one line, or whole: classes, um/px, training data, metrics, licence."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout, QWidget

from lrmil.runs.arms import ARM_NAMES
from napari_lrmil.session.session import Session
from napari_lrmil.state import folders
from napari_lrmil.state.known_models import name_of
from napari_lrmil.widgets.back_button import BackButton
from napari_lrmil.widgets.parts import Text, listen

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle

ARMS = {"lr_student": "this model"} | {arm: name for arm, name in ARM_NAMES.items() if arm != "lr_student"}
NO_MODEL = "No model is loaded."
REMEMBERED, UNFOLDED = "model_card", "unfolded"


class ModelBox(QWidget):
    """Path of the model folder, and the card of the loaded model."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.path = QLineEdit()
        self.path.setPlaceholderText("model folder, such as RUN/model")
        self.path.setAccessibleName("Model folder")
        self.path.setToolTip("Folder of a model, such as RUN/model of a training; Enter loads it")
        self.browse = QPushButton("Browse...")
        self.waiting, self.card = Text("Not in use yet: press Enter, or Classify, to load it. In use:"), Text()
        self.waiting.hide()
        self.summary, self.details, self.back = Text(), QPushButton("Card"), BackButton(session)
        self.details.setCheckable(True)
        self.details.setToolTip("Show all of the model's card")
        self.details.setChecked(folders.recall(REMEMBERED) == UNFOLDED)
        self.card.setVisible(self.details.isChecked())
        row, line = QHBoxLayout(), QHBoxLayout()
        row.addWidget(self.path, 1)
        row.addWidget(self.browse)
        line.addWidget(self.summary, 1)
        line.addWidget(self.details)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row)
        column.addLayout(line)
        for part in (self.back, self.waiting, self.card):
            column.addWidget(part)
        self.path.textChanged.connect(self._say_typed)
        self.path.returnPressed.connect(self.load)
        self.browse.clicked.connect(self._ask_for_folder)
        self.details.toggled.connect(self._unfold)
        listen(session.model_changed, self._show)
        listen(session.model_refused, self._show_path)
        self._show()

    @property
    def typed(self) -> Path | None:
        """The folder in the field, None if it is that of the model in use."""
        text = self.path.text().strip()
        folder = Path(text).expanduser() if text else None
        return None if folder == self._session.model_folder else folder

    def load(self) -> None:
        """Load the model folder in the field."""
        if self.path.text().strip():
            self._load(Path(self.path.text().strip()).expanduser())

    def when_taken(self, action: Callable[[], object]) -> None:
        """Call `action` once the folder in the field is the model in use: at once, or when it has been loaded.

        A folder that is refused is not the model in use, so nothing follows.
        """
        if self.typed is None:
            action()
        else:
            self._load(self.typed, then=action)

    def _load(self, folder: Path, *, then: Callable[[], object] | None = None) -> None:
        if not self._session.load_model(folder, then=then):
            self._show_path()

    def _show(self) -> None:
        bundle, folder = self._session.bundle, self._session.model_folder
        if bundle is None or folder is None:
            for text in (self.summary, self.card):
                text.setText(NO_MODEL)
            return
        self._show_path()
        self.summary.setText(f"{name_of(folder)}, reads {bundle.patch_size} px at {bundle.mpp:g} um/px")
        self.card.setText("\n".join(describe(bundle)))
        self.card.setToolTip(f"sha256 {bundle.sha256}")

    def _unfold(self, on: bool) -> None:  # noqa: FBT001 - a slot
        self.card.setVisible(on)
        folders.remember(REMEMBERED, UNFOLDED if on else "")

    def _say_typed(self) -> None:
        self.waiting.setVisible(self.typed is not None)

    def _show_path(self) -> None:
        """Show the folder of the loaded model; a refused folder stays in the field only if none is loaded."""
        folder = self._session.model_folder
        if folder is not None:
            self.path.setText(str(folder))
            self.path.setToolTip(str(folder))
        self._say_typed()

    def _ask_for_folder(self) -> None:
        folder = QFileDialog.getExistingDirectory(self, "Choose a model folder", self.path.text())
        if folder:
            self.path.setText(folder)
            self.load()


def describe(bundle: "Bundle") -> list[str]:
    """Return the lines of a model's card."""
    training = bundle.training
    lines = [
        f"{bundle.task.wording.names}: {', '.join(bundle.task.names)}",
        f"Reads {bundle.patch_size} px patches at {bundle.mpp:g} um/px ({bundle.patch_size * bundle.mpp:g} um wide)",
    ]
    if training.get("remark"):
        lines.append(str(training["remark"]))
    if "slides" in training and "cases" in training:
        lines.append(f"Trained on {training['slides']} slides of {training['cases']} cases, {training.get('date', '')}")
    task = bundle.task
    scores = {name: bundle.metrics.get(arm) for arm, name in ARMS.items() if bundle.metrics.get(arm)}
    if scores:
        listed = ", ".join(f"{name} {_score(figures, task.score_name)}" for name, figures in scores.items())
        lines.append(f"Test {task.figures[task.score_name]}: {listed}")
    return [*lines, f"Licence: {bundle.license}", f"Hash: {bundle.sha256[:12]}"]


def _score(figures: object, name: str) -> str:
    value = figures.get(name) if isinstance(figures, dict) else None
    return "not defined" if value is None else f"{value:.3f}"
