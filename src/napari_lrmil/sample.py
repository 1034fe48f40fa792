"""File > Open Sample: a synthetic slide, classified by a demonstration model that is made on the spot."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from lrmil.demo.slide import demo_slide
from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, last
from napari_lrmil.layers.build import LayerData, slide_layer
from napari_lrmil.layers.slides import find_slide
from napari_lrmil.session.docks import open_dock
from napari_lrmil.session.session import Session
from napari_lrmil.session.viewers import session_of
from napari_lrmil.state import folders

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle

PAUSE, EXPECTED = 0.2, 30  # seconds
# More threads make this small training slower while the viewer draws: they wait for each other.
ONE_THREAD = {"OMP_NUM_THREADS": "1"}


def open_sample() -> list[LayerData]:
    """Return the synthetic slide; in a viewer also open "Classify slide" and classify it.

    The slide (2 s) and the model (half a minute on idle cores) are made the first time and kept in the cache folder.

    Returns
    -------
    list of LayerData
        One image layer.
    """
    import napari

    path = demo_slide(folders.cache_folder())
    viewer = napari.current_viewer()
    if viewer is not None:
        QTimer.singleShot(0, lambda: _classify(viewer, SlideSource(path.name.split(".")[0], path)))
    return [slide_layer(open_slide(path))]


def _classify(viewer: Any, sample: SlideSource) -> None:
    open_dock(viewer, "Classify slide")
    session = session_of(viewer)
    session.jobs.when_idle(lambda: make_demo_model(session, sample))


def make_demo_model(session: Session, sample: SlideSource) -> None:
    """Make the demonstration model in a thread unless it exists, load it, then classify the sample slide.

    Parameters
    ----------
    session
        Session of the viewer.
    sample
        The sample slide.
    """

    def steps() -> "Iterator[Step[tuple[Path, Bundle]]]":
        folder = folders.cache_folder()
        yield from made_by_a_process(["demo", "--small", "--out", str(folder)], folder / "demo.log", EXPECTED)
        from lrmil.demo.model import demo_model_steps
        from lrmil.models.bundle import load_bundle

        model = last(demo_model_steps(folder))
        yield Step(("load model",), 1, 1, result=(model, load_bundle(model)))

    def made(model: "tuple[Path, Bundle]") -> None:
        session.offer_model(*model, then=classify)

    def classify() -> None:
        layer = find_slide(session.viewer.layers, sample)
        if layer is not None:
            session.classify(layer)

    session.jobs.run(steps, name="make the demonstration model", on_result=made)


def made_by_a_process(arguments: list[str], log: Path, expected: int) -> Iterator[Step[Any]]:
    """Run `lrmil` in a process, so that training does not slow the window; quick if everything is there.

    Parameters
    ----------
    arguments
        Of the command.
    log
        File for what it prints.
    expected
        Seconds that it takes.

    Raises
    ------
    SlideError
        If it fails; the message ends with its last line.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "lrmil", *arguments],
            env={**os.environ, **ONE_THREAD},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        while process.poll() is None:
            time.sleep(PAUSE)
            yield Step(("make the model",), min(expected, round(time.monotonic() - start)), expected, "s, about")
    finally:
        process.terminate()
        process.wait()
    if process.returncode:
        words = log.read_text(encoding="utf-8", errors="replace").strip().rpartition("\n")[2]
        raise SlideError(f"Cannot make the sample: {words}. Free disk space, then try again.")
