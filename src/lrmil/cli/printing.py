"""Print results: plain text for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from lrmil.errors import printable
from lrmil.prediction.doubts import status_in_words
from lrmil.prediction.patients import PatientRow
from lrmil.prediction.table import PredictionRow
from lrmil.runs.arms import ARM_NAMES
from lrmil.runs.differences import difference_sentence, find_differences
from lrmil.tasks.by_site import MEANS, SITE, site_name
from lrmil.tasks.case_rule import RULE_WORDS, CaseRule
from lrmil.tasks.choice import kind_in
from lrmil.tasks.task import Task


class _Terminal(Console):
    """Prints names of files and classes as they are, but spells out control characters."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(_plain(one) if isinstance(one, str) else one for one in objects), **options)


stderr = _Terminal(stderr=True)
stdout = _Terminal(soft_wrap=True, highlight=False)
UNKNOWN = "not known"
SITES_BESIDE = 3  # columns of a table that a terminal of 80 characters has room for


def exit_code(failed: int, total: int) -> int:
    """Print how many failed, and return the exit code.

    Parameters
    ----------
    failed
        Number of failures.
    total
        Number of slides or files that were asked for.

    Returns
    -------
    int
        0 if all succeeded; 1 if any failed or there was nothing to do.
    """
    if failed:
        stderr.print(f"{failed} of {total} failed; the reasons are listed above.")
    return 1 if failed or not total else 0


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_lines(values: Mapping[str, object]) -> None:
    """Print named values, one in each line."""
    for name, value in values.items():
        stdout.print(f"{name}: {value}", markup=False)


def print_facts(facts: dict[str, object]) -> None:
    """Print the facts that `lrmil inspect` found about a slide."""
    stdout.print(str(facts["path"]), style="bold", markup=False)
    for name, value in facts.items():
        if name != "path":
            shown = _levels(value) if name == "levels" and isinstance(value, list) else figure(value)
            stdout.print(f"  {name}: {shown}", markup=False)


def print_rows(rows: list[PredictionRow], task: Task) -> None:
    """Print predictions as a table, then why some are uncertain, the failures and notes."""
    table = Table("slide", "status", "label", "probability", "patches", "seconds")
    for row in rows:
        value = row.probabilities.get(row.label)  # none where the label itself is the figure
        probability = "" if value is None else f"{value:.3f}"
        counts = [f"{row.n_patches - row.failed_patches} of {row.n_patches}", f"{row.seconds:.1f}"]
        table.add_row(*map(Text, map(_plain, [row.slide_id, row.status, row.label, probability, *counts])))
    stdout.print(table)
    for row in rows:
        uncertain = row.status == "uncertain"
        doubts = f"{status_in_words(row.status, row.reason.split(), task)}." if uncertain else ""
        for sentence in (doubts, row.message, *row.notes):
            if sentence:
                stdout.print(f"{row.slide_id}: {sentence}", markup=False)


def print_patients(rows: list[PatientRow]) -> None:
    """Print the answers for patients as a table, then which slides failed."""
    table = Table("patient", "status", "label", "probability", "slides")
    for row in rows:
        value = row.probabilities.get(row.label)
        probability = "" if value is None else f"{value:.3f}"
        slides = f"{row.n_slides - row.failed_slides} of {row.n_slides}"
        table.add_row(*map(Text, map(_plain, [row.case_id, row.status, row.label, probability, slides])))
    stdout.print(table)
    print_lines({row.case_id: row.message for row in rows if row.message})


def print_arms(metrics: dict[str, object]) -> None:
    """Print the metrics of the three arms side by side, and whether the student differs from the others."""
    kind = kind_in(metrics)
    shown = kind.figures
    table = Table(Column("arm", no_wrap=True), *shown.values(), "s/slide", "MB/slide", "patches")
    for arm, name in ARM_NAMES.items():
        figures = metrics[arm]
        if isinstance(figures, dict):
            megabytes = figures["bytes_per_slide"] and figures["bytes_per_slide"] / 1e6
            values = [*(figures[key] for key in shown), figures["seconds_per_slide"]]
            patches = f"{figures['patches_per_slide']:.0f}"
            table.add_row(name.split(" (")[0], *map(figure, [*values, megabytes]), patches)
    stdout.print(table)
    for arm, found in find_differences(metrics).items():
        stdout.print(difference_sentence(shown[kind.score_name], arm, found))


def print_summary(metrics: Mapping[str, Any], task: Task, rule: CaseRule) -> None:
    """Print the metrics of one model, one in a line: by patient first, if patients have several slides, then by slide.

    Those that are not defined have the reason beside them.

    Parameters
    ----------
    metrics
        What `lrmil.tasks.case_figures.summarise_by_rule` returned.
    task
        What is predicted.
    rule
        How the slides of a patient are answered as one.
    """
    if metrics.get("by_case") is not None:
        stdout.print(f"By patient ({metrics['n_cases']}; {RULE_WORDS[rule]}):", markup=False)
        _print_figures(metrics["by_case"], task, of="by_case ")
        stdout.print(f"By slide ({metrics['n_slides']}):", markup=False)
    _print_figures(metrics, task)


def _print_figures(metrics: Mapping[str, Any], task: Task, *, of: str = "") -> None:
    """Print figures, each line beginning with `of`; those by case are printed apart."""
    reasons = {**metrics.get("undefined", {}), "by_case": metrics.get("by_case_reason")}
    for name, value in metrics.items():
        reason = f" ({reasons[name]})" if reasons.get(name) else ""
        if name in task.counts and value is not None:
            for label, counts in zip(task.names, value, strict=True):
                print_lines({f"{of}{name}, {label}": figure(dict(zip(task.names, counts, strict=True)))})
        elif name not in ("undefined", "by_case_reason") and (name != "by_case" or value is None):
            print_lines({f"{of}{name}": f"{figure(value)}{reason}"})


def print_sites(found: Sequence[Mapping[str, Any]], task: Task) -> None:
    """Print a column of figures for each site, a few sites in a table, and below why some are not defined."""
    shown = {**task.figures, **task.details}
    for first in range(0, len(found), SITES_BESIDE):
        beside = found[first : first + SITES_BESIDE]
        table = Table("site", *(Column(Text(_plain(site_name(one[SITE])))) for one in beside))
        rows = {"slides": [str(one["n_slides"]) for one in beside], "cases": [str(one["n_cases"]) for one in beside]}
        rows |= {title: [figure(one[name]) for one in beside] for name, title in shown.items()}
        for name in task.names:
            for kind in ("predicted", "observed"):
                rows[f"{name}, {kind}"] = [figure(one[MEANS][name][kind]) for one in beside]
        for title, cells in rows.items():
            table.add_row(*map(Text, map(_plain, [title, *cells])))
        stdout.print(table)
    for one in found:
        print_lines({f"{site_name(one[SITE])}, {shown[name]}": reason for name, reason in one["undefined"].items()})


def figure(value: object) -> str:
    """Return a number, an interval or named figures as text; "not defined" for None."""
    if value is None:
        return "not defined"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {figure(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return " - ".join(map(figure, value))
    return str(value)


def word(value: object) -> str:
    """Return a yes or no, a mapping, a list or another value as text; "not known" for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return UNKNOWN if value is None else str(value)


def _levels(levels: list[list[float]]) -> str:
    return ", ".join(f"{width} x {height} (1/{downsample:g})" for width, height, downsample in levels)


def _plain(text: str) -> str:
    return "\n".join(map(printable, text.split("\n")))
