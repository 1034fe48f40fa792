"""Show what a closer look by the teacher brings on the test slides of a run, and what it costs."""

from collections.abc import Mapping
from typing import NamedTuple

from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from pydantic import TypeAdapter

from lrmil.reports.figures import ARM_STYLE, svg_of
from lrmil.runs.arms import CALIBRATION
from lrmil.tasks.escalation_curve import ESCALATION, Point

SIZE = (6.4, 3.4)


class CloserLook(NamedTuple):
    """What the report shows."""

    regions: int
    """Number that the model looks into."""
    points: list[Point]
    """Of the student alone, then for each number of regions; empty if a fold has no calibration of its teacher."""
    reason: str
    """Why there are none, or why the model does not keep its teacher, as sentences; or ""."""
    picture: Markup
    """An ``<svg>`` element, or ""."""


def closer_look(figures: Mapping[str, object]) -> CloserLook | None:
    """Return what the report shows of a closer look; None if the model was not to keep its teacher.

    Parameters
    ----------
    figures
        Content of metrics.json.
    """
    found = figures.get(ESCALATION)
    if not isinstance(found, Mapping):
        return None
    points = TypeAdapter(list[Point]).validate_python(found["curve"] or [])
    picture = Markup(curve_svg(points, found["regions"])) if points else Markup()
    sentences = [sentence for sentence in (why_not_kept(figures), "" if points else _why_no_curve(figures)) if sentence]
    return CloserLook(found["regions"], points, " ".join(sentences), picture)


def why_not_kept(figures: Mapping[str, object]) -> str:
    """Return why a model that was to keep its teacher does not, as a sentence; "" if it does, or was not to.

    Parameters
    ----------
    figures
        Content of metrics.json.
    """
    lacking = _lacking(figures)
    why = lacking.get(_shipped(lacking))
    return f"The model does not keep its teacher, because {why}." if why else ""


def _shipped(folds: Mapping[str, str]) -> str:
    """Return the fold of the model."""
    return "final" if "final" in folds else next(iter(folds), "")


def _why_no_curve(figures: Mapping[str, object]) -> str:
    lacking = _lacking(figures)
    own = lacking.pop(_shipped(lacking), "")
    folds = [f" {fold}: {why}." for fold, why in lacking.items() if why]
    if own and not folds:
        return ""  # it has been said of the model
    return (
        "There is no curve, because a fold with test slides lacks a calibration of its student, or of its teacher with "
        f"one of the numbers of regions.{''.join(folds)}"
    )


def _lacking(figures: Mapping[str, object]) -> dict[str, str]:
    """Return by fold which of its two networks could not be calibrated, and why; "" if both could."""
    members = {"student": figures.get(CALIBRATION), "teacher": figures.get(ESCALATION)}
    found: dict[str, list[str]] = {}
    for who, member in members.items():
        for fold, one in member["by_fold"].items() if isinstance(member, Mapping) else ():
            why = [] if one["calibration"] else [f"the {who} is not calibrated: {one['reason']}"]
            found.setdefault(fold, []).extend(why)
    return {fold: "; ".join(dict.fromkeys(why)) for fold, why in found.items()} if members["teacher"] else {}


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
