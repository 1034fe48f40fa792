"""Export the shown case with its review, and open its page."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QFileDialog, QPushButton, QWidget

from lrmil.reviews.log import Review
from lrmil.steps import Step
from napari_lrmil.session.reviewing import key_of
from napari_lrmil.session.session import Session
from napari_lrmil.state.messages import explain
from napari_lrmil.state.review_log import latest_in
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.widgets.parts import MessageLine, beside, listen, stacked

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle


class CaseBox(QWidget):
    """Buttons to export a case as table row, GeoJSON for QuPath, picture and page, and to open the page."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._shown: ShownPrediction | None = None
        self._page: Path | None = None
        self.export_button, self.open_button = QPushButton("Export case..."), QPushButton("Open page")
        self.export_button.setToolTip("Writes a table row, GeoJSON for QuPath, a picture, and one page with everything")
        self.message = MessageLine()
        stacked(self, beside(self.export_button, self.open_button), self.message)
        for signal in (
            session.shown_changed,
            session.revealed_changed,
            session.jobs.job_changed,
            session.model_changed,
        ):
            listen(signal, self.refresh)
        self.export_button.clicked.connect(self.export)
        self.open_button.clicked.connect(self.open_page)
        self.refresh()

    def refresh(self) -> None:
        """Enable the export if the model that made the prediction is loaded: the page shows its card."""
        session, shown = self._session, self._session.shown
        if shown is not self._shown:
            self._shown, self._page = shown, None
            self.message.say("")
        made_by = shown is not None and session.bundle and session.bundle.sha256 == shown.prediction.bundle_sha256
        ready = made_by and shown is not None and shown.complete and session.revealed and not session.jobs.busy
        self.export_button.setEnabled(bool(ready))
        self.open_button.setVisible(self._page is not None)

    def export(self) -> None:
        """Write the case into a folder, in a thread."""
        session, shown, bundle = self._session, self._session.shown, self._session.bundle
        folder = self.ask_for_folder() if shown is not None and bundle is not None else None
        if shown is None or bundle is None or folder is None:
            return
        review = latest_in(session.review_log).get(key_of(shown))
        patches = session.preferences.top_patches

        def steps() -> Iterator[Step[Path]]:
            yield from _export(folder, shown, bundle, review, patches)

        self._page = None
        self.message.say("")
        name = f"export the case of {shown.source.slide_id}"
        session.jobs.run(steps, name=name, on_result=self._offer_page, on_error=self._warn)

    def ask_for_folder(self) -> Path | None:
        """Ask for the folder to write to; None if the user cancels."""
        folder = QFileDialog.getExistingDirectory(self, "Choose a folder for the case")
        return Path(folder) if folder else None

    def open_page(self) -> None:
        """Open the exported page in the browser."""
        if self._page is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self._page)))

    def _offer_page(self, page: Path) -> None:
        self._page = page
        self.message.say(f"Exported to {page.parent}")
        self.refresh()

    def _warn(self, error: Exception) -> None:
        self.message.warn(explain(error))


def _export(
    folder: Path, shown: ShownPrediction, bundle: "Bundle", review: Review | None, patches: int
) -> Iterator[Step[Path]]:
    from lrmil.reports.case_page import write_case
    from lrmil.slides.opening import open_slide

    with open_slide(shown.source.path, mpp=shown.source.mpp) as slide:
        page = write_case(folder, shown.prediction, slide, bundle.card, review=review, k=patches)
    yield Step(("export",), 1, 1, result=page)
