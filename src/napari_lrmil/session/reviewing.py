"""Decide on the prediction that is shown, in one step, and take the last decision back."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from psygnal import Signal, SignalInstance

from lrmil.errors import ReviewError
from lrmil.reviews.entry import review_key
from lrmil.reviews.log import Decision, Event, Review, ReviewKey, append_review
from lrmil.reviews.withdrawals import withdrawal_of
from lrmil.tasks.choice import stated_name
from napari_lrmil.layers.slides import find_slide
from napari_lrmil.session.blinding import Blinding, was_read_first
from napari_lrmil.state.review_log import reviews_in
from napari_lrmil.state.shown import ShownPrediction

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from lrmil.prediction.prediction import Prediction
    from napari.layers import Image

NOTHING = "Nothing to take back: no review was saved in this window."


class Reviewed(Protocol):
    """What reviews need of a `Session`, which is described there."""

    shown: ShownPrediction | None
    reviewer: str
    blinding: Blinding
    reviewed: SignalInstance

    @property
    def viewer(self) -> "ViewerModel":
        """The viewer."""

    @property
    def revealed(self) -> bool:
        """Whether the output may be shown."""

    @property
    def on_screen(self) -> bool:
        """Whether the slide is visible."""

    @property
    def review_log(self) -> Path:
        """The log."""

    def choose(self, layer: "Image | None") -> None:
        """Turn to a slide."""

    def reveal(self) -> None:
        """Show the output."""


class Reviewing:
    """Reviews of one session: notes that are not saved yet, what was saved, and how to take it back.

    Parameters
    ----------
    session
        The session, whose reviews go to its log.

    Attributes
    ----------
    note_changed, saved, withdrawn, next_asked
        Signals: a note was typed; a review was saved; one was taken back, with the prediction that it was about; the
        reader asked for the next slide.
    """

    note_changed = Signal()
    saved = Signal()
    withdrawn = Signal(object)
    next_asked = Signal()

    def __init__(self, session: Reviewed) -> None:
        self._session = session
        self._notes: dict[ReviewKey, str] = {}
        self._saved: list[tuple[ShownPrediction, Review]] = []
        self._decided: ShownPrediction | None = None

    @property
    def up(self) -> ShownPrediction | None:
        """The prediction that is up for review: whole, on the screen, not hidden, and not decided just now."""
        session, shown = self._session, self._session.shown
        ready = shown is not None and shown.complete and session.revealed and session.on_screen
        return shown if ready and shown is not self._decided else None

    @property
    def note(self) -> str:
        """The note on the prediction that is shown."""
        shown = self._session.shown
        return "" if shown is None else self._notes.get(key_of(shown), "")

    @note.setter
    def note(self, text: str) -> None:
        shown = self._session.shown
        if shown is not None and text != self.note:
            self._notes[key_of(shown)] = text
            self.note_changed.emit()

    def decide(self, shown: ShownPrediction, decision: Decision, label: str = "") -> None:
        """Save a review with the note on its slide.

        Parameters
        ----------
        shown
            The prediction.
        decision
            What is decided.
        label
            The class, when the decision is "override".

        Raises
        ------
        LrmilError
            If it cannot be saved; nothing has changed then.
        """
        labels = {"agree": shown.prediction.label, "override": label, "uncertain": ""}
        session, reviews = self._session, reviews_in(self._session.review_log).reviews
        first = was_read_first(shown.prediction.slide_fingerprint, session.reviewer, reviews)
        entry = self.append(shown, "review", label=labels[decision], human_first=first, decision=decision)
        self._saved.append((shown, entry))
        self._decided = shown
        self._notes.pop(key_of(shown), None)
        self.saved.emit()
        session.reviewed.emit()

    def record_own(self, shown: ShownPrediction, label: str) -> None:
        """Record the reader's own label, then show the output.

        Parameters
        ----------
        shown
            The prediction, whose output is hidden.
        label
            The label.

        Raises
        ------
        LrmilError
            If it cannot be written; the output stays hidden then.
        """
        self.append(shown, "read", label=label, human_first=not self._session.blinding.seen)
        self._session.reveal()

    def take_back(self) -> Review:
        """Take the last saved review back, and bring its note back.

        Returns
        -------
        Review
            That review.

        Raises
        ------
        ReviewError
            If there is none, or the log cannot be written.
        """
        if not self._saved:
            raise ReviewError(NOTHING)
        shown, review = self._saved[-1]
        append_review(self._session.review_log, withdrawal_of(review))
        self._saved.pop()
        self._decided = None
        self._notes.setdefault(key_of(shown), review.note)
        session = self._session
        layer = find_slide(session.viewer.layers, shown.source)
        if layer is not None:
            session.choose(layer)
        self.note_changed.emit()
        self.withdrawn.emit(shown)
        return review

    def append(
        self,
        shown: ShownPrediction,
        event: Event,
        *,
        label: str,
        human_first: bool,
        decision: Decision | None = None,
    ) -> Review:
        """Write an entry about a prediction to the log and return it.

        Parameters
        ----------
        shown
            The prediction.
        event, label, human_first, decision
            As `event`, `human_label`, `human_first` and `decision` of `lrmil.reviews.entry.Review`.

        Raises
        ------
        LrmilError
            If it cannot be written.
        """
        prediction, viewed = shown.prediction, time.monotonic() - self._session.blinding.changed_at
        entry = Review(
            event=event,
            slide_id=prediction.slide_id,
            slide_fingerprint=prediction.slide_fingerprint,
            bundle_sha256=prediction.bundle_sha256,
            output_label=prediction.label,
            output_probabilities=prediction.probabilities,
            output_status=prediction.status,
            decision=decision,
            human_label=label,
            note=self._notes.get(key_of(shown), "").strip() if event == "review" else "",
            reviewer=self._session.reviewer,
            human_first=human_first,
            seconds_viewed=round(viewed, 1) if event == "review" else None,
            task=stated_name(prediction.task),
            regions=regions_in(prediction),
        )
        append_review(self._session.review_log, entry)
        return entry


def key_of(shown: ShownPrediction) -> ReviewKey:
    """Return what a prediction is of, as the log knows it."""
    found = shown.prediction
    return review_key(found.slide_fingerprint, found.bundle_sha256, regions_in(found))


def regions_in(prediction: "Prediction") -> str:
    """Return the part of the slide that a prediction is about, in words; "" for all of it."""
    return prediction.regions.words if prediction.regions else ""
