"""Result of a slide: a bar for each class or value, and the facts that are needed to judge it."""

import re
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QGridLayout, QLabel, QProgressBar, QPushButton, QVBoxLayout, QWidget

from lrmil.models.synthetic import SYNTHETIC_NOTE
from lrmil.prediction.doubts import before_in_words, status_in_words, threshold_in_words
from napari_lrmil.session.closer_look import what_a_closer_look_reads
from napari_lrmil.session.session import Session
from napari_lrmil.state.known_models import known_models, title_of
from napari_lrmil.state.messages import reworded
from napari_lrmil.widgets.parts import Text, listen

if TYPE_CHECKING:
    from lrmil.prediction.prediction import Prediction

STATUS = {
    "partial": "still reading the slide",
}


class ResultBox(QWidget):
    """Probabilities or other values, status and facts of the prediction that the session shows.

    Attributes
    ----------
    closer
        The button that asks the teacher of the model about an uncertain slide; hidden where it cannot help.
    """

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.notice = Text("Model output, not a diagnosis. For research use.")
        self.notice.setStyleSheet("font-style: italic;")
        self.facts = Text()
        self.closer = QPushButton("Look closer")
        self.bars: dict[str, QProgressBar] = {}
        self._grid = QGridLayout()
        self._grid.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(self._grid)
        column.addWidget(self.closer)
        column.addWidget(self.facts)
        column.addWidget(self.notice)
        listen(session.shown_changed, self.refresh)
        listen(session.revealed_changed, self.refresh)
        listen(session.jobs.job_changed, self._offer_closer)
        self.refresh()

    def refresh(self) -> None:
        """Show the prediction of the session, or why there is none."""
        shown = self._session.shown
        self._clear()
        if shown is None:
            self.facts.setText("The chosen slide has not been classified yet.")
        elif not self._session.revealed:
            self.facts.setText("The output is hidden until your own label is recorded below.")
        else:
            self._fill(shown.prediction)
        self._offer_closer()

    def _offer_closer(self) -> None:
        what = what_a_closer_look_reads(self._session)
        self.closer.setVisible(bool(what))
        self.closer.setEnabled(not self._session.jobs.busy)
        self.closer.setToolTip(f"The teacher that the model keeps reads the {what}, and answers if it is sure.")

    def _fill(self, prediction: "Prediction") -> None:
        for row, shown in enumerate(prediction.task.shown(prediction.probabilities)):
            bar = QProgressBar()
            bar.setRange(0, 1000)
            bar.setValue(round(1000 * (shown.share or 0)))
            bar.setFormat(shown.text)
            label = QLabel(shown.name)
            if shown.name == prediction.label:
                label.setStyleSheet("font-weight: bold;")
            self._grid.addWidget(label, row, 0)
            self._grid.addWidget(bar, row, 1)
            self.bars[shown.name] = bar
        self.facts.setText("\n".join([*self._of_another(prediction.bundle_sha256), *facts(prediction)]))

    def _of_another(self, sha256: str) -> list[str]:
        if sha256 == self._session.hash_in_use:
            return []
        return [
            f"Answer of {title_of(sha256, known_models(self._session.preferences.results))}, not of the model in use"
        ]

    def _clear(self) -> None:
        while (item := self._grid.takeAt(0)) is not None:
            widget = item.widget()
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        self.bars = {}


def facts(prediction: "Prediction") -> list[str]:
    """Return lines of text: status, threshold, tissue, resolution, patches, time, checksum and notes on damage."""
    used, failed = len(prediction.patches), prediction.failed_patches
    lost = f", {failed} could not be read" if failed else ""
    mask = "" if prediction.tissue_source == "segmented" else " (mask edited by hand)"
    status = STATUS.get(prediction.status) or status_in_words(prediction.status, prediction.reasons, prediction.task)
    lines = [
        f"{prediction.slide_id}: {status}{f' ({prediction.regions.words})' if prediction.regions else ''}",
        f"Tissue {prediction.tissue_mm2:.2f} mm²{mask}, {used} patches used{lost}",
        f"{prediction.mpp:.4g} um/px at level 0 ({prediction.mpp_source}), "
        f"read at {prediction.patches.grid.mpp:g} um/px",
    ]
    before = before_in_words(prediction.escalation, prediction.task)
    lines[1:1] = [line for line in (threshold_in_words(prediction.threshold, prediction.task), before) if line]
    if SYNTHETIC_NOTE in prediction.notes:
        lines.insert(1, SYNTHETIC_NOTE)
    said = [one.sentence for one in (prediction.escalation, prediction.regions) if one]  # in lines above
    notes = [note for note in prediction.notes if note not in (*said, *lines)]
    seconds = [f"{prediction.timings['total']:.1f} s"] if "total" in prediction.timings else []
    return [
        *lines,
        *seconds,
        f"Checksum of the slide: {with_short_digests(prediction.checksum)}",
        *map(reworded, notes),
    ]


def with_short_digests(text: str) -> str:
    """Shorten the digests in a text to 12 digits, because a dock cannot wrap them."""
    return re.sub(r"\b([0-9a-f]{12})[0-9a-f]{20,}\b", r"\1...", text)
