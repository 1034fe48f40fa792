"""`lrmil encoders`: list the encoders of the catalogue."""

import argparse

from lrmil.cli.arguments import Commands, add_json, command

SUMMARY = "list pathology encoders that lrmil knows by name"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil encoders`."""
    parser = command(commands, "encoders", SUMMARY, "lrmil encoders", run)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the encoders of the catalogue, and why some known ones cannot be loaded."""
    from rich.table import Column, Table
    from rich.text import Text

    from lrmil.cli.printing import UNKNOWN, print_json, stdout, word
    from lrmil.models.encoders.catalogue import CATALOGUE, UNSUPPORTED, catalogue_facts

    if options.json:
        print_json({"encoders": [catalogue_facts(name) for name in CATALOGUE], "not_loadable": dict(UNSUPPORTED)})
        return 0
    table = Table(*(Column(name, no_wrap=True) for name in ("name", "embedding", "dim", "px", "um/px")), box=None)
    for name, width in (("licence", 15), ("gated", 5), ("student inherits", 8)):  # so that the table is 80 columns wide
        table.add_column(name, min_width=width, overflow="fold")
    for name, entry in CATALOGUE.items():
        numbers = [str(entry.dim), str(entry.size), "-" if entry.mpp is None else f"{entry.mpp:g}"]
        terms = [entry.licence or UNKNOWN, word(entry.gated), word(entry.inherits)]
        table.add_row(*map(Text, [name, entry.embedding, *numbers, *terms]))
    stdout.print(table)
    for name, reason in UNSUPPORTED.items():
        stdout.print(f"{name} cannot be loaded: {reason}.", markup=False)
    stdout.print("px: side of a patch; um/px -: not stated by its authors", markup=False)
    stdout.print("To check whether one can be used here: lrmil doctor --encoder NAME", markup=False)
    return 0
