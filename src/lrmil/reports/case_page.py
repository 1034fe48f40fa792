"""One classified slide for others to look at: a table row, GeoJSON, a picture, and one page that needs nothing else.

<slide_id>.csv  <slide_id>.geojson  <slide_id>.png  <slide_id>.html
"""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrmil import __version__
from lrmil.errors import ConfigError, SlideError
from lrmil.io import atomic
from lrmil.io.ownership import Ours, is_case_table, is_overlay, is_page, is_tiles, require_free
from lrmil.io.safe_csv import csv_text, plain_cell
from lrmil.models.card import ModelCard
from lrmil.prediction.attention import ends, percentile_rank
from lrmil.prediction.files import write_overlay, write_tiles
from lrmil.prediction.overlay import overlay_rgb
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import row_of, table_of
from lrmil.raster import Raster
from lrmil.reports.figures import colour_bar, jpeg_address
from lrmil.reports.model_facts import model_facts
from lrmil.reports.page import environment
from lrmil.reviews.log import Review
from lrmil.reviews.table import COLUMNS, cells_of
from lrmil.slides.identity import unchanged
from lrmil.slides.inputs import Inputs
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource

ENDINGS: dict[str, Ours] = {
    ".csv": is_case_table,
    ".geojson": is_tiles,
    ".png": is_overlay,
    ".html": is_page,
}
OVERVIEW_SIDE, PATCH_SIDE = 900, 150  # px of the pictures: a page stays below 1 MB
SCALE_BARS_UM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True, slots=True)
class PatchPicture:
    """One patch on the page.

    Attributes
    ----------
    number
        Place in the order, from 1.
    attention, percentile
        As the prediction has it, and its rank within the slide as the overlay shows it.
    picture
        Data address, "" when the patch cannot be read.
    """

    number: int
    attention: float
    percentile: float
    picture: str


@dataclass(frozen=True, slots=True)
class Overviews:
    """The slide, and the slide under its attention.

    Attributes
    ----------
    slide, overlay
        Data addresses.
    bar_um, bar_share
        Length of the scale bar, and its share of the pictures' width.
    failed
        Share of the pictures that could not be read and is white.
    """

    slide: str
    overlay: str
    bar_um: int
    bar_share: float
    failed: float


