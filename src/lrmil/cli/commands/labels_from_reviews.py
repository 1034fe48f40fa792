"""`lrmil labels-from-reviews`: write the labels table of a training from reviews."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.cli.arguments import Commands, add_cases, add_json, add_logs, command

if TYPE_CHECKING:
    from lrmil.cohorts.reviewed_labels import LeftOut, ReviewedLabels
    from lrmil.reviews.several import Said

SUMMARY = "write a labels table for training from reviews"
EXAMPLE = "lrmil labels-from-reviews reviews.jsonl --slides slides --out labels.csv"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil labels-from-reviews`."""
    parser = command(commands, "labels-from-reviews", SUMMARY, EXAMPLE, run)
    add_logs(parser)
    text = "folder of slides, with its subfolders; may be repeated"
    parser.add_argument("--slides", type=Path, required=True, action="append", metavar="SLIDES", help=text)
    parser.add_argument("--out", type=Path, required=True, metavar="OUT.csv", help="table to write")
    add_cases(parser)
    text = (
        "slides whose newest reviews by different readers or in different logs differ: list leaves them out and lists "
        "them (default), newest takes the newest review"
    )
    parser.add_argument("--conflicts", choices=["list", "newest"], default="list", help=text)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Write the table, and print which slides are left out."""
    from lrmil.cli.options import table_options_of
    from lrmil.cli.printing import print_json, stderr
    from lrmil.cli.progress import show
    from lrmil.cohorts.reviewed_labels import labels_from_reviews_steps

    steps = labels_from_reviews_steps(
        options.logs,
        options.slides,
        options.out,
        cases=options.cases,
        conflicts=options.conflicts,
        options=table_options_of(options),
    )
    found = show(steps, stderr)
    if options.json:
        print_json(_plain(found))
    else:
        _print(found)
    return 0 if found.table else 1


def _plain(found: "ReviewedLabels") -> dict[str, object]:
    labels = [{"slide_id": one.slide_id, "case_id": one.case_id, **_said(one.said)} for one in found.labels]
    left_out = [
        {"slide_id": one.slide_id, "why": one.why, "reviews": [_said(said) for said in one.said]}
        for one in found.left_out
    ]
    table = str(found.table) if found.table else None
    return {"table": table, "labels": labels, "left_out": left_out, "notes": list(found.notes)}


def _said(said: "Said") -> dict[str, object]:
    review = said.review
    names = ("human_label", "decision", "reviewer", "human_first", "time", "slide_fingerprint", "bundle_sha256")
    return {**{name: getattr(review, name) for name in names}, "log": said.log}


def _print(found: "ReviewedLabels") -> None:
    from rich.table import Column, Table
    from rich.text import Text

    from lrmil.cli.printing import stdout
    from lrmil.errors import printable

    if found.left_out:
        table = Table(*(Column(name, overflow="fold") for name in ("slide", "left out", "newest reviews")))
        for one in found.left_out:
            table.add_row(*(Text(printable(text)) for text in (one.slide_id, one.why, _words(one))))
        stdout.print(table)
    for note in found.notes:
        stdout.print(note, markup=False)
    if found.table is None:
        stdout.print("No slide has a label from these reviews, so no table was written.")
    else:
        stdout.print(f"{found.table}: {len(found.labels)} labels, {len(found.left_out)} left out.", markup=False)


def _words(one: "LeftOut") -> str:
    return "; ".join(
        f"{said.review.human_label or said.review.decision} ({said.review.reviewer or said.log}, {said.review.time})"
        for said in one.said
    )
