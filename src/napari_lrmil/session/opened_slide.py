"""The layers of one slide that is open in a viewer: its picture, its tissue mask and its resolution."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from lrmil.errors import TissueError
from lrmil.raster import Raster
from lrmil.slides.resolution import require_possible_size, resolve_mpp
from lrmil.slides.source import SlideSource
from lrmil.steps import Step
from napari_lrmil.layers.build import KEY, SlideFile, placed, space, tissue_layer, tissue_of
from napari_lrmil.layers.drawn_regions import drawn_on
from napari_lrmil.layers.slides import file_of
from napari_lrmil.state.painted_mask import PaintedMask

if TYPE_CHECKING:
    from napari.components import LayerList, ViewerModel
    from numpy.typing import NDArray

    from napari.layers import Image, Labels

OUTLINE = "#00c8ff"  # of masks: seen on stained tissue, on glass and on the attention


class FoundTissue(NamedTuple):
    """A tissue mask, ready to become a layer."""

    tissue: Raster
    mpp: float
    """um/px of level 0."""
    of: SlideFile


def masks_of(layers: "LayerList", path: Path | None) -> "list[Labels]":
    """Return the layers of tissue masks of a slide file, whatever their names."""
    masks = (layer for layer in layers if "to_level0" in layer.metadata.get(KEY, {}))
    return [layer for layer in masks if layer.metadata[KEY]["slide_path"] == str(path)]


def add_mask(viewer: "ViewerModel", data: "NDArray[np.uint8]", keywords: dict[str, Any]) -> "Labels":
    """Add a tissue mask as a layer that shows its outline: the tissue, and the attention, stay to be seen.

    Parameters
    ----------
    viewer
        The viewer.
    data, keywords
        As `napari_lrmil.layers.build.tissue_layer` returns them.
    """
    from napari.utils.colormaps import DirectLabelColormap

    colors = DirectLabelColormap(color_dict={None: OUTLINE, 0: "transparent"})  # whatever is painted is tissue
    mask = viewer.add_labels(data, **{**keywords, "colormap": colors, "opacity": 1.0})
    mask.contour = 1
    return mask


def hide_masks(viewer: "ViewerModel", slide: "Image") -> None:
    """Hide the masks of a slide, and take the brush from them."""
    for mask in masks_of(viewer.layers, file_of(slide)):
        mask.visible = False
        if viewer.layers.selection.active is mask:
            viewer.layers.selection.active = slide


def find_tissue_layer(layers: "LayerList", path: Path) -> "Labels | None":
    """Return the layer of a slide file's tissue mask, the upper one of several."""
    return next(reversed(masks_of(layers, path)), None)


def edited_tissue(layers: "LayerList", path: Path) -> PaintedMask | None:
    """Return the tissue mask of a slide file as the user changed it; None without a mask, or with an unchanged one.

    Raises
    ------
    TissueError
        If the slide has several masks.
    """
    masks = masks_of(layers, path)
    if len(masks) > 1:
        names = ", ".join(repr(layer.name) for layer in masks)
        raise TissueError(
            f"{path.name} has {len(masks)} tissue masks: {names}. Remove the layers that should not count."
        )
    painted = tissue_of(masks[0].data, masks[0].metadata) if masks else None
    return None if painted is None else PaintedMask(painted, masks[0].metadata[KEY]["slide_fingerprint"])


def painted_sha256(layers: "LayerList", path: Path) -> str:
    """Return the hash of the mask that counts for a slide file, "" where that is the automatic one.

    Raises
    ------
    TissueError
        If the slide has several masks.
    """
    painted = edited_tissue(layers, path)
    return "" if painted is None else painted.mask.sha256


def is_painted(mask: "Labels") -> bool:
    """Return whether the user changed a mask."""
    return tissue_of(mask.data, mask.metadata) is not None


def put_tissue(viewer: "ViewerModel", found: FoundTissue) -> bool:
    """Show a mask that was found as a layer, in the slide's own one if there is one.

    Parameters
    ----------
    viewer
        The viewer.
    found
        The mask.

    Returns
    -------
    bool
        Whether that replaced a painted mask, which the layer's undo brings back.
    """
    data, keywords, _ = tissue_layer(found.tissue, found.mpp, of=found.of)
    old = find_tissue_layer(viewer.layers, found.of.path)
    if old is None or old.data.shape != data.shape:
        add_mask(viewer, data, keywords)
        if old is not None:  # of another resolution: kept, but it is the slide's mask no more
            old.visible, old.metadata = False, {}
        return False
    painted, changed = is_painted(old), np.nonzero(old.data != data)
    old.visible, old.metadata = True, keywords["metadata"]
    if changed[0].size:
        old.data_setitem(changed, data[changed])  # unlike new data, it can be undone
    viewer.layers.selection.active = old
    return painted


def set_mpp(layers: "LayerList", layer: "Image", mpp: float) -> None:
    """Give a slide's layer, its tissue mask and its regions a resolution: they are shown in microns from now on.

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
    place, before = space(mpp), layer.scale
    for shapes in drawn_on(layers, layer):
        factor = np.array(place["scale"]) / before
        shapes.scale, shapes.translate, shapes.units = shapes.scale * factor, shapes.translate * factor, place["units"]
    layer.scale, layer.units = place["scale"], place["units"]
    layer.metadata[KEY] = {**about, "mpp": mpp, "mpp_source": "override", "mpp_problem": ""}
    for tissue in masks_of(layers, Path(about["path"])):
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
        of = SlideFile(source.slide_id, source.path, slide.fingerprint)
        found = FoundTissue(segment_tissue(slide), slide.mpp, of)
    yield Step(("find tissue",), 1, 1, result=found)