def write_case(
    folder: Path,
    prediction: Prediction,
    slide: Slide,
    card: ModelCard,
    *,
    review: Review | None = None,
    k: int = 8,
    subtract_bounds: bool = False,
    inputs: Sequence[Path] = (),
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
    subtract_bounds
        As in `lrmil.prediction.files.write_tiles`.
    inputs
        Files and folders that are read besides the slide.

    Returns
    -------
    Path of the page.

    Raises
    ------
    ConfigError
        If the prediction is not finished, or slide, card or review are of another slide or model than the prediction.
    SlideError
        If nothing of the slide can be read, or it changes meanwhile: nothing is written then.
    OverwriteError
        As `require_case_place`.
    """
    _require_match(prediction, slide, card, review)
    name = prediction.slide_id
    require_case_place(folder, SlideSource(name, slide.path), inputs)
    atomic.make_folder(folder)
    with unchanged(slide):
        text = render_case(prediction, slide, card, review=review, k=k)
    write_overlay(folder / f"{name}.png", prediction, slide)
    atomic.write_text(folder / f"{name}.csv", _table(prediction, review), is_case_table)
    write_tiles(folder / f"{name}.geojson", name, prediction, slide, subtract_bounds=subtract_bounds)
    page = folder / f"{name}.html"
    atomic.write_text(page, text, is_page)
    return page


def require_case_place(folder: Path, source: SlideSource, inputs: Sequence[Path] = ()) -> None:
    """Refuse to write a case where a file of someone else, or an input, has the name of one that would be written.

    Raises
    ------
    OverwriteError
        Naming the file and what to do.
    """
    paths = {folder / f"{source.slide_id}{ending}": ours for ending, ours in ENDINGS.items()}
    Inputs([source], inputs).require_clear(list(paths))
    for path, ours in paths.items():
        require_free(path, ours)


def render_case(
    prediction: Prediction, slide: Slide, card: ModelCard, *, review: Review | None = None, k: int = 8
) -> str:
    """Fill the page in; the arguments are those of `write_case`."""
    highest, lowest = ends(prediction.patch_attention, k)
    page = environment().get_template("case.html")
    return page.render(
        prediction=prediction,
        model=model_facts(card),
        review=review,
        dimensions=slide.dimensions,
        overviews=_overviews(prediction, slide),
        colour_bar=colour_bar(),
        ends=[
            ("Highest attention", _patches(prediction, slide, highest)),
            ("Lowest attention", _patches(prediction, slide, lowest)),
        ],
        version=__version__,
    )


def _require_match(prediction: Prediction, slide: Slide, card: ModelCard, review: Review | None) -> None:
    """Figures of one slide or model must not stand on the page of another."""
    if prediction.label not in prediction.probabilities:
        raise ConfigError(f"Expected a finished prediction. Got the status {prediction.status!r}; let it finish.")
    if (slide.fingerprint, slide.mpp) != (prediction.slide_fingerprint, prediction.mpp):
        raise ConfigError(
            f"Expected the slide that was classified, {prediction.slide_id} at {prediction.mpp:g} um/px. "
            f"Got {slide.path.name} at {slide.mpp:g} um/px, or a changed file; classify it again."
        )
    if review is not None and review.event != "review":
        raise ConfigError(f"Expected a review of the output. Got a {review.event!r}, given before it was shown.")
    about = prediction.slide_fingerprint, prediction.bundle_sha256
    if card.sha256 != prediction.bundle_sha256 or (review is not None and review.key != about):
        raise ConfigError(
            f"Expected card and review of the model and slide of this prediction ({prediction.bundle_sha256[:12]}, "
            f"{prediction.slide_id}). Got those of others; load the model that made the prediction."
        )


def _table(prediction: Prediction, review: Review | None) -> str:
    """The line of predictions.csv with the review behind it."""
    plain = table_of([row_of(prediction.slide_id, prediction)], list(prediction.probabilities))
    header, values = csv.reader(io.StringIO(plain, newline=""))
    return csv_text([[*header, *COLUMNS], [*map(plain_cell, values), *cells_of(review)]])


def _overviews(prediction: Prediction, slide: Slide) -> Overviews:
    thumbnail = slide.overview(OVERVIEW_SIDE)
    overlay = overlay_rgb(
        thumbnail.array, percentile_rank(prediction.attention), thumbnail_level0_per_px=thumbnail.cell_level0
    )
    width_um = thumbnail.array.shape[1] * thumbnail.cell_level0 * prediction.mpp
    bar = max((um for um in SCALE_BARS_UM if um < 0.35 * width_um), default=SCALE_BARS_UM[0])
    pictures = [jpeg_address(pixels, OVERVIEW_SIDE) for pixels in (thumbnail.array, overlay)]
    return Overviews(pictures[0], pictures[1], bar, bar / width_um, float(thumbnail.failed.mean()))


def _patches(prediction: Prediction, slide: Slide, positions: NDArray[np.int64]) -> list[PatchPicture]:
    patches, attention = prediction.patches, prediction.patch_attention
    ranks = percentile_rank(Raster(attention[None].astype(np.float32), prediction.attention.to_level0)).array[0]
    found = []
    for number, position in enumerate(positions.tolist(), 1):
        try:
            corner = tuple(patches.level0_yx[position].tolist())
            pixels = slide.read_region(corner, (patches.grid.size, patches.grid.size), patches.grid.mpp)
            picture = jpeg_address(pixels, PATCH_SIDE)
        except SlideError:
            picture = ""
        found.append(PatchPicture(number, float(attention[position]), float(ranks[position]), picture))
    return found
