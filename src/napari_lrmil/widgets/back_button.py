"""One press back to the model that was in use before, with its answers."""

from qtpy.QtWidgets import QPushButton, QWidget

from napari_lrmil.session.session import Session
from napari_lrmil.state.known_models import name_of
from napari_lrmil.widgets.breaks import shortened
from napari_lrmil.widgets.parts import listen


class BackButton(QPushButton):
    """Undoes the choice of another model; hidden while there was no other."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setAccessibleName("Back to the earlier model")
        self.setToolTip("Use the model that was in use before, and show its answers again")
        self.clicked.connect(session.go_back)
        listen(session.model_changed, self.refresh)
        listen(session.jobs.job_changed, self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Name the earlier model."""
        earlier = self._session.earlier
        self.setVisible(earlier is not None)
        if earlier is not None:
            same = earlier.folder == self._session.model_folder  # it was trained again into the same folder
            which = f" of hash {earlier.bundle.sha256[:12]}" if same else ""
            self.setText(f"Back to {shortened(name_of(earlier.folder))}{which}")
            self.setEnabled(not self._session.jobs.busy)
