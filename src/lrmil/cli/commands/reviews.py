"""`lrmil reviews`: list the newest review of each slide and model."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.cli.arguments import Commands, add_json, command

if TYPE_CHECKING:
    from lrmil.reviews.entry import Review

SUMMARY = "list the newest review of each slide and model"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil reviews`."""
    parser = command(commands, "reviews", SUMMARY, "lrmil reviews reviews.jsonl", run)
    parser.add_argument("log", type=Path, metavar="LOG", help="review log (reviews.jsonl)")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--csv", type=Path, metavar="OUT.csv", help="write a table to this file instead of printing it")
    add_json(form)


def run(options: argparse.Namespace) -> int:
    """Print or write the newest review of each slide and model."""
    from lrmil.cli.printing import print_json, stdout
    from lrmil.cli.review_logs import review_log_at
    from lrmil.reviews.log import latest_reviews, plain_of
    from lrmil.reviews.table import write_review_table
    from lrmil.slides.inputs import Inputs

    log = review_log_at(options.log)
    latest = list(latest_reviews(log.reviews).values())
    if options.csv:
        Inputs(others=[options.log]).require_clear([options.csv])
        write_review_table(options.csv, latest)
        stdout.print(str(options.csv), markup=False)
    elif options.json:
        print_json({"reviews": [plain_of(review) for review in latest], "unreadable_lines": list(log.unreadable)})
    else:
        _print_reviews(latest)
    return 0


def _print_reviews(reviews: "Sequence[Review]") -> None:
    from rich.table import Table
    from rich.text import Text

    from lrmil.cli.printing import stdout

    table = Table("slide", "model", "output", "decision", "label", "reviewer", "time", "note")
    for review in reviews:
        words = [review.slide_id, review.bundle_sha256[:12], review.output_label, review.decision or ""]
        table.add_row(*map(Text, [*words, review.human_label, review.reviewer, review.time, review.note]))
    stdout.print(table)
