"""`lrmil inspect`: show what lrmil reads from a slide."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.cli.arguments import Commands, add_checksums, add_grid, add_json, add_mpp, add_tissue, command

if TYPE_CHECKING:
    from lrmil.patches.tissue import GivenMask
    from lrmil.slides.each import Work
    from lrmil.slides.source import SlideSource

SUMMARY = "show format, um/px, tissue and patches of slides"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil inspect`."""
    parser = command(commands, "inspect", SUMMARY, "lrmil inspect a.svs", run)
    parser.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="files or folders")
    add_mpp(parser)
    add_checksums(parser)
    add_tissue(parser)
    add_grid(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print the facts of each slide. A slide that fails does not stop the others."""
    from functools import partial

    from lrmil.cli.options import masks_in, slides_of
    from lrmil.cli.printing import exit_code, print_facts, print_json
    from lrmil.slides.each import each
    from lrmil.slides.resolution import parse_mpp

    lr, sources = parse_mpp(options.at), slides_of(options)
    masks = masks_in(options.tissue, sources)
    inspect_one: Work[dict[str, object]] = partial(_inspect_one, lr=lr, size=options.patch_size, masks=masks)
    documents: list[dict[str, object]] = []
    for step in each(inspect_one, sources, job=("inspect",), names_outputs=False):
        if (outcome := step.result) is None:
            continue
        path = str(outcome.source.path)
        if outcome.failure is None:
            documents.append({"path": path, "status": "ok", **(outcome.value or {})})
        else:
            documents.append({"path": path, "status": "failed", **outcome.failure._asdict()})
        if not options.json:
            print_facts(documents[-1])
    failed = sum(document["status"] == "failed" for document in documents)
    if options.json:
        print_json(documents)
    return exit_code(failed, len(documents))


def _inspect_one(source: "SlideSource", *, lr: float, size: int, masks: "Mapping[str, GivenMask]") -> dict[str, object]:
    from lrmil.patches.inspection import inspect_slide

    return inspect_slide(source, lr=lr, size=size, mask=masks.get(source.slide_id))
