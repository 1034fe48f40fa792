"""`lrmil card`: show the card of a model."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import Commands, add_json, command

SUMMARY = "show what a model is: classes, training, licences"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil card`."""
    parser = command(commands, "card", SUMMARY, "lrmil card run/model", run)
    parser.add_argument("model", type=Path, metavar="DIR", help="model folder, such as RUN/model")
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the card of a model."""
    from dataclasses import asdict

    from lrmil.cli.printing import print_json, print_lines
    from lrmil.models.card import read_model_card
    from lrmil.reports.model_facts import model_facts

    found = read_model_card(options.model)
    if options.json:
        facts = asdict(found)
        del facts["task"]
        learned = found.learned_from  # as counts: hashes are for looking up
        facts["learned_from"] = learned and {"slides": len(learned.slides), "cases": len(learned.cases)}
        if found.origins:
            facts["origins"].pop("key")
            facts["origins"]["sites"] = len(found.origins.sites)
        print_json(found.task.to_dict() | facts)
        return 0
    print_lines(model_facts(found))
    return 0
