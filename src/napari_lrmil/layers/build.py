"""What napari draws: slides, attention, tissue and patches as layer data, made without a viewer.

napari puts the centre of pixel (0, 0) at the origin, the core counts from that pixel's corner. So the level-0 position
y lies at (y - 0.5) * mpp microns, and a raster begins half a cell later.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from lrmil.errors import ResolutionError
from lrmil.prediction.attention import percentile_rank
from lrmil.prediction.overlay import attention_rgba
from lrmil.raster import Raster
from lrmil.slides.pyramid import hatched
from lrmil.slides.resolution import REMEDY
from lrmil.slides.slide import Slide
from lrmil.slides.thumbnail import Thumbnail
from napari_lrmil.layers.averaged import with_averaged_levels

if TYPE_CHECKING:
    from lrmil.prediction.prediction import Prediction

LayerData = tuple[Any, dict[str, Any], str]
AttentionKind = Literal["percentile", "raw"]

KEY = "lrmil"  # of the plugin's part of a layer's metadata
KIND_NAMES: dict[AttentionKind, str] = {
    "percentile": "attention, percentile in slide",
    "raw": "attention, raw (sums to 1)",
}


class SlideFile(NamedTuple):
    """The file that a layer belongs to. Its name alone would not do: many folders have a slide "1.svs"."""

    slide_id: str
    path: Path
    fingerprint: str
    """Hash of the slide's samples."""


def slide_layer(slide: Slide) -> LayerData:
    """Return a slide as a lazy RGB pyramid in microns, or in pixels if its resolution is unknown.

    Parameters
    ----------
    slide
        An open slide, which the layer reads from as long as it is there.
    """
    levels = with_averaged_levels(slide.pyramid())
    about = {
        "path": str(slide.path),
        "slide_id": slide.slide_id,
        "fingerprint": slide.fingerprint,
        "mpp": slide.mpp if slide.has_mpp else None,
        "mpp_source": slide.mpp_source,
        "mpp_problem": _problem(slide),
        "reader": slide.reader_name,
        "dimensions": slide.dimensions,
        "notes": list(slide.notes),
    }
    keywords = {
        "name": slide.slide_id,
        "rgb": True,
        "multiscale": len(levels) > 1,
        "contrast_limits": (0, 255),
        "metadata": {KEY: about},
        **space(slide.mpp if slide.has_mpp else None),
    }
    return (levels if len(levels) > 1 else levels[0]), keywords, "image"


def attention_layer(prediction: "Prediction", *, kind: AttentionKind = "percentile", opacity: float = 0.6) -> LayerData:
    """Return a prediction's attention as an image over the slide; cells without a patch are transparent.

    Parameters
    ----------
    prediction
        The prediction.
    kind
        What is drawn: the percentile in the slide, or the attention itself.
    opacity
        0 to 1.
    """
    values, limits = attention_values(prediction, kind)
    about = {
        "slide_id": prediction.slide_id,
        "slide_fingerprint": prediction.slide_fingerprint,
        "bundle_sha256": prediction.bundle_sha256,
        "kind": KIND_NAMES[kind],
        "label": prediction.label,
        "probabilities": prediction.probabilities,
        "status": prediction.status,
        "notice": "Model output, not a diagnosis.",
    }
    keywords = {
        "name": KIND_NAMES[kind],
        "colormap": attention_colormap(),
        "blending": "translucent_no_depth",
        "opacity": opacity,
        "contrast_limits": limits,
        "interpolation2d": "nearest",
        "metadata": {KEY: about},
        **placed(prediction.attention, prediction.mpp),
    }
    return values, keywords, "image"


def attention_values(prediction: "Prediction", kind: AttentionKind) -> tuple[NDArray[np.float32], tuple[float, float]]:
    """Return the (rows, cols) values to draw, and the values at the two ends of the colour scale.

    Parameters
    ----------
    prediction, kind
        As in `attention_layer`.
    """
    if kind == "percentile":
        return np.asarray(percentile_rank(prediction.attention).array, np.float32), (0.0, 1.0)
    values = np.asarray(prediction.attention.array, np.float32)
    seen = values[~np.isnan(values)]
    return values, (0.0, float(seen.max()) if seen.size else 1.0)


