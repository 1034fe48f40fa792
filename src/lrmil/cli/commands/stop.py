"""`lrmil stop`: end a training so that the same command goes on from there."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import Commands, command

SUMMARY = "end a training so that the same command goes on from there"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil stop`."""
    parser = command(commands, "stop", SUMMARY, "lrmil stop run", run)
    parser.add_argument("run_folder", type=Path, metavar="RUN")


def run(options: argparse.Namespace) -> int:
    """Ask a training to stop."""
    from lrmil.cli.printing import stdout
    from lrmil.errors import RunError
    from lrmil.runs.control import is_running, request_stop

    folder = options.run_folder
    if not is_running(folder):
        raise RunError(f"Expected a training at work in {folder}. Got none; see `lrmil status {folder}`.")
    request_stop(folder)
    stdout.print("It stops when the step in progress is done. What is finished is kept.", markup=False)
    stdout.print("Next: the same lrmil train command, to go on from there", markup=False)
    return 0
