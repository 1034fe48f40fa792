"""Draw the figures of a report as text for one HTML file: curves as SVG, slides as data URLs of JPEGs."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from PIL import Image

from lrmil.errors import SlideError
from lrmil.io import hashing
from lrmil.prediction.overlay import overlay_rgb
from lrmil.raster import Raster
from lrmil.slides.identity import unchanged
from lrmil.slides.opening import open_slide

SIDE = 420  # px: longer side of a slide's image; six examples of three images stay below 2 MB
QUALITY = 82
MAX_NAME = 60  # characters of a name in a figure
MAX_DRAWN = 1e30  # of a loss
# Okabe and Ito's palette, for colour-blind readers; dashes distinguish the arms when printed without colour.
ARM_STYLE = {
    "hr_teacher": ("#0072B2", (0, (6, 2))),
    "lr_undistilled": ("#5B5B5B", (0, (1.5, 1.5))),
    "lr_student": ("#C24E00", "solid"),
}
TRAIN, VALIDATION = "#0072B2", "#C24E00"
DASHES = (0, (5, 2))  # of validation, as in the window "Train from folder"


class RocLine(NamedTuple):
    """ROC curve of one arm for one class."""

    arm: str
    name: str
    """Text of the legend, with the area."""
    false_positive_rate: Sequence[float]
    true_positive_rate: Sequence[float]


class LossLine(NamedTuple):
    """Losses of one fold by epoch; in stage 1 an epoch is what lies between two validations."""

    fold: str
    train: Sequence[float]
    validation: Sequence[float]
    """Empty, if nothing was selected on validation slides."""
    best_epoch: int
    """Number of the epoch whose weights were kept, from 1; 0 for those before the first step."""
    steps: Sequence[int] = ()
    """Optimisation steps up to the end of each epoch; empty to count epochs."""


def roc_svg(title: str, lines: Sequence[RocLine]) -> str:
    """Draw the ROC curves of one class.

    Parameters
    ----------
    title
        Names the class and what it is compared with.
    lines
        One curve per arm.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    figure = Figure(figsize=(4.9, 4.7), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color="#BBBBBB", linewidth=0.8)
    for line in lines:
        colour, dashes = ARM_STYLE[line.arm]
        axes.plot(
            line.false_positive_rate,
            line.true_positive_rate,
            color=colour,
            linestyle=dashes,
            linewidth=1.8,
            label=literal(line.name),
        )
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
    axes.set_xlabel("false positive rate (1 - specificity)")
    axes.set_ylabel("true positive rate (sensitivity)")
    axes.set_title(literal(title), fontsize=10)
    axes.legend(loc="lower right", fontsize=8.5, handlelength=3.2)
    return svg_of(figure, f"ROC curves: {title}")


def loss_svg(stages: Mapping[str, Sequence[LossLine]]) -> str:
    """Draw the training and validation loss of each stage, with the kept weights marked.

    Parameters
    ----------
    stages
        Title of a panel -> one line per fold.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    rows = math.ceil(len(stages) / 2)
    figure = Figure(figsize=(9.6, 3.0 * rows), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).ravel()
    for axes, (title, lines) in zip(panels, stages.items(), strict=False):
        _losses(axes, title, [line for line in lines if line.train])
    for axes in panels[len(stages) :]:
        axes.set_axis_off()
    return svg_of(figure, "Training and validation loss of " + ", ".join(stages))


def slide_pictures(
    path: Path, maps: Mapping[str, Raster], *, mpp: float, fingerprint: str, side: int = SIDE
) -> dict[str, str]:
    """Draw a slide, and the slide under each map.

    Parameters
    ----------
    path
        The slide file.
    maps
        Name -> values from 0 to 1 on the slide.
    mpp
        um/px of level 0 with which the maps were made.
    fingerprint
        Fingerprint that the slide must have, so that maps are not drawn on another slide.
    side
        Longer side of the images in pixels, at most.

    Returns
    -------
    dict
        Name of a map, or "slide" -> data URL of a JPEG.

    Raises
    ------
    SlideError
        If the slide cannot be read, or is not the one that the maps were made from.
    """
    with open_slide(path, mpp=mpp) as slide, unchanged(slide):
        if slide.fingerprint != fingerprint:
            raise SlideError(f"{path.name} is not the file that was used in training.")
        thumbnail = slide.thumbnail(mpp * max(1.0, max(slide.dimensions) / side))
    pictures = {"slide": jpeg_url(thumbnail.array, side)}
    for name, raster in maps.items():
        overlay = overlay_rgb(thumbnail.array, raster, thumbnail_level0_per_px=thumbnail.cell_level0)
        pictures[name] = jpeg_url(overlay, side)
    return pictures


def colour_bar(width: int = 160, height: int = 12) -> str:
    """Draw the overlays' colours from 0 to 1 over white, `width` x `height` px; return the data URL of a PNG."""
    white = np.full((height, width, 3), 255, np.uint8)
    ramp = Raster.on_lattice(np.linspace(0, 1, width)[None], cell_level0=(height, 1.0), origin_yx=(0.0, 0.0))
    return _url(Image.fromarray(overlay_rgb(white, ramp, thumbnail_level0_per_px=1.0)), "PNG")


