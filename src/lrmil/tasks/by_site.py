"""Measure answers site by site: a model may hold at one hospital or scanner and not at another."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from lrmil.operating_point import Points
from lrmil.tasks.answers import Target
from lrmil.tasks.task import Task

BY_SITE = "by_site"  # of metrics.json and evaluation.json
SITE, MEANS = "site", "means"


def figures_by_site(
    task: Task,
    targets: Sequence[Target],
    values: NDArray[np.float64],
    cases: Sequence[str],
    sites: Sequence[str | None],
    thresholds: Points = None,
) -> list[dict[str, object]]:
    """Return the figures of the slides of each site, JSON-ready and sorted by site; slides without a site come last.

    Parameters
    ----------
    task
        What is predicted.
    targets, cases, sites
        Of each of n slides.
    values
        (n, names) what a model says of them.
    thresholds
        (n,) operating points, as for `Task.summarise`.

    Returns
    -------
    list of dict
        "site", None for slides without one; "n_slides", "n_cases"; `Task.figures` and `Task.details`, None where one is
        not defined; "undefined", which says of each of those why; and "means", `Task.means`.
    """
    rows: dict[str | None, list[int]] = {}
    for row, site in enumerate(sites):
        rows.setdefault(site, []).append(row)
    order = sorted(rows, key=lambda site: (site is None, site or ""))
    found: list[dict[str, object]] = []
    for site in order:
        own = rows[site]
        truth, limits = [targets[row] for row in own], thresholds and [thresholds[row] for row in own]
        summary = task.summarise(truth, values[own], [cases[row] for row in own], limits)
        found.append({SITE: site, **_shown(task, summary), MEANS: task.means(truth, values[own])})
    return found


def site_name(site: object) -> str:
    """Return how people read the "site" of `figures_by_site`."""
    return "no site" if site is None else str(site)


def _shown(task: Task, found: Mapping[str, object]) -> dict[str, object]:
    shown = (*task.figures, *task.details)
    undefined = found["undefined"]
    reasons = undefined if isinstance(undefined, dict) else {}
    return {
        **{name: found[name] for name in ("n_slides", "n_cases", *shown)},
        "undefined": {name: reason for name, reason in reasons.items() if name in shown},
    }
