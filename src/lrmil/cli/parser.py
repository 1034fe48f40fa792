"""The parser of `lrmil`, with its commands in four groups. It imports nothing slow, so that help is immediate."""

import argparse
from types import ModuleType

from lrmil import __version__
from lrmil.cli.commands import (
    agreement,
    audit,
    card,
    case,
    demo,
    distil,
    doctor,
    encoders,
    evaluate,
    export,
    extract,
    inspect,
    labels_from_reviews,
    predict,
    report,
    reviews,
    status,
    stop,
    train,
    validate,
)

GROUPS = {
    "slides": (inspect, predict, case, extract),
    "models": (encoders, card, evaluate, doctor),
    "runs": (validate, distil, train, status, stop, report, audit, demo),
    "records": (reviews, labels_from_reviews, agreement, export),
}
DESCRIPTION = "Whole-slide classification from low-resolution pixels."
EPILOG = "Model output is not a diagnosis. For research use. Method: arXiv 2606.06864."


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands; the options that it parses have the command's function as `run`."""
    parser = argparse.ArgumentParser(
        prog="lrmil",
        description=f"{DESCRIPTION}\n\n{_listing()}",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lrmil {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="also print informative log messages to stderr")
    text = "one of the commands above; `lrmil COMMAND --help` shows its options and an example"
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", help=text)
    for group in GROUPS.values():
        for one in group:
            one.add(commands)
    return parser


def name_of(module: ModuleType) -> str:
    """Return the name of the command that a module of `lrmil.cli.commands` runs."""
    return module.__name__.rpartition(".")[2].replace("_", "-")


def _listing() -> str:
    """Return one line for each command, below the name of its group."""
    commands = {one: name_of(one) for group in GROUPS.values() for one in group}
    width = max(map(len, commands.values()))
    lines = []
    for name, group in GROUPS.items():
        lines.append(f"{name}:")
        lines += [f"  {commands[one]:{width}}  {one.SUMMARY}" for one in group]
    return "\n".join(lines)
