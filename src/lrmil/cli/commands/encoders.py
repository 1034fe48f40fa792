"""The commands on encoders: the list of those known by name, and whether one can be had."""

import argparse

from rich.table import Column, Table
from rich.text import Text

from lrmil.cli.printing import print_json, printed
from lrmil.models.encoders.catalogue import CATALOGUE, UNSUPPORTED
from lrmil.models.encoders.facts import catalogue_facts, encoder_facts

UNKNOWN = "not known"


def encoders(options: argparse.Namespace) -> int:
    """List the encoders of the catalogue, and why others are not in it."""
    if options.json:
        print_json({"encoders": [catalogue_facts(name) for name in CATALOGUE], "not_loadable": dict(UNSUPPORTED)})
        return 0
    table = Table(*(Column(name, no_wrap=True) for name in ("name", "embedding", "dim", "px", "um/px")), box=None)
    for name, width in (("licence", 15), ("gated", 5), ("student inherits", 8)):  # in all 80 columns wide
        table.add_column(name, min_width=width, overflow="fold")
    for name, entry in CATALOGUE.items():
        numbers = [str(entry.dim), str(entry.size), "-" if entry.mpp is None else f"{entry.mpp:g}"]
        terms = [entry.licence or UNKNOWN, _word(entry.gated), _word(entry.inherits)]
        table.add_row(*map(Text, [name, entry.embedding, *numbers, *terms]))
    printed.print(table)
    for name, reason in UNSUPPORTED.items():
        printed.print(f"{name} cannot be loaded: {reason}.", markup=False)
    printed.print("px: side of its patches; um/px -: its authors do not state one", markup=False)
    printed.print("Whether one can be had here: lrmil doctor --encoder NAME", markup=False)
    return 0


def print_encoder(name: str, *, as_json: bool) -> int:
    """Say whether an encoder can be had here."""
    facts, can_be_had = encoder_facts(name)
    if as_json:
        print_json(facts)
    else:
        for key, value in facts.items():
            if value != "":
                shown = value if isinstance(value, str | int | float) and not isinstance(value, bool) else _word(value)
                printed.print(f"{key.replace('_', ' ')}: {shown}", markup=False)
    return 0 if can_be_had else 1


def _word(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return UNKNOWN if value is None else str(value)
