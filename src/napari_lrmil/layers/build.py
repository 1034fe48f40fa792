"""What napari draws: slides, attention, tissue and patches as layer data, made without a viewer.

napari puts the centre of pixel (0, 0) at the origin, the core counts from that pixel's corner. So the level-0 place y
lies at (y - 0.5) * mpp microns, and a raster begins half a cell later.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from napari.utils.colormaps import Colormap
from numpy.typing import NDArray

from lrmil.errors import ResolutionError, SlideError
from lrmil.prediction.attention import percentile_rank
from lrmil.prediction.overlay import attention_rgba
from lrmil.raster import Raster
from lrmil.slides.pyramid import hatched
from lrmil.slides.resolution import REMEDY
from lrmil.slides.slide import Slide, Thumbnail

if TYPE_CHECKING:
    from lrmil.prediction.prediction import Prediction

LayerData = tuple[Any, dict[str, Any], str]
AttentionKind = Literal["percentile", "raw"]

COARSE = 2048  # px; a slide without a level as small as this gets one, so that the whole view is quick to draw
LARGEST_FLAT = 500_000_000  # px of a level that must be read whole to make the coarse one: some seconds
KEY = "lrmil"  # under which a layer's metadata hold what the plugin knows of it
KIND_NAMES: dict[AttentionKind, str] = {
    "percentile": "attention, percentile in slide",
    "raw": "attention, raw (sums to 1)",
}


def slide_layer(slide: Slide) -> LayerData:
    """Give a slide as a lazy RGB pyramid in microns, or in pixels where its resolution is unknown.

    Raises
    ------
    SlideError
        If the slide is large and has no coarse level: drawing it whole would read it whole.
    """
    levels: list[Any] = list(slide.pyramid())
    height, width = levels[-1].shape[:2]
    if max(height, width) > 2 * COARSE:
        levels.append(_coarse_level(slide, height * width))
    about = {
        "path": str(slide.path),
        "slide_id": slide.slide_id,
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
    """Give a prediction's attention as an image over the slide; cells without a patch are transparent."""
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
    """(rows, cols) values to draw, and the values at the two ends of the colour scale."""
    if kind == "percentile":
        return np.asarray(percentile_rank(prediction.attention).array, np.float32), (0.0, 1.0)
    values = np.asarray(prediction.attention.array, np.float32)
    seen = values[~np.isnan(values)]
    return values, (0.0, float(seen.max()) if seen.size else 1.0)


def attention_colormap() -> Colormap:
    """Return the colours of the overlays, `attention_rgba`, for napari."""
    return Colormap(attention_rgba(np.linspace(0, 1, 256)), name="attention")


def tissue_layer(tissue: Raster, mpp: float, *, slide_id: str) -> LayerData:
    """Give a tissue mask as labels that can be painted: 1 is tissue, 0 is not."""
    keywords = {
        "name": f"tissue: {slide_id}",
        "opacity": 0.35,
        "metadata": {KEY: {"slide_id": slide_id, "to_level0": tissue.to_level0.tolist(), "sha256": tissue.sha256}},
        **placed(tissue, mpp),
    }
    return tissue.array.astype(np.uint8), keywords, "labels"


def tissue_of(values: NDArray[np.integer], metadata: dict[str, Any]) -> Raster | None:
    """Take an edited mask from a layer's data; None when it is the one that was found automatically."""
    mask = Raster(np.asarray(values) > 0, np.array(metadata[KEY]["to_level0"]))
    return None if mask.sha256 == metadata[KEY]["sha256"] else mask


def patches_layer(prediction: "Prediction", positions: Sequence[int], *, name: str, color: str) -> LayerData:
    """Give patches as numbered squares: `positions` in `prediction.patches`, in the order of their numbers."""
    chosen = np.asarray(positions, np.int64)
    corners = (prediction.patches.level0_yx[chosen] - 0.5) * prediction.mpp
    side = prediction.patches.size_level0 * prediction.mpp
    square = np.array([[0, 0], [0, side], [side, side], [side, 0]])
    keywords = {
        "name": name,
        "shape_type": "rectangle",
        "face_color": "transparent",
        "edge_color": color,
        "edge_width": side / 30,
        "features": {"rank": np.arange(1, len(chosen) + 1), "attention": prediction.patch_attention[chosen]},
        "text": {"string": "{rank}", "color": color, "size": 11, "anchor": "center"},
        "metadata": {KEY: {"slide_id": prediction.slide_id}},
        "units": ("um", "um"),
        "axis_labels": ("y", "x"),
    }
    return [square + corner for corner in corners], keywords, "shapes"


def drawn(thumbnail: Thumbnail) -> NDArray[np.uint8]:
    """Pixels of a thumbnail; what could not be read is hatched, since white would pass for glass."""
    stripes = hatched(0, 0, *thumbnail.failed.shape)
    return np.where(thumbnail.failed[..., None], stripes, thumbnail.array)


def space(mpp: float | None) -> dict[str, Any]:
    """Scale and units of an image of level-0 pixels; napari keeps pixels where the resolution is unknown."""
    known = {"scale": (mpp, mpp), "units": ("um", "um")} if mpp is not None else {}
    return {"axis_labels": ("y", "x"), **known}


def placed(raster: Raster, mpp: float) -> dict[str, Any]:
    """Scale, shift and units of an image whose pixels are the cells of a raster."""
    return {
        "scale": tuple(side * mpp for side in raster.cell_yx),
        "translate": tuple(
            (corner + side / 2 - 0.5) * mpp for corner, side in zip(raster.origin_yx, raster.cell_yx, strict=True)
        ),
        "units": ("um", "um"),
        "axis_labels": ("y", "x"),
    }


def _problem(slide: Slide) -> str:
    """Why a slide's um/px cannot be used, "" when they can; the window has a remedy of its own."""
    try:
        _ = slide.mpp
    except ResolutionError as error:
        return str(error).removesuffix(f" {REMEDY}")
    return ""


def _coarse_level(slide: Slide, pixels: int) -> NDArray[np.uint8]:
    if pixels > LARGEST_FLAT:
        raise SlideError(
            f"Expected a pyramid in {slide.path.name}. Got no level below {pixels / 1e6:.0f} megapixels, which cannot "
            "be drawn whole; convert it to a tiled pyramid, for example with bfconvert or vips. The command line "
            "classifies it as it is."
        )
    return drawn(slide.overview(COARSE))
