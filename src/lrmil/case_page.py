"""One classified slide for others to look at: a table row, GeoJSON, a picture, and one page that needs nothing else.

<slide_id>.csv  <slide_id>.geojson  <slide_id>.png  <slide_id>.html
"""

import csv
import importlib.metadata
import io
from dataclasses import dataclass
from pathlib import Path

import jinja2
import numpy as np
from numpy.typing import NDArray

from lrmil import files
from lrmil.batch_prediction import row_of, table_of
from lrmil.bundle import ModelCard
from lrmil.errors import SlideError
from lrmil.explanation import overlay_rgb, percentile_rank, top_patches
from lrmil.inference import Prediction
from lrmil.prediction_files import write_overlay, write_tiles
from lrmil.report_figures import colour_bar, jpeg_address
from lrmil.review import Review
from lrmil.run_folder import ARM_NAMES
from lrmil.slide import Slide

OVERVIEW_SIDE, PATCH_SIDE = 900, 150  # px of the pictures: a page stays below 1 MB
SCALE_BARS_UM = (100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True, slots=True)
class PatchPicture:
    """One patch on the page: its place in the order, its attention, and its picture or "" when it cannot be read."""

    number: int
    attention: float
    percentile: float
    picture: str


def write_case(
    folder: Path, prediction: Prediction, slide: Slide, card: ModelCard, *, review: Review | None = None, k: int = 8
) -> Path:
    """Write the four files of a case, each complete or not at all.

    Parameters
    ----------
    folder
        Where to; made when absent.
    prediction, slide
        What the model says, and the slide, still open: pictures are read from it.
    card
        Of the model that says so.
    review
        What a person says of it.
    k
        Patches shown of the highest, and of the lowest, attention.

    Returns
    -------
    Path of the page.
    """
    folder.mkdir(parents=True, exist_ok=True)
    name = prediction.slide_id
    files.write_text(folder / f"{name}.csv", _table(prediction, review))
    write_tiles(folder / f"{name}.geojson", name, prediction)
    write_overlay(folder / f"{name}.png", prediction, slide)
    page = folder / f"{name}.html"
    files.write_text(page, render_case(prediction, slide, card, review=review, k=k))
    return page


def render_case(
    prediction: Prediction, slide: Slide, card: ModelCard, *, review: Review | None = None, k: int = 8
) -> str:
    """Fill the page in; the arguments are those of `write_case`."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lrmil"), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True
    )
    count = min(k, len(prediction.patch_attention))
    highest = top_patches(prediction.patch_attention, count)
    lowest = top_patches(-prediction.patch_attention, min(count, len(prediction.patch_attention) - count))
    slide_picture, overlay_picture, bar_um, bar_share = _overviews(prediction, slide)
    return environment.get_template("case.html").render(
        prediction=prediction,
        card=card,
        review=review,
        arm_names=ARM_NAMES,
        dimensions=slide.dimensions,
        slide_picture=slide_picture,
        overlay_picture=overlay_picture,
        bar_um=bar_um,
        bar_share=bar_share,
        colour_bar=colour_bar(),
        ends=[
            ("Highest attention", _patches(prediction, slide, highest)),
            ("Lowest attention", _patches(prediction, slide, lowest)),
        ],
        version=importlib.metadata.version("napari-lrmil"),
    )


def _table(prediction: Prediction, review: Review | None) -> str:
    """The line of predictions.csv with the review behind it."""
    header, values = csv.reader(
        io.StringIO(table_of([row_of(prediction.slide_id, prediction)], list(prediction.probabilities)))
    )
    header += ["decision", "human_label", "note", "reviewer", "human_first", "reviewed_at"]
    said: list[object] = [""] * 6
    if review is not None:
        said = [review.decision or "", review.human_label, review.note, review.reviewer]
        said += ["yes" if review.human_first else "no", review.time]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, [*values, *said]])
    return text.getvalue()


def _overviews(prediction: Prediction, slide: Slide) -> tuple[str, str, int, float]:
    """The slide, the slide under its attention, and a scale bar: microns, and its share of the picture's width."""
    thumbnail = slide.overview(OVERVIEW_SIDE)
    overlay = overlay_rgb(
        thumbnail.array, percentile_rank(prediction.attention), thumbnail_level0_per_px=thumbnail.cell_level0
    )
    width_um = slide.dimensions[0] * prediction.mpp
    bar = max((um for um in SCALE_BARS_UM if um < 0.35 * width_um), default=SCALE_BARS_UM[0])
    pictures = [jpeg_address(pixels, OVERVIEW_SIDE) for pixels in (thumbnail.array, overlay)]
    return pictures[0], pictures[1], bar, bar / width_um


def _patches(prediction: Prediction, slide: Slide, positions: NDArray[np.int64]) -> list[PatchPicture]:
    patches, attention = prediction.patches, prediction.patch_attention
    order = np.sort(attention)
    found = []
    for number, position in enumerate(positions.tolist(), 1):
        try:
            corner = tuple(patches.level0_yx[position].tolist())
            pixels = slide.read_region(corner, (patches.grid.size, patches.grid.size), patches.grid.mpp)
            picture = jpeg_address(pixels, PATCH_SIDE)
        except SlideError:
            picture = ""
        percentile = float(np.searchsorted(order, attention[position], "right")) / len(order)
        found.append(PatchPicture(number, float(attention[position]), percentile, picture))
    return found
