"""What one viewer works on: its model, the prediction that is shown, and the jobs that make it."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import ref

from psygnal import Signal

from lrmil.errors import ConfigError, LrmilError
from lrmil.steps import Step
from napari_lrmil.layers.slides import (
    answers_for,
    bring_to_front,
    find_slide,
    is_of,
    raise_overlays,
    slides_in,
    source_of,
    was_replaced,
)
from napari_lrmil.session.blinding import show_slide
from napari_lrmil.session.following import Following, fit
from napari_lrmil.session.kept_predictions import KeptPredictions, is_by
from napari_lrmil.session.mask_watch import MaskWatch
from napari_lrmil.session.model_in_use import ModelInUse
from napari_lrmil.session.opened_slide import FoundTissue, edited_tissue, tissue_steps
from napari_lrmil.session.reading import Reading
from napari_lrmil.session.reviewing import Reviewing
from napari_lrmil.session.where import ShapesOnSlides, Where
from napari_lrmil.state.preferences import Preferences, read_preferences
from napari_lrmil.state.shown import ShownPrediction, shown_steps

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from lrmil.models.bundle import Bundle
    from napari.layers import Image


class Session(ModelInUse, Reading):
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
    earlier
        The model that was in use before, None when there was none; `go_back` uses it again.
    ask_about_model, asks_about_models
        Asks the user whether the model in a folder may replace the one in use, and calls one of two functions then; and
        whether they still want to be asked.
    listed_answers
        Number of the answers of the model in use that a list shows.
    shown
        The prediction that all views show.
    blinding
        What the reader may see of it: see `napari_lrmil.session.blinding`.
    masks
        Tells whether it was made with another tissue mask than the slide has now; `mask_changed` follows a change.
    reviewer
        Name of the reader, "" when it is not given; `take_reviewer` changes it.
    reviewing
        Saves their decisions and takes the last one back.
    """

    shown_changed = Signal()
    chosen_changed = Signal()
    on_screen_changed = Signal()
    mask_changed = Signal()
    notice = Signal(str)
    reviewed = Signal()

    def __init__(self, viewer: "Viewer") -> None:
        self._viewer = ref(viewer)  # the sessions are kept by viewer: a strong reference would keep both for ever
        self._preferences = self._preferences_read = read_preferences()
        ModelInUse.__init__(self)
        Reading.__init__(self)
        self.shown: ShownPrediction | None = None
        self.listed_answers = 0
        self._kept, self._viewed = KeptPredictions(), ""
        self._chosen: ref[Image] | None = None
        self.reviewing = Reviewing(self)
        self.masks = MaskWatch(viewer.layers, lambda: self.shown, self.mask_changed.emit)
        self._shapes = ShapesOnSlides(viewer.layers, lambda: self.chosen)
        self._scale_shown = False
        self.jobs.job_changed.connect(self._drop_partial)
        self.following = Following(viewer, lambda: self.chosen, self.choose, self.on_screen_changed.emit)
        slides = [slide for slide in slides_in(viewer.layers) if slide.visible]
        if slides:
            self.choose(slides[-1])

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
    def chosen(self) -> "Image | None":
        """Layer of the slide that the user is on."""
        chosen = self._chosen and self._chosen()
        return chosen if chosen in slides_in(self.viewer.layers) else None

    @property
    def on_screen(self) -> bool:
        """Whether the slide that the user is on is visible, so that what belongs to it may be drawn."""
        return self.chosen is None or self.chosen.visible

    @property
    def has_answers(self) -> bool:
        """Whether answers of the model in use are on the screen: of open slides, or in a list."""
        return self.listed_answers > 0 or self._kept.has(self.viewer.layers, self.hash_in_use)

    @property
    def viewed(self) -> str:
        """Hash of the model whose answers are shown: the one in use, unless those of another one were asked for."""
        return self._viewed or self.hash_in_use

    def view(self, sha256: str) -> None:
        """Show the answers of a model, "" for the one in use; until another model is used, or classifies a slide.

        Where the answer of the slide on the screen has not been shown before, none is shown: `take` it.
        """
        self._viewed = "" if sha256 == self.hash_in_use else sha256
        chosen, shown = self.chosen, self.shown
        kept = None if chosen is None else self._kept.find(chosen, self.viewed)
        if (shown is None and kept is not None) or (shown is not None and not is_by(shown, self.viewed)):
            self.show(kept)

    def _model_replaced(self) -> None:
        """Show what the model in use said of the slide; an answer of another must not stand beside its name."""
        self.view("")

    def choose(self, layer: "Image | None") -> None:
        """Show the slide that the user turned to, alone, with its prediction and never that of another slide."""
        before = self._chosen and self._chosen()
        self._chosen = None if layer is None else ref(layer)
        if layer is not None and layer is not before:
            self.following.show_alone(layer)
            bring_to_front(self.viewer.layers, layer)
            fit(self.viewer, layer)
        self.chosen_changed.emit()
        shown = self.shown
        if layer and shown and answers_for(layer, shown.source, shown.prediction.slide_fingerprint):
            return
        kept = None if layer is None else self._kept.find(layer, self.viewed)
        if kept is not None or self.shown is not None:
            self.show(kept)

    def classify(
        self, layer: "Image", *, device: str = "auto", mpp: float | None = None, where: Where | None = None
    ) -> bool:
        """Classify the slide of a layer in a thread; `shown_changed` follows each partial and the final prediction.

        Parameters
        ----------
        layer
            A slide opened by this plugin's reader, or any image layer whose source file is a slide.
        device
            "auto" or a name of `lrmil.models.devices.available_devices`.
        mpp
            um/px of level 0 in place of the slide's own.
        where
            The part of the slide that counts; None for all of it.

        Returns
        -------
        bool
            False when it could not be started, which `jobs.failed` says.
        """
        if not self.jobs.busy:
            self._viewed = ""
            self._kept.forget(layer, self.hash_in_use)
            self.show(None)  # an earlier prediction must not stand beside this one's failure
        try:
            source, bundle = source_of(layer, mpp), self._require_model()
            painted = edited_tissue(self.viewer.layers, source.path)
            drawn = where and where.drawn(layer)
        except LrmilError as error:
            self.jobs.failed.emit(str(error))
            return False
        results, below = self.preferences.results, self.preferences.uncertain_below
        self.note_model()
        return self.jobs.run(
            lambda: shown_steps(source, bundle, results, device, painted, below, drawn=drawn),
            name=f"classify {source.slide_id}",
            on_step=self._take_partial,
            on_result=self.take,
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
        self.masks.look()
        self.shown_changed.emit()
        slide = None if shown is None else find_slide(self.viewer.layers, shown.source)
        if slide is not None:
            raise_overlays(self.viewer.layers, slide)

    def _drop_partial(self) -> None:
        if not self.jobs.busy and self.shown is not None and not self.shown.complete:
            self.show(None)  # its job was cancelled or failed

    def _take_partial(self, step: "Step[ShownPrediction]") -> None:
        if step.result is not None and not step.result.complete:
            self.take(step.result)

    def take(self, shown: ShownPrediction) -> None:
        """Show a prediction if the user is on its slide; keep it with the slide otherwise."""
        layers = [one for one in slides_in(self.viewer.layers) if is_of(one, shown.source)]
        fitting = [one for one in layers if not was_replaced(one, shown.prediction.slide_fingerprint)]
        if not layers:
            return  # it was closed meanwhile, or got another um/px
        if not fitting:
            if shown.complete:
                self.jobs.failed.emit(f"{shown.source.path.name} was replaced since it was opened. Open it again.")
            return
        if self.chosen is None or self.chosen in fitting:
            self.show(shown)
        elif shown.complete:
            self._kept.keep(self.viewer.layers, shown)
            self.notice.emit(f"{shown.source.slide_id} has been classified; choose it to see the result.")

    def _require_model(self) -> "Bundle":
        if self.bundle is None:
            raise ConfigError("No model is loaded. Choose a model folder, such as RUN/model of a training.")
        return self.bundle
