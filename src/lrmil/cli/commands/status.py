"""`lrmil status`: show the progress of a training."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.cli.arguments import Commands, add_json, command

if TYPE_CHECKING:
    from lrmil.runs.watch import RunStatus

SUMMARY = "show the progress of a training, running or ended"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil status`."""
    parser = command(commands, "status", SUMMARY, "lrmil status run", run)
    parser.add_argument("run_folder", type=Path, metavar="RUN", help="run folder")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the state of a training and how far it is."""
    from dataclasses import asdict

    from lrmil.cli.printing import print_json, print_lines
    from lrmil.runs.watch import read_status
    from lrmil.steps import job_text

    found = read_status(options.run_folder)
    if options.json:
        print_json(asdict(found) | {"job": job_text(found.job)})
    else:
        print_lines(_status_lines(found))
    return 1 if found.state == "absent" else 0


def _status_lines(found: "RunStatus") -> dict[str, str]:
    lines: dict[str, str] = {"state": found.state}
    if found.stage:
        progress = f" ({found.done} of {found.total} {found.unit})" if found.total else ""
        lines["stage"] = f"{found.stage}{progress}{_time_left(found.stage_seconds_left)}"
    if found.place:
        lines["folds"] = f"{found.place}{_time_left(found.seconds_left)}"
    if found.epochs:
        last = found.epochs[-1]
        figures = ", ".join(f"{name} {value:.4g}" for name, value in last.metrics.items())
        at = f"step {last.step}" if last.stage == "lr_encoder" and last.step else f"epoch {last.epoch}"
        lines["latest losses"] = f"{last.fold}, {last.stage}, {at}: {figures}"
    if found.message:
        lines["message"] = found.message
    return lines


def _time_left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    hours = f"{minutes // 60} h {minutes % 60} min"
    return f", about {hours if minutes >= 60 else f'{minutes} min' if minutes else f'{seconds:.0f} s'} left"
