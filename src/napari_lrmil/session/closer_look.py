"""Let the teacher of the model in use look closer at the slide that is shown."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.errors import ConfigError, LrmilError
from lrmil.steps import Step
from napari_lrmil.layers.slides import source_of
from napari_lrmil.session.opened_slide import edited_tissue
from napari_lrmil.state.shown import ShownPrediction, shown_steps

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle
    from napari.layers import Image
    from napari_lrmil.session.session import Session


def what_a_closer_look_reads(session: "Session") -> str:
    """Return what the teacher would read of the slide that is shown, in words; "" if it cannot look closer.

    Parameters
    ----------
    session
        Its model and the prediction that it shows.
    """
    shown, bundle = session.shown, session.bundle
    if shown is None or bundle is None or bundle.teacher is None or not session.revealed or not shown.complete:
        return ""
    from lrmil.prediction.closer_look import why_not_closer

    if shown.prediction.bundle_sha256 != bundle.sha256 or why_not_closer(bundle, shown.prediction):
        return ""
    regions = min(bundle.teacher.regions, len(shown.prediction.patches))
    most = round(regions * (bundle.mpp / bundle.teacher.mpp) ** 2)
    several = "region" if regions == 1 else f"{regions} regions"
    return f"{several} with most attention, up to {most} patches at {bundle.teacher.mpp:g} um/px"


def look_closer(session: "Session", layer: "Image", *, device: str = "auto", mpp: float | None = None) -> bool:
    """Ask the teacher about the slide of a layer in a thread; the answer of the student stays until it answers.

    Parameters
    ----------
    session
        With a model that keeps its teacher, and its answer for the slide.
    layer, device, mpp
        As in `Session.classify`.

    Returns
    -------
    bool
        False when it could not be started, which `Jobs.failed` says.
    """
    folder, bundle = session.model_folder, session.bundle
    try:
        if folder is None or bundle is None:
            raise ConfigError("No model is loaded. Choose a model folder, such as RUN/model of a training.")
        source = source_of(layer, mpp)
        painted = edited_tissue(session.viewer.layers, source.path)
    except LrmilError as error:
        session.jobs.failed.emit(str(error))
        return False
    drawn = None if session.shown is None else session.shown.drawn  # of the answer that it settles
    results, below = session.preferences.results, session.preferences.uncertain_below
    session.note_model()

    def steps() -> Iterator[Step[ShownPrediction]]:
        whole = _with_teacher(folder, bundle.sha256)
        yield from shown_steps(source, whole, results, device, painted, below, drawn=drawn, escalate=True)

    return session.jobs.run(steps, name=f"look closer at {source.slide_id}", on_result=session.take)


def _with_teacher(folder: Path, sha256: str) -> "Bundle":
    """Load a model again, with its teacher."""
    from lrmil.models.bundle import load_bundle

    found = load_bundle(folder, teacher=True)
    if found.sha256 != sha256:
        raise ConfigError(f"The model in {folder.name} was replaced since it was loaded. Load it again.")
    return found
