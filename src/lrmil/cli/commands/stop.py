"""`lrmil stop`: stop a training; the same command resumes it."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import Commands, command

SUMMARY = "stop a training; the same train command resumes it"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil stop`."""
    parser = command(commands, "stop", SUMMARY, "lrmil stop run", run)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="run folder")


def run(options: argparse.Namespace) -> int:
    """Ask a training to stop."""
    from lrmil.cli.printing import stdout
    from lrmil.errors import RunError
    from lrmil.runs.control import is_running, request_stop

    folder = options.run_folder
    if not is_running(folder):
        raise RunError(f"No training is running in {folder}. See `lrmil status {folder}`.")
    request_stop(folder)
    stdout.print("The training stops after the current step. Finished work is kept.", markup=False)
    stdout.print("To resume: run the same lrmil train command again", markup=False)
    return 0
