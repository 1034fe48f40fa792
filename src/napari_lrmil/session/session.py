"""What one viewer works on: its model, the prediction that is shown, and the job that runs.

The dock widgets are views of it. A dock that is closed and opened again is a new widget on the same session, so a job
goes on and its result is not lost.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, ref

import numpy as np
from psygnal import Signal

from lrmil.errors import ConfigError, LrmilError
from lrmil.raster import Raster
from lrmil.slides.resolution import require_possible_size, resolve_mpp
from lrmil.steps import Step
from napari_lrmil.jobs.jobs import Jobs
from napari_lrmil.layers.build import KEY, placed, space, tissue_of
from napari_lrmil.layers.slides import bring_to_front, is_of, raise_overlays, slides_in, source_of
from napari_lrmil.state import folders
from napari_lrmil.state.messages import explain
from napari_lrmil.state.preferences import Preferences, read_preferences
from napari_lrmil.state.shown import Shown, shown_steps

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from lrmil.models.bundle import Bundle
    from napari.layers import Image, Labels


class Session(Jobs):
    """State of one viewer; every change is told by a signal, in the main thread.

    Parameters
    ----------
    viewer
        A napari viewer, or its model without a window.
    """

    model_changed = Signal()
    model_refused = Signal()
    shown_changed = Signal()
    revealed_changed = Signal()
    read_first_changed = Signal()
    told = Signal(str)
    reviewed = Signal()

    def __init__(self, viewer: "Viewer") -> None:
        super().__init__()
        self._viewer = ref(viewer)  # the sessions are kept by viewer: a strong reference would keep both for ever
        self._preferences = self._preferences_read = read_preferences()
        self.bundle: Bundle | None = None
        self.model_folder: Path | None = None
        self.shown: Shown | None = None
        self._answers: WeakKeyDictionary[Image, Shown] = WeakKeyDictionary()  # of the slides that are open
        self._chosen: ref[Image] | None = None
        self.reviewer = self.preferences.reviewer
        self.revealed_at = time.monotonic()
        self._read_first = self.preferences.read_first
        self._revealed = True
        self._seen: set[str] = set()
        self._scale_shown = False
        self.job_changed.connect(self._drop_half_an_answer)

    @property
    def viewer(self) -> "Viewer":
        """The viewer, which outlives every use of its session."""
        viewer = self._viewer()
        if viewer is None:
            raise ReferenceError("Expected an open viewer. Got one that was closed.")
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
    def revealed(self) -> bool:
        """Whether the views may show the model's output: not while the reader's own label is to come first."""
        return self._revealed

    @revealed.setter
    def revealed(self, value: bool) -> None:
        if value != self._revealed:
            self._revealed, self.revealed_at = value, time.monotonic()
            self._note_seen()
            self.revealed_changed.emit()

    @property
    def read_first(self) -> bool:
        """Whether a slide's output is hidden until the reader has recorded a label of their own."""
        return self._read_first

    @read_first.setter
    def read_first(self, value: bool) -> None:
        self._read_first = value
        self.decide_revealed()
        self.read_first_changed.emit()

    @property
    def seen(self) -> bool:
        """Whether the output of the slide that is shown has been visible since the viewer was opened."""
        return self.shown is not None and self.shown.prediction.slide_fingerprint in self._seen

    def decide_revealed(self) -> None:
        """Hide the output of a slide that the reader has yet to label; a slide with a record of theirs is known."""
        self.revealed = not self.read_first or self.shown is None or self._has_record(self.shown)

    @property
    def review_log(self) -> Path:
        """The append-only log of reviews."""
        return self.preferences.results / "reviews.jsonl"

    def load_model(self, folder: Path) -> bool:
        """Load a model folder in a thread; `model_changed` or `model_refused` follows."""

        def load() -> "Iterator[Step[Bundle]]":
            from lrmil.models.bundle import load_bundle

            yield Step(("load model",), 1, 1, result=load_bundle(folder))

        def refuse(error: Exception) -> None:
            self.failed.emit(explain(error))
            self.model_refused.emit()

        return self.run(
            load, name="load model", on_result=lambda bundle: self.take_model(folder, bundle), on_error=refuse
        )

    def choose(self, layer: "Image | None") -> None:
        """Take note of the slide that the user is on: its answer is shown, and never that of another slide."""
        before = self._chosen and self._chosen()
        self._chosen = None if layer is None else ref(layer)
        if layer is not None and layer is not before:
            bring_to_front(self.viewer.layers, layer)
        if layer is not None and self.shown is not None and is_of(layer, self.shown.source):
            return
        kept = None if layer is None else self._answers.get(layer)
        if kept is not None and layer is not None and is_of(layer, kept.source) and self._is_of_the_model(kept):
            self.show(kept)
        elif self.shown is not None:
            self.show(None)

    @property
    def chosen(self) -> "Image | None":
        """Layer of the slide that the user is on, or of the one whose answer is shown."""
        slides, chosen = slides_in(self.viewer.layers), self._chosen and self._chosen()
        if chosen in slides:
            return chosen
        return next((one for one in slides if self.shown is not None and is_of(one, self.shown.source)), None)

    def take_model(self, folder: Path, bundle: "Bundle") -> None:
        """Make a loaded model the session's."""
        self.bundle, self.model_folder = bundle, folder
        folders.remember("model_folder", str(folder))
        if self.shown is not None and not self._is_of_the_model(self.shown):
            self.show(None)  # the answer of one model must not stand beside the name of another
        self.model_changed.emit()

    def classify(self, layer: "Image", *, device: str = "auto", mpp: float | None = None) -> bool:
        """Classify the slide of a layer in a thread; `shown_changed` tells every partial and the final prediction.

        Parameters
        ----------
        layer
            A slide opened by this plugin's reader, or any image layer whose source file is a slide.
        device
            "auto" or a name of `lrmil.models.devices.available_devices`.
        mpp
            um/px of level 0 in place of the slide's own.
        """
        if not self.busy:
            self._answers.pop(layer, None)
            self.show(None)  # an earlier answer must not stand beside this one's failure
        try:
            source, bundle = source_of(layer, mpp), self._loaded()
        except LrmilError as error:
            self.failed.emit(str(error))
            return False
        mask, results = self.edited_tissue(source.slide_id), self.preferences.results
        below = self.preferences.uncertain_below

        def classify() -> "Iterator[Step[Shown]]":
            yield from shown_steps(source, bundle, results, device, mask, below)

        return self.run(classify, name=f"classify {source.slide_id}", on_step=self._show_step, on_result=self._take)

    def show(self, shown: Shown | None) -> None:
        """Make a prediction the one that all views show; they ask `revealed` whether to."""
        before, self.shown = self.shown, shown
        if shown is not None and not self._scale_shown:  # once: whoever hides the scale bar means it
            self.viewer.canvas.overlays.scale_bar.visible = self._scale_shown = True
        if before is None or shown is None or _moment(before) != _moment(shown):
            self.revealed_at = time.monotonic()
        self.decide_revealed()
        self._note_seen()
        if shown is not None and shown.complete:
            self._keep(shown)
        self.shown_changed.emit()
        slide = None if shown is None else self._layer_of(shown)
        if slide is not None:
            raise_overlays(self.viewer.layers, slide)

    def find_tissue(self, layer: "Image", *, mpp: float | None = None, on_result: Any) -> bool:
        """Segment a slide's tissue in a thread and pass the mask, its um/px and the slide's id to `on_result`."""
        try:
            source = source_of(layer, mpp)
        except LrmilError as error:
            self.failed.emit(str(error))
            return False

        def segment() -> "Iterator[Step[tuple[Raster, float, str]]]":
            from lrmil.patches.tissue import segment_tissue
            from lrmil.slides.identity import unchanged
            from lrmil.slides.slide import open_slide

            with open_slide(source.path, mpp=source.mpp) as slide, unchanged(slide):
                found = segment_tissue(slide), slide.mpp, source.slide_id
            yield Step(("find tissue",), 1, 1, result=found)

        return self.run(segment, name=f"find tissue of {source.slide_id}", on_result=on_result)

    def edited_tissue(self, slide_id: str) -> Raster | None:
        """The tissue mask of a slide as the user changed it; None when there is none or it was not changed."""
        layer = self.tissue_layer(slide_id)
        return None if layer is None else tissue_of(layer.data, layer.metadata)

    def tissue_layer(self, slide_id: str) -> "Labels | None":
        """The layer of a slide's tissue mask."""
        return self._layer(f"tissue: {slide_id}")

    def slide_layer(self, slide_id: str) -> "Image | None":
        """The layer that shows a slide."""
        found = (one for one in self.viewer.layers if one.metadata.get(KEY, {}).get("dimensions"))
        return next((one for one in found if one.metadata[KEY]["slide_id"] == slide_id), None)

    def set_mpp(self, layer: "Image", mpp: float) -> None:
        """Give a slide's layer a resolution: it is shown in microns from now on.

        Raises
        ------
        ResolutionError
            If it is implausible, or makes the slide longer than any glass.
        """
        width, height = layer.metadata[KEY]["dimensions"]
        require_possible_size(resolve_mpp(mpp, []), height, width)
        keywords = space(mpp)
        layer.scale, layer.units = keywords["scale"], keywords["units"]
        layer.metadata[KEY] = {**layer.metadata.get(KEY, {}), "mpp": mpp, "mpp_source": "override", "mpp_problem": ""}
        tissue = self.tissue_layer(layer.metadata[KEY]["slide_id"])
        if tissue is not None:
            place = placed(Raster(tissue.data, np.array(tissue.metadata[KEY]["to_level0"])), mpp)
            tissue.scale, tissue.translate = place["scale"], place["translate"]

    def _drop_half_an_answer(self) -> None:
        if not self.busy and self.shown is not None and not self.shown.complete:
            self.show(None)  # its job was cancelled or failed

    def _take(self, shown: Shown) -> None:
        """Show what has been found of a slide if the user is on it; an answer waits with its slide otherwise."""
        chosen = self.chosen
        if self._layer_of(shown) is None:
            return  # it was closed meanwhile, or got another um/px
        if chosen is None or is_of(chosen, shown.source):
            self.show(shown)
        elif shown.complete:
            self._keep(shown)
            self.told.emit(f"{shown.source.slide_id} has been classified; choose it to see the answer.")

    def _keep(self, shown: Shown) -> None:
        for layer in slides_in(self.viewer.layers):
            if is_of(layer, shown.source):
                self._answers[layer] = shown

    def _layer_of(self, shown: Shown) -> "Image | None":
        return next((one for one in slides_in(self.viewer.layers) if is_of(one, shown.source)), None)

    def _is_of_the_model(self, shown: Shown) -> bool:
        return self.bundle is None or shown.prediction.bundle_sha256 == self.bundle.sha256

    def _has_record(self, shown: Shown) -> bool:
        from napari_lrmil.state.review_log import read_by

        return shown.prediction.slide_fingerprint in read_by(self.review_log, self.reviewer)

    def _note_seen(self) -> None:
        if self.shown is not None and self.revealed:
            self._seen.add(self.shown.prediction.slide_fingerprint)

    def _layer(self, name: str) -> Any:
        return next((layer for layer in self.viewer.layers if layer.name == name), None)

    def _loaded(self) -> "Bundle":
        if self.bundle is None:
            raise ConfigError("Expected a model. Got none; choose a model folder, such as RUN/model of a training.")
        return self.bundle

    def _show_step(self, step: "Step[Shown]") -> None:
        if step.result is not None and not step.result.complete:
            self._take(step.result)


def session_of(viewer: Any) -> Session:
    """The session of a viewer; napari hands each widget another proxy of the same viewer."""
    model = getattr(viewer, "__wrapped__", viewer)
    if model not in _SESSIONS:
        _SESSIONS[model] = Session(model)
    return _SESSIONS[model]


_SESSIONS: "WeakKeyDictionary[Any, Session]" = WeakKeyDictionary()


def _moment(shown: Shown) -> tuple[str, bool]:
    return shown.prediction.slide_fingerprint, shown.complete
