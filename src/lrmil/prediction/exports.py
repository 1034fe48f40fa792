"""Write a prediction for people and other programs: an overlay picture, and tiles for QuPath."""

from pathlib import Path

from lrmil.prediction.attention import percentile_rank
from lrmil.prediction.geojson import write_geojson
from lrmil.prediction.overlay import overlay_png
from lrmil.prediction.prediction import Prediction
from lrmil.slides.identity import unchanged
from lrmil.slides.slide import Slide


def write_tiles(
    path: Path, slide_id: str, prediction: Prediction, slide: Slide, *, subtract_bounds: bool = False
) -> None:
    """Write the patches with their attention as GeoJSON for QuPath.

    Parameters
    ----------
    path
        The .geojson file.
    slide_id, prediction, slide
        Id and answer of the slide, and the open slide.
    subtract_bounds
        Whether coordinates start at the corner of the scanned area, as in QuPath for an MRXS, instead of the corner of
        the slide.
    """
    write_geojson(
        path,
        prediction.patches.level0_yx,
        prediction.patch_attention,
        size_level0=prediction.patches.size_level0,
        slide_id=slide_id,
        about={
            "label": prediction.label,
            "mpp": prediction.mpp,
            "mpp_source": prediction.mpp_source,
            "bundle_sha256": prediction.bundle_sha256,
        },
        bounds_yx=slide.origin_yx,
        subtract_bounds=subtract_bounds,
    )


def write_overlay(path: Path, prediction: Prediction, slide: Slide) -> None:
    """Draw the attention, as percentiles, over the picture of the slide (`Slide.picture`).

    Parameters
    ----------
    path
        The .png file.
    prediction, slide
        What to draw, and the open slide.

    Raises
    ------
    SlideChangedError
        If the slide changed since it was opened; then nothing is written.
    """
    with unchanged(slide):
        thumbnail = slide.picture()
    overlay_png(
        path,
        thumbnail.array,
        percentile_rank(prediction.attention),
        thumbnail_level0_per_px=thumbnail.cell_level0,
        title=f"{headline(prediction)}: model output, not a diagnosis",
    )


def headline(prediction: Prediction) -> str:
    """Return the label, with its value if it has one."""
    value = prediction.probabilities.get(prediction.label)
    return prediction.label if value is None else f"{prediction.label} {value:.2f}"
