"""The figures of a run by site, as rows of a table."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from lrmil.tasks.by_site import BY_SITE, MEANS, SITE, site_name
from lrmil.tasks.task import Task

MAX_MEANS = 6  # names whose means fit beside the figures


class SiteRow(NamedTuple):
    """The student on the test slides of one site."""

    site: str
    slides: int
    cases: int
    figures: list[Any]
    means: list[tuple[float, float]]
    """Predicted and observed."""


class BySite(NamedTuple):
    """The student by site; no rows where the table has no sites, and in runs of earlier versions."""

    titles: list[str]
    names: list[str]
    """Whose means are shown."""
    rows: list[SiteRow]
    reasons: list[str]
    """Why figures are not defined, a sentence each."""
    calibrated: bool


def by_site(figures: Mapping[str, Any], task: Task) -> BySite:
    """Return the figures of each site.

    Parameters
    ----------
    figures, task
        As for `lrmil.reports.headline.headline`.
    """
    found = figures.get(BY_SITE, {"calibrated": False, "sites": []})
    shown = {**task.figures, **task.details}
    names = list(task.names) if len(task.names) <= MAX_MEANS else []
    rows = [
        SiteRow(
            site_name(one[SITE]),
            one["n_slides"],
            one["n_cases"],
            [one[name] for name in shown],
            [(one[MEANS][name]["predicted"], one[MEANS][name]["observed"]) for name in names],
        )
        for one in found["sites"]
    ]
    reasons = [sentence for one in found["sites"] for sentence in _reasons(one, shown)]
    return BySite(list(shown.values()), names, rows, reasons, found["calibrated"])


def _reasons(one: Mapping[str, Any], shown: Mapping[str, str]) -> list[str]:
    of_reason: dict[str, list[str]] = {}
    for name, reason in one["undefined"].items():
        of_reason.setdefault(reason, []).append(shown[name])
    return [f"Not defined, {site_name(one[SITE])}: {', '.join(of)}; {reason}." for reason, of in of_reason.items()]
