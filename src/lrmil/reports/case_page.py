"""Export one classified slide: a table row, GeoJSON, an image, and a self-contained page.

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
from lrmil.prediction.doubts import before_in_words, doubts_in_words, threshold_in_words
from lrmil.prediction.exports import write_overlay, write_tiles
from lrmil.prediction.overlay import overlay_rgb
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import row_of, table_of
from lrmil.raster import Raster
from lrmil.reports.figures import colour_bar, jpeg_url
from lrmil.reports.model_facts import model_facts
from lrmil.reports.page import environment
from lrmil.reviews.entry import ReviewKey, review_key
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
OVERVIEW_SIDE, PATCH_SIDE = 900, 150  # px of the images: they keep a page below 1 MB
SCALE_BARS_UM = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000)


@dataclass(frozen=True, slots=True)
class PatchPicture:
    """One patch on the page.

    Attributes
    ----------
    number
        Rank in its list, from 1.
    attention
        Attention of the patch; sums to 1 over the slide.
    percentile
        Its rank in the slide from 0 to 1, as in the overlay.
    picture
        Data URL; "" if the patch cannot be read.
    """

    number: int
    attention: float
    percentile: float
    picture: str


@dataclass(frozen=True, slots=True)
class Overviews:
    """Images of the slide, without and with its attention.

    Attributes
    ----------
    slide, overlay
        Data URLs.
    bar_um, bar_share
        Length of the scale bar in um, and its fraction of the images' width.
    failed
        Fraction of the images that could not be read and is white.
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
        Folder to write to; it is created if it is missing.
    prediction, slide
        The prediction, and its slide, which must be open: images are read from it.
    card
        Card of the model that made the prediction.
    review
        Review of the prediction.
    k
        Number of patches of the highest, and of the lowest, attention.
    subtract_bounds
        As in `lrmil.prediction.exports.write_tiles`.
    inputs
        Files and folders that are inputs besides the slide.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    ConfigError
        If the prediction is not finished, or slide, card or review belong to another slide or model.
    SlideError
        If nothing of the slide can be read, or it changes meanwhile; then nothing is written.
    OverwriteError
        As `require_case_writable`.
    """
    _require_match(prediction, slide, card, review)
    name = prediction.slide_id
    require_case_writable(folder, SlideSource(name, slide.path), inputs)
    atomic.make_folder(folder)
    with unchanged(slide):
        text = render_case(prediction, slide, card, review=review, k=k)
    write_overlay(folder / f"{name}.png", prediction, slide)
    atomic.write_text(folder / f"{name}.csv", _table(prediction, review), is_case_table)
    write_tiles(folder / f"{name}.geojson", name, prediction, slide, subtract_bounds=subtract_bounds)
    page = folder / f"{name}.html"
    atomic.write_text(page, text, is_page)
    return page


def require_case_writable(folder: Path, source: SlideSource, inputs: Sequence[Path] = ()) -> None:
    """Raise if a case would overwrite an input or a file that is not a case.

    Parameters
    ----------
    folder
        Folder to write to.
    source
        The slide.
    inputs
        Files and folders that are inputs besides the slide.

    Raises
    ------
    OverwriteError
        With the name of the file, and what to do.
    """
    paths = {folder / f"{source.slide_id}{ending}": ours for ending, ours in ENDINGS.items()}
    Inputs([source], inputs).require_clear(list(paths))
    for path, ours in paths.items():
        require_free(path, ours)


def render_case(
    prediction: Prediction, slide: Slide, card: ModelCard, *, review: Review | None = None, k: int = 8
) -> str:
    """Return the HTML of the page; the arguments are those of `write_case`."""
    highest, lowest = ends(prediction.patch_attention, k)
    page = environment().get_template("case.html")
    return page.render(
        prediction=prediction,
        values=prediction.task.shown(prediction.probabilities),
        words=prediction.task.wording,
        doubts=doubts_in_words(prediction.reasons, prediction.task),
        before=before_in_words(prediction.escalation, prediction.task),
        rule=threshold_in_words(prediction.threshold, prediction.task),
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


def key_of(prediction: Prediction) -> ReviewKey:
    """Return the key of reviews of a prediction (`lrmil.reviews.entry.review_key`)."""
    regions = prediction.regions.words if prediction.regions else ""
    return review_key(prediction.slide_fingerprint, prediction.bundle_sha256, regions)


def _require_match(prediction: Prediction, slide: Slide, card: ModelCard, review: Review | None) -> None:
    """Raise unless slide, card and review belong to the prediction."""
    if not prediction.probabilities:
        raise ConfigError(
            f"Expected a finished prediction. Got the status {prediction.status!r}; wait until it is finished."
        )
    if (slide.fingerprint, slide.mpp) != (prediction.slide_fingerprint, prediction.mpp):
        raise ConfigError(
            f"The prediction is of {prediction.slide_id} at {prediction.mpp:g} um/px, but {slide.path.name} at "
            f"{slide.mpp:g} um/px is another slide, or its file changed. Classify it again."
        )
    if review is not None and review.event != "review":
        raise ConfigError(
            f"Expected a review of the output. Got {review.event!r}, which was recorded before the output was shown."
        )
    if card.sha256 != prediction.bundle_sha256 or (review is not None and review.key != key_of(prediction)):
        raise ConfigError(
            f"Card or review do not belong to the model and slide of this prediction ({prediction.bundle_sha256[:12]}, "
            f"{prediction.slide_id}). Load the model that made the prediction."
        )


def _table(prediction: Prediction, review: Review | None) -> str:
    """Return a table of one line: that of predictions.csv, followed by the review."""
    plain = table_of([row_of(prediction.slide_id, prediction)], prediction.task)
    header, values = csv.reader(io.StringIO(plain, newline=""))
    return csv_text([[*header, *COLUMNS], [*map(plain_cell, values), *cells_of(review)]])


def _overviews(prediction: Prediction, slide: Slide) -> Overviews:
    thumbnail = slide.overview(OVERVIEW_SIDE)
    overlay = overlay_rgb(
        thumbnail.array, percentile_rank(prediction.attention), thumbnail_level0_per_px=thumbnail.cell_level0
    )
    width_um = thumbnail.array.shape[1] * thumbnail.cell_level0 * prediction.mpp
    bar = max((um for um in SCALE_BARS_UM if um < 0.35 * width_um), default=SCALE_BARS_UM[0])
    pictures = [jpeg_url(pixels, OVERVIEW_SIDE) for pixels in (thumbnail.array, overlay)]
    return Overviews(pictures[0], pictures[1], bar, bar / width_um, float(thumbnail.failed.mean()))


def _patches(prediction: Prediction, slide: Slide, positions: NDArray[np.int64]) -> list[PatchPicture]:
    patches, attention = prediction.patches, prediction.patch_attention
    ranks = percentile_rank(Raster(attention[None].astype(np.float32), prediction.attention.to_level0)).array[0]
    found = []
    for number, position in enumerate(positions.tolist(), 1):
        try:
            corner = tuple(patches.level0_yx[position].tolist())
            pixels = slide.read_region(corner, (patches.grid.size, patches.grid.size), patches.grid.mpp)
            picture = jpeg_url(pixels, PATCH_SIDE)
        except SlideError:
            picture = ""
        found.append(PatchPicture(number, float(attention[position]), float(ranks[position]), picture))
    return found
