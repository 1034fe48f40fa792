"""Draw what the probabilities of a run are worth: reliability, decision curve, risk against coverage."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from lrmil.reports.figures import ARM_STYLE, literal, svg_of
from lrmil.reports.run_trust import CALIBRATED, UNCALIBRATED, Points, RunTrust
from lrmil.runs.arms import ARM_NAMES, ARMS

SIZE = (4.9, 4.7)
GREY = "#BBBBBB"
STUDENT_STYLE = {UNCALIBRATED: ("#0072B2", "s", -0.004), CALIBRATED: (ARM_STYLE["lr_student"][0], "o", 0.004)}


def reliability_svg(trust: RunTrust) -> str:
    """Draw the share of right answers of the student against its confidence, before and after calibration.

    Parameters
    ----------
    trust
        Its points.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    figure, axes = _axes("How sure the student is, and how often right", "mean probability of its answers")
    points = [value for bins in trust.reliability.values() for value in bins["confidence"]]
    left = max(0.0, min([0.5, *points]) - 0.05)
    axes.plot([left, 1], [left, 1], color=GREY, linewidth=0.8)
    for name, bins in trust.reliability.items():
        colour, marker, aside = STUDENT_STYLE[name]
        at = np.array(bins["confidence"]) + aside  # so that the bars of both can be told apart
        axes.vlines(at, bins["low"], bins["high"], color=colour, linewidth=0.9, alpha=0.6)
        axes.plot(
            at, bins["right"], color=colour, marker=marker, markersize=5, linewidth=1.4, label=_binning(name, bins)
        )
    axes.set(xlim=(left, 1.02), ylim=(-0.02, 1.03))
    axes.set_ylabel("share that is right")
    axes.legend(loc="lower right", fontsize=8.5)
    return svg_of(figure, "Reliability of the student's probabilities")


def decision_svg(trust: RunTrust, positive: str) -> str:
    """Draw the net benefit of acting by each arm, on every slide and on none, against the threshold.

    Parameters
    ----------
    trust
        As for `reliability_svg`.
    positive
        Name of the positive class.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    figure, axes = _axes(f"Net benefit of acting on {positive}", "probability from which someone acts")
    curve = trust.decision_curve
    thresholds, highest = curve["thresholds"], 0.0
    axes.plot(thresholds, curve["treat_all"], color="#777777", linewidth=1.0, label="act on every slide")
    axes.axhline(0, color="black", linewidth=1.0, label="act on none")
    for arm in ARMS:
        colour, dashes = ARM_STYLE[arm]
        name = f"{ARM_NAMES[arm]}, {trust.student}" if arm == "lr_student" else ARM_NAMES[arm]
        axes.plot(thresholds, curve[arm], color=colour, linestyle=dashes, linewidth=1.8, label=name)
        highest = max(highest, *curve[arm], curve["treat_all"][0])
    axes.set(xlim=(0, 1), ylim=(-0.25 * highest - 0.01, 1.1 * highest + 0.01))
    axes.set_ylabel("net benefit per slide")
    axes.legend(loc="lower left", fontsize=8, handlelength=3.2)
    return svg_of(figure, f"Decision curve of {positive}")


def selective_svg(trust: RunTrust) -> str:
    """Draw the share of wrong answers against the share of slides answered, the surest first.

    Parameters
    ----------
    trust
        As for `reliability_svg`.

    Returns
    -------
    str
        An ``<svg>`` element.
    """
    figure, axes = _axes("Errors if the least sure answers are left out", "share of the slides that is answered")
    coverage, risk = trust.selective["coverage"], trust.selective["risk"]
    colour, dashes = ARM_STYLE["lr_student"]
    name = f"LR student, {trust.student}: area {trust.selective_area:.3f}"
    axes.plot(coverage, risk, color=colour, linestyle=dashes, linewidth=1.8, label=name, drawstyle="steps-post")
    axes.axhline(risk[-1], color=GREY, linewidth=0.8, label=f"all answered: {100 * risk[-1]:.1f} % wrong")
    axes.set(xlim=(0, 1.01), ylim=(0, max(0.1, 1.15 * max(risk))))
    axes.set_ylabel("share of wrong answers")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.legend(loc="best", fontsize=8.5)
    return svg_of(figure, "Risk against coverage of the student")


def trust_svgs(trust: RunTrust, names: Sequence[str]) -> list[str]:
    """Return all figures of a run in the order to show them.

    Parameters
    ----------
    trust
        Their points.
    names
        The classes; of two, the positive one is last.
    """
    decision = [decision_svg(trust, names[-1])] if trust.decision_curve else []
    return [reliability_svg(trust), *decision, selective_svg(trust)]


def _binning(name: str, bins: Points) -> str:
    """Name a line with the number of its bins, and of the slides in the smallest and the largest."""
    counts = sorted({min(bins["slides"]), max(bins["slides"])})
    number = len(bins["slides"])
    return (
        f"{name}: {number} bin{'' if number == 1 else 's'} of {' to '.join(f'{count:.0f}' for count in counts)} slides"
    )


def _axes(title: str, below: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(literal(title), fontsize=10)
    axes.set_xlabel(below)
    axes.grid(color="#EDEDED", linewidth=0.6)
    return figure, axes
