"""What one viewer works on: its model, the prediction that is shown, and the jobs that make it."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import ref

from psygnal import Signal

from lrmil.errors import ConfigError, LrmilError
from lrmil.steps import Step
from napari_lrmil.jobs.jobs import Jobs
from napari_lrmil.layers.slides import bring_to_front, find_slide, is_of, raise_overlays, slides_in, source_of
from napari_lrmil.session.blinding import Blinding, decide, reveal, set_read_first, show_slide
from napari_lrmil.session.kept_predictions import KeptPredictions, is_by
from napari_lrmil.session.opened_slide import FoundTissue, edited_tissue, tissue_steps
from napari_lrmil.state import folders
from napari_lrmil.state.messages import explain
from napari_lrmil.state.preferences import Preferences, read_preferences
from napari_lrmil.state.review_log import read_by
from napari_lrmil.state.shown import ShownPrediction, shown_steps

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

    from napari.viewer import Viewer

    from lrmil.models.bundle import Bundle
    from napari.layers import Image


class Session:
    """State of one viewer, without Qt.

    Made by `napari_lrmil.session.viewers.session_of`, once for each viewer. The docks and their parts read it, ask it
    to act, and follow its signals; those of `jobs` report progress and failures. A dock that is closed and opened again
    is a new widget on the same session, so a job continues and its result is kept. All signals are emitted in the main
    thread.

    Parameters
    ----------
    viewer
        A napari viewer, or its model without a window.

    Attributes
    ----------
    jobs
        Runs one job at a time.
    bundle, model_folder
        The model in use and its folder, None before one is loaded.
    shown
        The prediction that all views show.
    blinding
        What the reader may see of it: see `napari_lrmil.session.blinding`.
    reviewer
        Name of the reader, "" when it is not given.
    """

    model_changed = Signal()
    model_refused = Signal()
    shown_changed = Signal()
    revealed_changed = Signal()
    read_first_changed = Signal()
    notice = Signal(str)
    reviewed = Signal()

    def __init__(self, viewer: "Viewer") -> None:
        self._viewer = ref(viewer)  # the sessions are kept by viewer: a strong reference would keep both for ever
        self._preferences = self._preferences_read = read_preferences()
        self.jobs = Jobs()
        self.bundle: Bundle | None = None
        self.model_folder: Path | None = None
        self.shown: ShownPrediction | None = None
        self._kept = KeptPredictions()
        self._chosen: ref[Image] | None = None
        self.reviewer = self.preferences.reviewer
        self.blinding = Blinding(read_first=self.preferences.read_first, changed_at=time.monotonic())
        self._scale_shown = False
        self.jobs.job_changed.connect(self._drop_partial)

    @property
    def viewer(self) -> "Viewer":
        """The viewer, which outlives every use of its session."""
        viewer = self._viewer()
        if viewer is None:
            raise ReferenceError("The viewer of this session is closed.")
        return viewer

    @property
    def preferences(self) -> Preferences:
        """What is chosen in napari's preferences now: a change counts from the next job on."""
        found = read_preferences()
        if found != self._preferences_read:
            self._preferences = self._preferences_read = found
        return self._preferences

    @preferences.setter
    def preferences(self, value: Preferences) -> None:
        self._preferences = value

    @property
    def review_log(self) -> Path:
        """The append-only log of reviews."""
        return self.preferences.results / "reviews.jsonl"

    @property
    def revealed(self) -> bool:
        """Whether views may show the model's output."""
        return self.blinding.revealed

    @property
    def read_first(self) -> bool:
        """Whether a slide's output is hidden until the reader has recorded a label of their own."""
        return self.blinding.read_first

    @read_first.setter
    def read_first(self, value: bool) -> None:
        self._blind(set_read_first(self.blinding, self._recorded(), read_first=value, now=time.monotonic()))
        self.read_first_changed.emit()

    def decide_revealed(self) -> None:
        """Apply the read-first rule again, as after a change of the reader or of their records."""
        self._blind(decide(self.blinding, self._recorded(), now=time.monotonic()))

    def reveal(self) -> None:
        """Show the output: the reader's own label of the slide is recorded."""
        self._blind(reveal(self.blinding, now=time.monotonic()))

    def recall_model(self) -> None:
        """Load the model of the preferences, or else of the last time, unless there is one or a job runs."""
        folder = self.preferences.model_folder or folders.recall("model_folder")
        if self.bundle is None and not self.jobs.busy and folder and Path(folder).is_dir():
            self.load_model(Path(folder))

    def load_model(self, folder: Path) -> bool:
        """Load a model folder in a thread; `model_changed` or `model_refused` follows.

        Returns
        -------
        bool
            False when another job runs, which `jobs.failed` says.
        """

        def load() -> "Iterator[Step[Bundle]]":
            from lrmil.models.bundle import load_bundle

            yield Step(("load model",), 1, 1, result=load_bundle(folder))

        def refuse(error: Exception) -> None:
            self.jobs.failed.emit(explain(error))
            self.model_refused.emit()

        return self.jobs.run(
            load, name="load model", on_result=lambda bundle: self.take_model(folder, bundle), on_error=refuse
        )

    def take_model(self, folder: Path, bundle: "Bundle") -> None:
        """Make a loaded model the session's."""
        self.bundle, self.model_folder = bundle, folder
        folders.remember("model_folder", str(folder))
        if self.shown is not None and not is_by(self.shown, bundle):
            self.show(None)  # the prediction of one model must not stand beside the name of another
        self.model_changed.emit()

    @property
    def chosen(self) -> "Image | None":
        """Layer of the slide that the user is on, or of the one whose prediction is shown."""
        chosen = self._chosen and self._chosen()
        if chosen in slides_in(self.viewer.layers):
            return chosen
        return None if self.shown is None else find_slide(self.viewer.layers, self.shown.source)

    def choose(self, layer: "Image | None") -> None:
        """Take note of the slide that the user is on: its prediction is shown, and never that of another slide."""
        before = self._chosen and self._chosen()
        self._chosen = None if layer is None else ref(layer)
        if layer is not None and layer is not before:
            bring_to_front(self.viewer.layers, layer)
        if layer is not None and self.shown is not None and is_of(layer, self.shown.source):
            return
        kept = None if layer is None else self._kept.find(layer, self.bundle)
        if kept is not None or self.shown is not None:
            self.show(kept)

    def classify(self, layer: "Image", *, device: str = "auto", mpp: float | None = None) -> bool:
        """Classify the slide of a layer in a thread; `shown_changed` follows each partial and the final prediction.

        Parameters
        ----------
        layer
            A slide opened by this plugin's reader, or any image layer whose source file is a slide.
        device
            "auto" or a name of `lrmil.models.devices.available_devices`.
        mpp
            um/px of level 0 in place of the slide's own.

        Returns
        -------
        bool
            False when it could not be started, which `jobs.failed` says.
        """
        if not self.jobs.busy:
            self._kept.forget(layer)
            self.show(None)  # an earlier prediction must not stand beside this one's failure
        try:
            source, bundle = source_of(layer, mpp), self._require_model()
        except LrmilError as error:
            self.jobs.failed.emit(str(error))
            return False
        mask, results = edited_tissue(self.viewer.layers, source.slide_id), self.preferences.results
        below = self.preferences.uncertain_below
        return self.jobs.run(
            lambda: shown_steps(source, bundle, results, device, mask, below),
            name=f"classify {source.slide_id}",
            on_step=self._take_partial,
            on_result=self._take,
        )

    def find_tissue(
        self, layer: "Image", *, mpp: float | None = None, on_result: Callable[[FoundTissue], None]
    ) -> bool:
        """Segment a slide's tissue in a thread.

        Parameters
        ----------
        layer, mpp
            As in `classify`.
        on_result
            Called with the mask in the main thread.

        Returns
        -------
        bool
            False when it could not be started, which `jobs.failed` says.
        """
        try:
            source = source_of(layer, mpp)
        except LrmilError as error:
            self.jobs.failed.emit(str(error))
            return False
        return self.jobs.run(
            lambda: tissue_steps(source), name=f"find tissue of {source.slide_id}", on_result=on_result
        )

    def show(self, shown: ShownPrediction | None) -> None:
        """Make a prediction the one that all views show; they ask `revealed` whether to."""
        self.shown = shown
        if shown is not None and not self._scale_shown:  # once: whoever hides the scale bar means it
            self.viewer.canvas.overlays.scale_bar.visible = self._scale_shown = True
        fingerprint = None if shown is None else shown.prediction.slide_fingerprint
        complete = shown is not None and shown.complete
        self._blind(show_slide(self.blinding, fingerprint, self._recorded(), complete=complete, now=time.monotonic()))
        if shown is not None and complete:
            self._kept.keep(self.viewer.layers, shown)
        self.shown_changed.emit()
        slide = None if shown is None else find_slide(self.viewer.layers, shown.source)
        if slide is not None:
            raise_overlays(self.viewer.layers, slide)

    def _blind(self, blinding: Blinding) -> None:
        before, self.blinding = self.blinding, blinding
        if before.revealed != blinding.revealed:
            self.revealed_changed.emit()

    def _recorded(self) -> "AbstractSet[str]":
        return read_by(self.review_log, self.reviewer)

    def _drop_partial(self) -> None:
        if not self.jobs.busy and self.shown is not None and not self.shown.complete:
            self.show(None)  # its job was cancelled or failed

    def _take_partial(self, step: "Step[ShownPrediction]") -> None:
        if step.result is not None and not step.result.complete:
            self._take(step.result)

    def _take(self, shown: ShownPrediction) -> None:
        """Show a prediction if the user is on its slide; keep it with the slide otherwise."""
        chosen = self.chosen
        if find_slide(self.viewer.layers, shown.source) is None:
            return  # it was closed meanwhile, or got another um/px
        if chosen is None or is_of(chosen, shown.source):
            self.show(shown)
        elif shown.complete:
            self._kept.keep(self.viewer.layers, shown)
            self.notice.emit(f"{shown.source.slide_id} has been classified; choose it to see the result.")

    def _require_model(self) -> "Bundle":
        if self.bundle is None:
            raise ConfigError("No model is loaded. Choose a model folder, such as RUN/model of a training.")
        return self.bundle
