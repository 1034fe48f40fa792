"""`lrmil encoders`: list the encoders of the catalogue."""

import argparse

from lrmil.cli.arguments import Commands, add_json, command

SUMMARY = "the pathology encoders that are known by name"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil encoders`."""
    parser = command(commands, "encoders", SUMMARY, "lrmil encoders", run)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """List the encoders of the catalogue, and why others are not in it."""
    from rich.table import Column, Table
    from rich.text import Text

    from lrmil.cli.printing import UNKNOWN, print_json, stdout, word
    from lrmil.models.encoders.catalogue import CATALOGUE, UNSUPPORTED
    from lrmil.models.encoders.facts import catalogue_facts

    if options.json:
        print_json({"encoders": [catalogue_facts(name) for name in CATALOGUE], "not_loadable": dict(UNSUPPORTED)})
        return 0
    table = Table(*(Column(name, no_wrap=True) for name in ("name", "embedding", "dim", "px", "um/px")), box=None)
    for name, width in (("licence", 15), ("gated", 5), ("student inherits", 8)):  # in all 80 columns wide
        table.add_column(name, min_width=width, overflow="fold")
    for name, entry in CATALOGUE.items():
        numbers = [str(entry.dim), str(entry.size), "-" if entry.mpp is None else f"{entry.mpp:g}"]
        terms = [entry.licence or UNKNOWN, word(entry.gated), word(entry.inherits)]
        table.add_row(*map(Text, [name, entry.embedding, *numbers, *terms]))
    stdout.print(table)
    for name, reason in UNSUPPORTED.items():
        stdout.print(f"{name} cannot be loaded: {reason}.", markup=False)
    stdout.print("px: side of its patches; um/px -: its authors do not state one", markup=False)
    stdout.print("Whether one can be had here: lrmil doctor --encoder NAME", markup=False)
    return 0
