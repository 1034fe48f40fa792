"""Print what a model answered and how well: predictions, patients, the arms of a run and their figures."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table
from rich.text import Text

from lrmil.cli.printing import figure, plain, print_lines, stdout
from lrmil.prediction.doubts import status_in_words, threshold_in_words
from lrmil.runs.arms import ARM_NAMES
from lrmil.runs.differences import difference_sentence, find_differences
from lrmil.tasks.by_site import MEANS, SITE, site_name
from lrmil.tasks.case_rule import RULE_WORDS, CaseRule
from lrmil.tasks.choice import kind_in
from lrmil.tasks.task import Task

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle
    from lrmil.prediction.patients import PatientRow
    from lrmil.prediction.table import PredictionRow

SITES_BESIDE = 3  # columns of a table that a terminal of 80 characters has room for


def print_rows(rows: "list[PredictionRow]", task: Task) -> None:
    """Print predictions as a table, then why some are uncertain, the failures and notes."""
    table = Table("slide", "status", "label", "probability", "patches", "seconds")
    for row in rows:
        value = row.probabilities.get(row.label)  # none where the label itself is the figure
        probability = "" if value is None else f"{value:.3f}"
        counts = [f"{row.n_patches - row.failed_patches} of {row.n_patches}", f"{row.seconds:.1f}"]
        table.add_row(*map(Text, map(plain, [row.slide_id, row.status, row.label, probability, *counts])))
    stdout.print(table)
    for row in rows:
        uncertain = row.status == "uncertain"
        doubts = f"{status_in_words(row.status, row.reason.split(), task)}." if uncertain else ""
        for sentence in (doubts, row.message, *row.notes):
            if sentence:
                stdout.print(f"{row.slide_id}: {sentence}", markup=False)


def print_thresholds(rows: "list[PredictionRow]", bundle: "Bundle") -> None:
    """Print from which probability on the positive class is the answer, of a model, and of its teacher if asked."""
    task = bundle.task
    if rule := threshold_in_words(bundle.decision.threshold, task):
        stdout.print(f"{rule}.", markup=False)
    closer = threshold_in_words(bundle.decision_of(teacher=True).threshold, task)
    if closer and any(row.looked_closer for row in rows):
        stdout.print(f"Where the teacher looked closer, {closer}.", markup=False)


def print_patients(rows: "list[PatientRow]") -> None:
    """Print the answers for patients as a table, then which slides failed."""
    table = Table("patient", "status", "label", "probability", "slides")
    for row in rows:
        value = row.probabilities.get(row.label)
        probability = "" if value is None else f"{value:.3f}"
        slides = f"{row.n_slides - row.failed_slides} of {row.n_slides}"
        table.add_row(*map(Text, map(plain, [row.case_id, row.status, row.label, probability, slides])))
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
        table = Table("site", *(Column(Text(plain(site_name(one[SITE])))) for one in beside))
        rows = {"slides": [str(one["n_slides"]) for one in beside], "cases": [str(one["n_cases"]) for one in beside]}
        rows |= {title: [figure(one[name]) for one in beside] for name, title in shown.items()}
        for name in task.names:
            for kind in ("predicted", "observed"):
                rows[f"{name}, {kind}"] = [figure(one[MEANS][name][kind]) for one in beside]
        for title, cells in rows.items():
            table.add_row(*map(Text, map(plain, [title, *cells])))
        stdout.print(table)
    for one in found:
        print_lines({f"{site_name(one[SITE])}, {shown[name]}": reason for name, reason in one["undefined"].items()})
