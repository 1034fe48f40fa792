"""The model that a session uses: loaded in a thread, and remembered for the next start."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from psygnal import Signal

from lrmil.steps import Step
from napari_lrmil.jobs.jobs import Jobs
from napari_lrmil.state import folders
from napari_lrmil.state.known_models import MODEL_FILE, note_model
from napari_lrmil.state.messages import explain
from napari_lrmil.state.preferences import Preferences

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle


AskAboutModel = Callable[[Path, Callable[[], None], Callable[[], None]], None]


class EarlierModel(NamedTuple):
    """A model that was in use before, kept as it was: its folder may hold another one by now."""

    folder: Path
    bundle: "Bundle"


class ModelInUse(ABC):
    """The part of a `Session` that is about its model; attributes and signals are described there."""

    model_changed = Signal()
    model_refused = Signal()

    def __init__(self) -> None:
        self.jobs = Jobs()
        self.bundle: Bundle | None = None
        self.model_folder: Path | None = None
        self.earlier: EarlierModel | None = None
        self.ask_about_model: AskAboutModel = lambda _folder, yes, _no: yes()
        self.asks_about_models = True

    @property
    def hash_in_use(self) -> str:
        """Hash of the model in use, "" without one."""
        return "" if self.bundle is None else self.bundle.sha256

    @property
    @abstractmethod
    def has_answers(self) -> bool:
        """Whether answers of the model in use are on the screen."""

    @property
    @abstractmethod
    def preferences(self) -> Preferences:
        """What is chosen in napari's preferences now."""

    @abstractmethod
    def _model_replaced(self) -> None:
        """Show what the model in use said of the slide."""

    def recall_model(self) -> None:
        """Load the model of the preferences, or else of the last time, unless there is one or a job runs."""
        folder = self.preferences.model_folder or folders.recall("model_folder")
        if self.bundle is None and not self.jobs.busy and folder and Path(folder).is_dir():
            self.load_model(Path(folder))

    def load_model(self, folder: Path, *, then: Callable[[], object] | None = None) -> bool:
        """Load a model folder in a thread; `model_changed` or `model_refused` follows.

        The user is asked before it replaces another model whose answers are on the screen.

        Parameters
        ----------
        folder
            The model folder, or that of the run which trained it.
        then
            Called when it has been loaded and the job has ended.

        Returns
        -------
        bool
            False when another job runs, which `jobs.failed` says.
        """
        inside = folder / "model"
        if not (folder / MODEL_FILE).exists() and (inside / MODEL_FILE).exists():
            folder = inside

        def load() -> "Iterator[Step[Bundle]]":
            from lrmil.models.bundle import load_bundle

            yield Step(("load model",), 1, 1, result=load_bundle(folder))

        def refuse(error: Exception) -> None:
            self.jobs.failed.emit(explain(error))
            self.model_refused.emit()

        def take(bundle: "Bundle") -> None:
            self.offer_model(folder, bundle, then=then)

        return self.jobs.run(load, name="load model", on_result=take, on_error=refuse)

    def offer_model(self, folder: Path, bundle: "Bundle", *, then: Callable[[], object] | None = None) -> None:
        """Take a loaded model unless the user keeps the present one; parameters as in `load_model`."""

        def take() -> None:
            self.take_model(folder, bundle)
            if then is not None:
                self.jobs.when_idle(then)

        replaces = self.bundle is not None and self.bundle.sha256 != bundle.sha256
        if replaces and self.has_answers and self.asks_about_models:
            self.ask_about_model(folder, take, self.model_refused.emit)
        else:
            take()

    def take_model(self, folder: Path, bundle: "Bundle") -> None:
        """Make a loaded model the session's, and keep the one before it for `go_back`."""
        if self.bundle is not None and self.model_folder is not None and self.bundle.sha256 != bundle.sha256:
            self.earlier = EarlierModel(self.model_folder, self.bundle)
        self.bundle, self.model_folder = bundle, folder
        folders.remember("model_folder", str(folder))
        self._model_replaced()
        self.model_changed.emit()

    def note_model(self) -> None:
        """Record the model in use in the results folder: it is about to answer."""
        if self.bundle is not None:
            note_model(self.preferences.results, self.bundle.sha256, self.model_folder)

    def go_back(self) -> None:
        """Use the earlier model again, with its answers; the present one becomes the earlier one."""
        if self.earlier is not None and not self.jobs.busy:
            self.take_model(*self.earlier)