def _losses(axes: Axes, title: str, lines: Sequence[LossLine]) -> None:
    width = 1.6 if len(lines) == 1 else 0.8
    marked = [number for number, line in enumerate(lines) if line.best_epoch]
    for number, line in enumerate(lines):
        at = line.steps or range(1, len(line.train) + 1)
        dot = "." if len(line.train) == 1 else None
        names = ["training (solid)", "validation (dashed)"] if number == 0 else ["", ""]
        train, validation = _drawable(line.train), _drawable(line.validation)
        axes.plot(at, train, color=TRAIN, linewidth=width, label=names[0], marker=dot)
        if validation:
            axes.plot(at, validation, color=VALIDATION, linestyle=DASHES, linewidth=width, label=names[1], marker=dot)
        color, kept = (VALIDATION, validation) if validation else (TRAIN, train)
        if line.best_epoch:
            place, kept_name = line.best_epoch - 1, "kept" if number == marked[0] else ""
            axes.plot([at[place]], [kept[place]], "o", color=color, markerfacecolor="white", label=kept_name)
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("optimisation step" if any(line.steps for line in lines) else "epoch")
    axes.set_ylabel("loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_ylim(bottom=0)
    axes.grid(color="#E5E5E5", linewidth=0.6)
    if axes.lines:
        axes.legend(fontsize=8, handlelength=3)
    else:
        axes.text(0.5, 0.5, "not trained", transform=axes.transAxes, ha="center", va="center")


def _drawable(losses: Sequence[float]) -> list[float]:
    """Leave a gap where a loss is beyond what axes can be laid out for, as in a damaged history."""
    return [loss if abs(loss) <= MAX_DRAWN else math.nan for loss in losses]


def svg_of(figure: Figure, description: str) -> str:
    """Return a figure as an ``<svg>`` element with ids of its own, since a page holds several.

    Parameters
    ----------
    figure
        The figure.
    description
        Text for who cannot see it; different for each figure of a page.
    """
    text = io.StringIO()
    about = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": description}):
        figure.savefig(text, format="svg", metadata=about)
    element = text.getvalue()
    element = element[element.index("<svg") :]
    own = f"f{hashing.sha256_of(description)[:8]}-"
    for before in ('id="', 'href="#', "url(#"):
        element = element.replace(before, before + own)
    return element.replace("<svg ", f'<svg role="img" aria-label="{html.escape(description)}" ', 1)


def literal(name: str) -> str:
    """Shorten a name for a legend, and escape it so that matplotlib reads no formula."""
    short = name if len(name) <= MAX_NAME else name[: MAX_NAME - 3] + "..."
    return short.replace("$", r"\$")


def jpeg_url(pixels: NDArray[np.uint8], side: int) -> str:
    """Return the data URL of a JPEG of (h, w, 3) uint8 pixels, shrunk to at most `side` px."""
    image = Image.fromarray(pixels)
    image.thumbnail((side, side), Image.Resampling.BOX)
    return _url(image, "JPEG")


def _url(image: Image.Image, kind: str) -> str:
    data = io.BytesIO()
    image.save(data, format=kind, **({"quality": QUALITY} if kind == "JPEG" else {}))
    return f"data:image/{kind.lower()};base64,{base64.b64encode(data.getvalue()).decode()}"
