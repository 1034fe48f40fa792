"""`lrmil validate`: check a cohort before training."""

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrmil.cli.arguments import Commands, add_checksums, add_cohort, add_json, add_positive, command, count, share

if TYPE_CHECKING:
    from lrmil.cohorts.columns import Problem

SUMMARY = "check slides and labels table before training"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil validate`."""
    parser = command(commands, "validate", SUMMARY, "lrmil validate slides labels.csv", run)
    add_cohort(parser)
    add_positive(parser)
    parser.add_argument(
        "--folds", type=int, default=5, help="folds of the cross-validation you plan (default: %(default)s)"
    )
    text = "share of the cases you plan to keep aside as test part, in place of folds (default: 0)"
    parser.add_argument("--test-fraction", type=share, default=0.0, help=text)
    parser.add_argument("--mpp-hr", default="0.5", help="HR resolution you plan to train with (default: 0.5)")
    parser.add_argument("--mpp-lr", default="2.0", help="LR resolution you plan to train with (default: 2.0)")
    text = "side of a patch in pixels that you plan to train with (default: %(default)s)"
    parser.add_argument("--patch-size", type=count, default=256, help=text)
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--table-only", action="store_true", help="check only the table and the file names; open no slide"
    )
    add_checksums(depth)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    """Print every problem of a cohort."""
    from dataclasses import asdict

    from lrmil.cli.options import table_options_of, with_checksums
    from lrmil.cli.printing import exit_code, print_json, stderr, stdout
    from lrmil.cli.progress import show
    from lrmil.cohorts.cohort import validate_cohort
    from lrmil.cohorts.forecast import expectation, few_patches
    from lrmil.cohorts.screening import Screened, far_levels, near_duplicates, screen_steps, sources_of, unusable
    from lrmil.geometry import resolution_ratio
    from lrmil.slides.resolution import parse_mpp

    mpp, lr = parse_mpp(options.mpp_hr), parse_mpp(options.mpp_lr)
    children = resolution_ratio(lr, mpp)  # a training refuses others
    report = validate_cohort(
        options.slides,
        options.labels,
        folds=options.folds,
        options=table_options_of(options),
        test_fraction=options.test_fraction,
    )
    problems, screened = list(report.problems), tuple[Screened, ...]()
    if not options.table_only:
        sources = with_checksums(sources_of(options.slides, report), options.checksums)
        screened = show(screen_steps(sources, mpp=mpp, lr=lr), stderr)
        problems += [
            *unusable(screened),
            *far_levels(screened, lr),
            *few_patches(screened, mpp=lr, size=options.patch_size),
            *(near_duplicates(screened, report.cohort) if report.cohort else []),
        ]
    failed = sum(bool(slide.problem) for slide in screened)
    if options.json:
        print_json({"ok": report.ok, "problems": [asdict(problem) for problem in problems]})
        return 0 if report.ok and not failed else 1
    if problems:
        _print_problems(problems)
    if report.cohort is None:
        stdout.print("Fix the errors above, then validate again.")
        return 1
    stdout.print(f"{len(report.cohort.slides) - failed} slides can be trained on.")
    if foretold := expectation(screened, mpp=lr, size=options.patch_size, children=children):
        stdout.print(foretold, markup=False)
    return exit_code(failed, len(report.cohort.slides))


def _print_problems(problems: "Sequence[Problem]") -> None:
    from rich.table import Column, Table
    from rich.text import Text

    from lrmil.cli.printing import stdout

    table = Table(*(Column(name, overflow="fold") for name in ("row", "column", "", "problem", "remedy")))
    for problem in problems:
        cell = [str(problem.row or ""), problem.column or ""]
        table.add_row(*map(Text, [*cell, problem.severity, problem.message, problem.hint]))
    stdout.print(table)