def attention_colormap() -> Colormap:
    """Return the colours of the overlays, `attention_rgba`, as a colormap of napari."""
    return Colormap(attention_rgba(np.linspace(0, 1, 256)), name="attention")


def tissue_layer(tissue: Raster, mpp: float, *, of: SlideFile) -> LayerData:
    """Return a tissue mask as labels that can be painted: 1 is tissue, 0 is not.

    Parameters
    ----------
    tissue
        (rows, cols) bool.
    mpp
        um/px of level 0.
    of
        The slide.
    """
    about = {
        "slide_id": of.slide_id,
        "slide_path": str(of.path),
        "slide_fingerprint": of.fingerprint,
        "to_level0": tissue.to_level0.tolist(),
        "sha256": tissue.sha256,
    }
    keywords = {
        "name": f"tissue: {of.slide_id}",
        "opacity": 0.35,
        "metadata": {KEY: about},
        **placed(tissue, mpp),
    }
    return tissue.array.astype(np.uint8), keywords, "labels"


def tissue_of(values: NDArray[np.integer], metadata: dict[str, Any]) -> Raster | None:
    """Return the mask in a layer's data; None when it is the automatic one, unchanged.

    Parameters
    ----------
    values
        (rows, cols), above 0 where there is tissue.
    metadata
        The layer's metadata.
    """
    mask = Raster(np.asarray(values) > 0, np.array(metadata[KEY]["to_level0"]))
    return None if mask.sha256 == metadata[KEY]["sha256"] else mask


def patches_layer(
    prediction: "Prediction", positions: Sequence[int], *, name: str, color: str, edge_um: float
) -> LayerData:
    """Return patches as numbered squares.

    Parameters
    ----------
    prediction
        The prediction.
    positions
        (n,) indices into `prediction.patches`, in the order of the numbers.
    name, color
        Of the layer, and of its lines.
    edge_um
        Width of the lines in microns.
    """
    chosen = np.asarray(positions, np.int64)
    corners = (prediction.patches.level0_yx[chosen] - 0.5) * prediction.mpp
    side = prediction.patches.size_level0 * prediction.mpp
    square = np.array([[0, 0], [0, side], [side, side], [side, 0]])
    keywords = {
        "name": name,
        "shape_type": "rectangle",
        "face_color": "transparent",
        "edge_color": color,
        "edge_width": edge_um,
        "features": {"rank": np.arange(1, len(chosen) + 1), "attention": prediction.patch_attention[chosen]},
        "text": {"string": "{rank}", "color": color, "size": 11, "anchor": "upper_left"},
        "metadata": {KEY: {"slide_id": prediction.slide_id}},
        "units": ("um", "um"),
        "axis_labels": ("y", "x"),
    }
    return [square + corner for corner in corners], keywords, "shapes"


def drawn(thumbnail: Thumbnail) -> NDArray[np.uint8]:
    """Return the (h, w, 3) pixels of a thumbnail; unreadable ones are hatched, since white would pass for glass."""
    stripes = hatched(0, 0, *thumbnail.failed.shape)
    return np.where(thumbnail.failed[..., None], stripes, thumbnail.array)


def space(mpp: float | None) -> dict[str, Any]:
    """Return scale and units of an image of level-0 pixels, in pixels if `mpp`, its um/px, is unknown."""
    known = {"scale": (mpp, mpp), "units": ("um", "um")} if mpp is not None else {}
    return {"axis_labels": ("y", "x"), **known}


def placed(raster: Raster, mpp: float) -> dict[str, Any]:
    """Return scale, shift and units of an image whose pixels are the cells of a raster.

    Parameters
    ----------
    raster
        (rows, cols) cells.
    mpp
        um/px of level 0.
    """
    return {
        "scale": tuple(side * mpp for side in raster.cell_yx),
        "translate": tuple(
            (corner + side / 2 - 0.5) * mpp for corner, side in zip(raster.origin_yx, raster.cell_yx, strict=True)
        ),
        "units": ("um", "um"),
        "axis_labels": ("y", "x"),
    }


def _problem(slide: Slide) -> str:
    """Return why a slide's um/px cannot be used, without the remedy, since the window has its own; "" if they can."""
    try:
        _ = slide.mpp
    except ResolutionError as error:
        return str(error).removesuffix(f" {REMEDY}")
    return ""
