"""Slides of the worklist in the viewer: one at a time, with the layers that belong to it."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from lrmil.errors import LrmilError
from napari_lrmil.layers.build import KEY
from napari_lrmil.session.opened_slide import edited_tissue, find_tissue_layer
from napari_lrmil.session.session import Session
from napari_lrmil.state.shown import case_folder
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
    _remove_last(session, entry)
    viewer, mask = session.viewer, find_tissue_layer(session.viewer.layers, entry.slide_id)
    for data, keywords, kind in opened.layers:
        keywords["metadata"][KEY]["worklist"] = True
        if kind == "image":
            viewer.add_image(data, **keywords)
        elif mask is None:
            viewer.add_labels(data, **keywords)
    if mask is not None:
        viewer.layers.move(viewer.layers.index(mask), len(viewer.layers))  # back on top of its slide
    session.show(opened.shown)
    for layer in [layer for layer in viewer.layers if _follows_the_session(layer)]:
        viewer.layers.move(viewer.layers.index(layer), len(viewer.layers))  # above the slide that has just been added
    viewer.reset_view()


def current_slide(session: Session) -> Path | None:
    """Return the file of the slide that the user is on, None when there is none."""
    if session.shown is not None:
        return session.shown.source.path
    opened = opened_slides(session)
    return Path(opened[0].metadata[KEY]["path"]) if opened else None


def opened_slides(session: Session) -> "list[Layer]":
    """Return the layers of slides opened from the list: one, unless saved layers have been loaded."""
    found = (layer for layer in session.viewer.layers if layer.metadata.get(KEY, {}).get("worklist"))
    return [layer for layer in found if layer.metadata[KEY].get("path")]


def _remove_last(session: Session, entry: Entry) -> None:
    """Remove the last slide and its layers; a painted mask that was not used yet is only hidden."""
    layers = session.viewer.layers
    gone = {one.metadata[KEY]["slide_id"]: Path(one.metadata[KEY]["path"]) for one in opened_slides(session)}
    gone[entry.slide_id] = entry.path
    kept = {slide_id for slide_id, path in gone.items() if _has_unused_mask(session, slide_id, path)}
    for layer in list(layers):
        slide_id = layer.metadata.get(KEY, {}).get("slide_id")
        if slide_id in kept and "to_level0" in layer.metadata.get(KEY, {}):
            layer.visible = slide_id == entry.slide_id
        elif slide_id in gone and not _follows_the_session(layer):
            layers.remove(layer)


def _follows_the_session(layer: "Layer") -> bool:
    """Whether a layer is the overlay or the squares of the gallery, which follow the prediction that is shown."""
    return bool({"kind", "gallery"} & set(layer.metadata.get(KEY, {})))


def _has_unused_mask(session: Session, slide_id: str, path: Path) -> bool:
    from lrmil.prediction.files import read_tissue

    mask = edited_tissue(session.viewer.layers, slide_id)
    if mask is None:
        return False
    try:
        used = read_tissue(case_folder(session.preferences.results, slide_id, path), slide_id)
    except LrmilError:
        return True
    return used is None or not np.array_equal(used.array, mask.array)
