"""The layers of one slide that is open in a viewer: its picture, its tissue mask and its resolution."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from lrmil.raster import Raster
from lrmil.slides.resolution import require_possible_size, resolve_mpp
from lrmil.slides.source import SlideSource
from lrmil.steps import Step
from napari_lrmil.layers.build import KEY, placed, space, tissue_of

if TYPE_CHECKING:
    from napari.components import LayerList

    from napari.layers import Image, Labels


class FoundTissue(NamedTuple):
    """A tissue mask, ready to become a layer."""

    tissue: Raster
    mpp: float
    """um/px of level 0."""
    slide_id: str


def find_slide_layer(layers: "LayerList", slide_id: str) -> "Image | None":
    """Return the layer that shows a slide."""
    slides = (layer for layer in layers if layer.metadata.get(KEY, {}).get("dimensions"))
    return next((layer for layer in slides if layer.metadata[KEY]["slide_id"] == slide_id), None)


def find_tissue_layer(layers: "LayerList", slide_id: str) -> "Labels | None":
    """Return the layer of a slide's tissue mask, also if the user renamed it."""
    masks = (layer for layer in layers if "to_level0" in layer.metadata.get(KEY, {}))
    return next((layer for layer in masks if layer.metadata[KEY]["slide_id"] == slide_id), None)


def edited_tissue(layers: "LayerList", slide_id: str) -> Raster | None:
    """Return the tissue mask of a slide as the user changed it; None without a mask, or with an unchanged one."""
    layer = find_tissue_layer(layers, slide_id)
    return None if layer is None else tissue_of(layer.data, layer.metadata)


def set_mpp(layers: "LayerList", layer: "Image", mpp: float) -> None:
    """Give a slide's layer, and its tissue mask, a resolution: they are shown in microns from now on.

    Parameters
    ----------
    layers
        All layers of the viewer.
    layer
        The slide.
    mpp
        um/px of level 0.

    Raises
    ------
    ResolutionError
        If it is implausible, or makes the slide longer than any glass.
    """
    about = layer.metadata[KEY]
    width, height = about["dimensions"]
    require_possible_size(resolve_mpp(mpp, []), height, width)
    place = space(mpp)
    layer.scale, layer.units = place["scale"], place["units"]
    layer.metadata[KEY] = {**about, "mpp": mpp, "mpp_source": "override", "mpp_problem": ""}
    tissue = find_tissue_layer(layers, about["slide_id"])
    if tissue is not None:
        place = placed(Raster(tissue.data, np.array(tissue.metadata[KEY]["to_level0"])), mpp)
        tissue.scale, tissue.translate = place["scale"], place["translate"]


def tissue_steps(source: SlideSource) -> Iterator[Step[FoundTissue]]:
    """Segment the tissue of a slide.

    Yields
    ------
    Step
        One, with the mask.

    Raises
    ------
    SlideError
        If the slide cannot be read, or is changed meanwhile.
    """
    from lrmil.patches.tissue import segment_tissue
    from lrmil.slides.identity import unchanged
    from lrmil.slides.opening import open_slide

    with open_slide(source.path, mpp=source.mpp) as slide, unchanged(slide):
        found = FoundTissue(segment_tissue(slide), slide.mpp, source.slide_id)
    yield Step(("find tissue",), 1, 1, result=found)
