"""`lrmil card`: show the card of a model, or fill a checklist for a paper from it."""

import argparse
from pathlib import Path

from lrmil.cli.arguments import Commands, add_json, command

SUMMARY = "show what a model is: classes, training, licences"
CHECKLISTS = ("tripod-ai", "claim")


def add(commands: Commands) -> None:
    """Add the parser of `lrmil card`."""
    parser = command(commands, "card", SUMMARY, "lrmil card run/model", run)
    parser.add_argument("model", type=Path, metavar="DIR", help="model folder, such as RUN/model")
    shown = parser.add_mutually_exclusive_group()
    shown.add_argument(
        "--format",
        choices=CHECKLISTS,
        help="print a checklist for a paper as Markdown, filled with what the model states; a person fills in the rest",
    )
    add_json(shown)


def run(options: argparse.Namespace) -> int:
    """Print the card of a model, or a checklist."""
    from dataclasses import asdict

    from lrmil.cli.printing import print_json, print_lines, stdout
    from lrmil.models.card import read_model_card
    from lrmil.reports.model_facts import model_facts

    found = read_model_card(options.model)
    if options.format:
        from lrmil.reports.checklist import checklist
        from lrmil.reports.claim import CLAIM
        from lrmil.reports.tripod_ai import TRIPOD_AI

        lists = dict(zip(CHECKLISTS, (TRIPOD_AI, CLAIM), strict=True))
        stdout.print(checklist(found, lists[options.format]), markup=False, highlight=False, soft_wrap=True, end="")
    elif options.json:
        facts = asdict(found)
        del facts["task"]
        learned = found.learned_from  # as counts: hashes are for looking up
        facts["learned_from"] = learned and {"slides": len(learned.slides), "cases": len(learned.cases)}
        if found.origins:
            facts["origins"].pop("key")
            facts["origins"]["sites"] = len(found.origins.sites)
        print_json(found.task.to_dict() | facts)
    else:
        print_lines(model_facts(found))
    return 0
