"""`lrmil report`: write the report of a run again."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import Commands, command
from lrmil.collector import without_collections

SUMMARY = "write the report of a run again"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil report`."""
    parser = command(commands, "report", SUMMARY, "lrmil report run", run)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="run folder")


def run(options: argparse.Namespace) -> int:
    """Write the report of a run and print its path."""
    with without_collections():
        from lrmil.cli.printing import stdout
        from lrmil.reports.run_report import write_report

    stdout.print(str(write_report(options.run_folder)), markup=False)
    return 0
