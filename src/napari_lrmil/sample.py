"""File > Open Sample: a synthetic slide, classified by a demonstration model that the package makes for itself."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QTimer

from lrmil.slide import open_slide
from lrmil.steps import Step
from napari_lrmil import places
from napari_lrmil.layers import LayerData, slide_layer
from napari_lrmil.session import Session, session_of

if TYPE_CHECKING:
    from pathlib import Path

    from lrmil.bundle import Bundle


def open_sample() -> list[LayerData]:
    """Give the synthetic slide; in the viewer, "Classify slide" opens and the slide is classified by itself.

    The slide (2 s) and the model (about 20 s on two cores) are made the first time and kept in the cache folder.
    """
    import napari

    from lrmil.demo_slide import demo_slide

    path = demo_slide(places.cache_folder())
    viewer = napari.current_viewer()
    if viewer is not None:
        QTimer.singleShot(0, lambda: _classify(viewer, path.name.split(".")[0]))
    return [slide_layer(open_slide(path))]


def _classify(viewer: Any, slide_id: str) -> None:
    viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    session = session_of(viewer)
    session.when_idle(lambda: make_demo_model(session, slide_id))


def make_demo_model(session: Session, slide_id: str) -> None:
    """Make or find the demonstration's model in a thread, load it, then classify the sample slide."""

    def steps() -> "Iterator[Step[tuple[Path, Bundle]]]":
        from lrmil.bundle import load_bundle
        from lrmil.demo import demo_model_steps

        folder: Path | None = None
        for step in demo_model_steps(places.cache_folder()):
            folder = step.result
            yield Step(step.job, step.done, step.total, step.unit)
        if folder is not None:
            yield Step("load model", 1, 1, result=(folder, load_bundle(folder)))

    def made(model: "tuple[Path, Bundle]") -> None:
        session.take_model(*model)
        layer = session.slide_layer(slide_id)
        if layer is not None:
            session.when_idle(lambda: session.classify(layer))

    session.run(steps, name="make the demonstration model", on_result=made)
