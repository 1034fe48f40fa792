"""`lrmil agreement`: measure how readers agree with the model and with each other."""

import argparse
from collections.abc import Iterable
from typing import TYPE_CHECKING

from lrmil.cli.arguments import Commands, add_cases, add_json, add_logs, command

if TYPE_CHECKING:
    from lrmil.reviews.agreement import Agreement, Confusion, Figures, ModelAgreement
    from lrmil.reviews.kappa import Kappa
    from lrmil.reviews.readers import Switches

SUMMARY = "measure how readers agree with the model and each other"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil agreement`."""
    parser = command(commands, "agreement", SUMMARY, "lrmil agreement reviews.jsonl --cases cases.csv", run)
    add_logs(parser)
    add_cases(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the agreement that review logs record."""
    from dataclasses import asdict

    from lrmil.cli.options import table_options_of
    from lrmil.cli.printing import print_json, stdout
    from lrmil.cohorts.case_table import read_cases
    from lrmil.reviews.agreement import agreement_in
    from lrmil.reviews.several import read_logs

    logs, cases = read_logs(options.logs), None
    if options.cases:
        slide_ids = {one.review.slide_id for one in logs.entries}
        cases = read_cases(options.cases, slide_ids, table_options_of(options))
    found = agreement_in(logs, case_of=cases.by_slide if cases else None)
    if options.json:
        print_json(asdict(found) | {"slides_without_case": list(cases.without) if cases else None})
        return 0 if found.models else 1
    _print(found)
    if cases and cases.without:
        stdout.print(f"Slides without a case, each drawn alone: {len(cases.without)}.")
    return 0 if found.models else 1


def _print(found: "Agreement") -> None:
    from lrmil.cli.printing import stdout

    for model in found.models:
        _print_model(model)
    if found.pairs:
        stdout.print("\nReaders", style="bold")
        rows = [
            [" / ".join(one.title for one in pair.readers), what, *_kappa(kappa)]
            for pair in found.pairs
            for what, kappa in (("reviews", pair.reviewed), ("answers before the output", pair.before))
        ]
        _print_table(["readers", "labels", *KAPPA], rows)
    for sentence in (*found.not_in_the_logs, *found.notes):
        stdout.print(sentence, markup=False)


KAPPA = ("pairs", "equal", "kappa", "95 % interval")


def _print_model(model: "ModelAgreement") -> None:
    from lrmil.cli.printing import stdout

    stdout.print(f"\nModel {model.bundle_sha256[:12]}", style="bold", markup=False)
    every = {"all": model.all_readers, **{f"reader {one.reader.title}": one.figures for one in model.readers}}
    rows = [[who, what, *_kappa(kappa)] for who, figures in every.items() for what, kappa in _parts(figures).items()]
    _print_table(["readers", "labels", *KAPPA], rows)
    columns = ["readers", "reviews", "agree", "override", "uncertain", "median seconds", "quartiles", "measured"]
    _print_table(columns, ([who, *_counts(figures)] for who, figures in every.items()))
    switched = {who: figures.switches for who, figures in every.items() if figures.switches.rate is not None}
    if switched:
        columns = ["readers", "answered first", "changed", "rate", "to the model's label", "away from it", "uncertain"]
        _print_table(columns, ([who, *_switches(found)] for who, found in switched.items()))
    _print_confusion(model.confusion)
    for reason in dict.fromkeys(kappa.reason for figures in every.values() for kappa in _parts(figures).values()):
        if reason:
            stdout.print(reason, markup=False)


def _parts(figures: "Figures") -> "dict[str, Kappa]":
    parts = {
        "reviews": figures.with_model,
        "reviews, read first": figures.read_first,
        "reviews, model first": figures.model_first,
        "answers before the output": figures.before,
    }
    return {name: kappa for name, kappa in parts.items() if kappa.pairs or name == "reviews"}


def _kappa(kappa: "Kappa") -> list[str]:
    from lrmil.cli.printing import figure

    return [str(kappa.pairs), str(kappa.agreed), figure(kappa.kappa), figure(kappa.interval)]


def _counts(figures: "Figures") -> list[str]:
    decisions = [figures.reviews, figures.agree, figures.override, figures.uncertain]
    found = figures.seconds
    seconds = ["", ""] if found.median is None else [f"{found.median:.0f}", f"{found.lower:.0f} - {found.upper:.0f}"]
    return [*map(str, decisions), *seconds, str(found.measured)]


def _switches(found: "Switches") -> list[str]:
    from lrmil.cli.printing import figure

    return [
        *(str(found.answered), str(found.changed), figure(found.rate)),
        *(str(found.to_model), str(found.from_model), str(found.uncertain)),
    ]


def _print_confusion(found: "Confusion") -> None:
    rows = [[label, *map(str, counts)] for label, counts in zip(found.labels, found.counts, strict=True)]
    _print_table(["reader \\ model", *found.labels], rows)


def _print_table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    from rich.table import Column, Table
    from rich.text import Text

    from lrmil.cli.printing import stdout
    from lrmil.errors import printable

    table = Table(*(Column(Text(printable(name)), overflow="fold") for name in columns))
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    stdout.print(table)
