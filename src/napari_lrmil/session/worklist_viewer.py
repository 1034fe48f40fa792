"""Slides of the worklist in the viewer: one at a time, with the layers that belong to it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrmil.errors import LrmilError
from napari_lrmil.layers.build import KEY
from napari_lrmil.layers.slides import file_of, slides_in
from napari_lrmil.session.opened_slide import add_mask, edited_tissue, find_tissue_layer
from napari_lrmil.session.session import Session
from napari_lrmil.state.answers import answers_of
from napari_lrmil.state.worklist import Entry

if TYPE_CHECKING:
    from napari.layers import Layer
    from napari_lrmil.jobs.classify_list import Opened


def show_opened(session: Session, entry: Entry, opened: "Opened") -> None:
    """Replace the last slide of the list in the viewer by this one, and show its saved prediction.

    Parameters
    ----------
    session
        The session of the viewer.
    entry, opened
        The slide, and what `napari_lrmil.jobs.classify_list.open_entry` found.
    """
    viewer = session.viewer
    with session.following.held():
        _remove_last(session, entry)
        mask = find_tissue_layer(viewer.layers, entry.path)
        for data, keywords, kind in opened.layers:
            keywords["metadata"][KEY]["worklist"] = True
            if kind == "image":
                slide = viewer.add_image(data, **keywords)
            elif mask is None:
                add_mask(viewer, data, keywords)
        if mask is not None:
            viewer.layers.move(viewer.layers.index(mask), len(viewer.layers))  # back on top of its slide
    session.choose(slide)
    session.show(opened.shown)
    for layer in [layer for layer in viewer.layers if _follows_the_session(layer)]:
        viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))  # above the slide that has just been added


def current_slide(session: Session) -> Path | None:
    """Return the file of the slide that the user is on, None when there is none."""
    return None if session.chosen is None else file_of(session.chosen)


def opened_slides(session: Session) -> "list[Layer]":
    """Return the layers of slides opened from the list: one, unless saved layers have been loaded."""
    found = (layer for layer in session.viewer.layers if layer.metadata.get(KEY, {}).get("worklist"))
    return [layer for layer in found if layer.metadata[KEY].get("path")]


def _remove_last(session: Session, entry: Entry) -> None:
    """Remove the last slide and its layers; a painted mask that was not used yet is only hidden."""
    layers = session.viewer.layers
    gone = {Path(one.metadata[KEY]["path"]): one.metadata[KEY]["slide_id"] for one in opened_slides(session)}
    gone[entry.path] = entry.slide_id
    kept = {path for path, slide_id in gone.items() if _has_unused_mask(session, slide_id, path)}
    removed = {str(path) for path in gone if path not in kept}
    for layer in list(layers):
        belongs = layer.metadata.get(KEY, {}).get("slide_path") in removed
        if belongs or (layer in slides_in(layers) and file_of(layer) in gone):
            layers.remove(layer)


def _follows_the_session(layer: "Layer") -> bool:
    """Whether a layer is the overlay or the squares of the gallery, which follow the prediction that is shown."""
    return bool({"kind", "gallery"} & set(layer.metadata.get(KEY, {})))


def _has_unused_mask(session: Session, slide_id: str, path: Path) -> bool:
    from lrmil.prediction.files import read_tissue

    try:
        painted = edited_tissue(session.viewer.layers, path)
        if painted is None:
            return False
        answers = answers_of(session.preferences.results, slide_id, path).values()
        used = [mask for out in answers if (mask := read_tissue(out, slide_id)) is not None]
    except LrmilError:
        return True
    return not any(np.array_equal(mask.array, painted.mask.array) for mask in used)
