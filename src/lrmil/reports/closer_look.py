"""Show what a closer look by the teacher brings on the test slides of a run, and what it costs."""

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from pydantic import TypeAdapter

from lrmil.reports.figures import ARM_STYLE, svg_of
from lrmil.tasks.escalation_curve import ESCALATION, Point

SIZE = (6.4, 3.4)


class CloserLook(NamedTuple):
    """What the report shows."""

    regions: int
    """Number that the model looks into."""
    points: list[Point]
    """Of the student alone, then for each number of regions; empty if a fold has no calibration of its teacher."""
    reason: str
    """Why there are none, as sentences; or ""."""
    picture: Markup
    """An ``<svg>`` element, or ""."""


def closer_look(figures: Mapping[str, object]) -> CloserLook | None:
    """Return what the report shows of a closer look; None if the model is not to keep its teacher.

    Parameters
    ----------
    figures
        Content of metrics.json.
    """
    found = figures.get(ESCALATION)
    if not isinstance(found, Mapping):
        return None
    points = TypeAdapter(list[Point]).validate_python(found["curve"] or [])
    reasons = [f"{fold}: {one['reason']}." for fold, one in found["by_fold"].items() if not one["calibration"]]
    picture = Markup(curve_svg(points, found["regions"])) if points else Markup()
    return CloserLook(found["regions"], points, " ".join(reasons), picture)


def curve_svg(points: list[Point], regions: int) -> str:
    """Draw the share of slides that are uncertain, and of wrong answers, against the cost.

    Parameters
    ----------
    points
        For each number of regions.
    regions
        The number that the model looks into, which is marked.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    cost = [point["share_of_hr"] for point in points]
    shares = {
        "not answered": [point["uncertain"] / point["slides"] for point in points],
        "answered wrong": [point["wrong_answered"] / point["slides"] for point in points],
    }
    colours = dict(zip(shares, (ARM_STYLE["hr_teacher"][0], "#B00020"), strict=True))
    marked = next((place for place, point in enumerate(points) if point["regions"] == regions), 0)
    for name, values in shares.items():
        axes.plot(cost, values, color=colours[name], marker="o", markersize=4, linewidth=1.6, label=name)
        axes.plot(cost[marked], values[marked], color=colours[name], marker="o", markersize=9, fillstyle="none")
    for place, point in enumerate(points):
        if place == 0 or cost[place] > cost[place - 1]:  # further numbers read nothing more
            axes.annotate(
                str(point["regions"]),
                (cost[place], shares["not answered"][place]),
                xytext=(0, 6),
                textcoords="offset points",
                fontsize=8,
                ha="center",
            )
    axes.set_title("Uncertain slides and errors, by the number of regions looked into", fontsize=10)
    axes.set_xlabel("patches read and encoded, of all at high resolution")
    axes.set_ylabel("share of the slides")
    axes.set_ylim(-0.01, 1.2 * max(0.05, *shares["not answered"]))
    axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=1))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    axes.grid(color="#EDEDED", linewidth=0.6)
    axes.legend(loc="best", fontsize=8.5)
    return svg_of(figure, "Uncertain slides and errors against the cost of a closer look")
