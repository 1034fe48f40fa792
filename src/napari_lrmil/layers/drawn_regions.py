"""Regions of a slide as a Shapes layer: those that were drawn, and those of a GeoJSON file."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import TissueError
from lrmil.patches.drawn_regions import Regions
from napari_lrmil.layers.build import KEY, LayerData
from napari_lrmil.layers.slides import belongs_to, file_of

if TYPE_CHECKING:
    from napari.components import LayerList

    from napari.layers import Image, Layer, Shapes

WITH_AREA = ("polygon", "rectangle", "ellipse")
CORNERS = 128  # of the polygon that stands for an ellipse
EDGE = 500  # edges of imported regions have this part of the slide's longer side
LEFT_OUT = "left out"  # feature of a shape: whether it is excluded
COLOURS = {False: "#00a000", True: "#d03030"}  # of the outlines of regions, and of those left out


def drawn_in(layers: "LayerList") -> "list[Shapes]":
    """Return the layers of shapes that a person drew or imported; the squares of the gallery are none."""
    from napari.layers import Shapes

    return [one for one in layers if isinstance(one, Shapes) and "gallery" not in one.metadata.get(KEY, {})]


def drawn_on(layers: "LayerList", slide: "Image") -> "list[Shapes]":
    """Return those of them that belong to a slide."""
    return [one for one in drawn_in(layers) if one.metadata.get(KEY) and belongs_to(one, slide)]


def claim(shapes: "Shapes", slide: "Image") -> None:
    """Let a layer belong to the file of a slide, with its present content, from now on."""
    about = slide.metadata.get(KEY, {})
    shapes.metadata[KEY] = {"slide_path": str(file_of(slide)), "slide_fingerprint": about.get("fingerprint", "")}


def regions_of(shapes: "Shapes", slide: "Image", *, inside: bool) -> Regions:
    """Return the shapes with an area as regions of a slide.

    Parameters
    ----------
    shapes
        The layer, wherever and in whatever unit of length it lies.
    slide
        The layer of the slide.
    inside
        Whether the inside of the shapes counts, or the rest of the slide.

    Raises
    ------
    TissueError
        If no shape has an area, or one lies beside the slide.
    """
    flags = shapes.features.get(LEFT_OUT, [False] * len(shapes.data))
    kept: list[NDArray[np.float64]] = []
    left_out: list[NDArray[np.float64]] = []
    for outline, flag in zip(_outlines(shapes), flags, strict=True):
        if outline is None:
            continue
        corners = to_level0(outline, shapes, slide)
        _require_on_slide(corners, slide, shapes.name)
        (left_out if flag == 1 or not inside else kept).append(corners)
    if not kept and not left_out:
        raise TissueError(
            f"Expected polygons, rectangles or ellipses in the layer {shapes.name!r}. Got "
            f"{'lines only' if len(shapes.data) else 'none'}; draw some, or choose 'whole slide'."
        )
    return Regions.of(kept, without=left_out)


def to_level0(vertices: NDArray[np.float64], layer: "Layer", slide: "Layer") -> NDArray[np.float64]:
    """Return the (n, 2) level-0 y, x of the (n, d) vertices of a layer, by the transforms of it and of the slide."""
    world = _mapped(layer.data_to_world, vertices)
    pairs = zip(layer.units[-2:], slide.units[-2:], strict=True)
    factors = [float((1 * ours).to(its).magnitude) if ours.is_compatible_with(its) else 1.0 for ours, its in pairs]
    return _mapped(slide.world_to_data, world * factors) + 0.5  # napari counts from the centre of a pixel


def regions_layer(regions: Regions, slide: "Image", *, name: str) -> LayerData:
    """Return regions as a layer on a slide, to be seen and edited.

    Parameters
    ----------
    regions
        The regions; a hole is joined to its outline by an edge without width.
    slide
        The layer of the slide.
    name
        Of the layer.
    """
    left_out = [area.left_out for area in regions.areas]
    keywords = {
        "name": name,
        "shape_type": "polygon",
        "face_color": "transparent",
        "edge_color": [COLOURS[flag] for flag in left_out],
        "edge_width": max(_size(slide)) / EDGE,
        "features": {LEFT_OUT: left_out},
        "feature_defaults": {LEFT_OUT: False},
        "scale": slide.scale,
        "translate": slide.translate,
        "units": slide.units,
        "axis_labels": slide.axis_labels,
    }
    return [_keyhole(area.rings) - 0.5 for area in regions.areas], keywords, "shapes"


def _outlines(shapes: "Shapes") -> "Iterator[NDArray[np.float64] | None]":
    """Yield the (n, d) corners of each shape, None for one without an area."""
    for kind, data in zip(shapes.shape_type, shapes.data, strict=True):
        corners = np.asarray(data, float)
        if kind == "ellipse":
            middle, angle = corners.mean(0), np.linspace(0, 2 * np.pi, CORNERS, endpoint=False)[:, None]
            axes = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
            yield middle + axes[0] * np.cos(angle) + axes[1] * np.sin(angle)
        else:
            yield corners if kind in WITH_AREA and len(corners) >= 3 else None


def _mapped(to: Callable[[NDArray[np.float64]], object], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the last two coordinates of (n, d) points under an affine map of one point: a lasso has thousands."""
    basis = np.eye(points.shape[1])
    origin = np.asarray(to(np.zeros(len(basis))), float)
    steps = np.array([np.asarray(to(axis), float) - origin for axis in basis])
    return np.asarray((origin + points @ steps)[:, -2:])


def _require_on_slide(corners: NDArray[np.float64], slide: "Image", name: str) -> None:
    if (corners.max(0) <= 0).any() or (corners.min(0) >= _size(slide)).any():
        raise TissueError(
            f"A shape of the layer {name!r} lies beside {slide.name}. Delete it, or choose the layer of this slide."
        )


def _size(slide: "Image") -> tuple[int, int]:
    height, width = (slide.level_shapes[0] if slide.multiscale else slide.data.shape)[:2]
    return int(height), int(width)


def _keyhole(rings: tuple[NDArray[np.float64], ...]) -> NDArray[np.float64]:
    """Return one ring that has the inside of an outline with holes, by the even-odd rule."""
    start, parts = rings[0][:1], [rings[0]]
    for ring in rings[1:]:
        parts += [start, ring, ring[:1], start]
    return np.concatenate(parts)
