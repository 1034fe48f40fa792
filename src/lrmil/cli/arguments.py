"""Options that several commands share, each added to a parser in one place."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
Run = Callable[[argparse.Namespace], int]


def command(commands: Commands, name: str, summary: str, example: str, run: Run) -> argparse.ArgumentParser:
    """Add a command with its summary, an example and the function that does it."""
    parser = commands.add_parser(
        name,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def count(text: str) -> int:
    """Read a whole number of 1 or more."""
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {count}")
    return count


def share(text: str) -> float:
    """Read a probability."""
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability from 0 to 1, got {text}")
    return share


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Slides, the labels table, and how it is read."""
    parser.add_argument("slides", type=Path, metavar="SLIDES", help="folder of slides, searched recursively")
    parser.add_argument(
        "labels", type=Path, metavar="LABELS", help="csv, tsv or xlsx with slide_id, label, [case_id, ...]"
    )

    columns = parser.add_argument_group("columns of LABELS, where their names do not tell")
    columns.add_argument("--slide-column", default="", metavar="NAME", help="names of slides")
    text = "patients; where no column names slides, a row's label counts for all slides whose name begins so"
    columns.add_argument("--case-column", default="", metavar="NAME", help=text)
    columns.add_argument("--label-column", default="", metavar="NAME", help="classes")
    text = "leave out rows whose slide is not there, as in a registry of more slides than the folder has"
    parser.add_argument("--skip-missing", action="store_true", help=text)


def add_positive(parser: argparse.ArgumentParser) -> None:
    """What is predicted, and the positive class."""
    text = "the positive one of two classes, where their names do not tell"
    parser.add_argument("--positive", default="", metavar="CLASS", help=text)
    parser.add_argument("--task", default="", metavar="NAME", help="what the labels say (default: classification)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model folder."""
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder, such as RUN/model")


def add_mpp(parser: argparse.ArgumentParser, *, one: bool = False) -> None:
    """The ways to give resolutions of level 0; with `one` slide, no table."""
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--mpp", help="resolution of level 0 in um/px (or 40x), in place of the slide's own")
    if not one:
        add_mpp_table(ways)
    add_power(parser)


def add_mpp_table(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    """A table of resolutions."""
    text = "csv, tsv or xlsx with slide_id and mpp: resolutions of level 0 in place of the slides' own"
    parser.add_argument("--mpp-table", type=Path, metavar="FILE", help=text)


def add_power(parser: argparse.ArgumentParser) -> None:
    """Whether the stated magnification may stand in for um/px."""
    text = "let the stated magnification stand in for a missing resolution: 10 um/px divided by it"
    parser.add_argument("--use-objective-power", action="store_true", help=text)


def add_checksums(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    """A list of checksums."""
    text = "list of md5sum, sha256sum or a table such as GDC's manifest: read slides whole first, refuse changed ones"
    parser.add_argument("--checksums", type=Path, metavar="FILE", help=text)


def add_tissue(parser: argparse.ArgumentParser) -> None:
    """Tissue masks."""
    parser.add_argument(
        "--tissue",
        type=Path,
        metavar="DIR",
        help="folder of tissue masks to use instead: edited ones (<slide_id>.tissue.ome.zarr), TRIDENT's contours or "
        "QuPath's annotations (<slide_id>.geojson), HistoQC's <slide_id>_mask_use.png; or the mask of the one slide",
    )


def add_bounds(parser: argparse.ArgumentParser) -> None:
    """From which corner GeoJSON counts."""
    text = "GeoJSON counts from the corner of the scanned area, as QuPath does for MRXS (OpenSlide's bounds)"
    parser.add_argument("--subtract-bounds", action="store_true", help=text)


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Resolution and side of patches."""
    add_at(parser)
    parser.add_argument("--patch-size", type=int, default=256, help="side in pixels (default: %(default)s)")


def add_at(parser: argparse.ArgumentParser) -> None:
    """Resolution of patches."""
    text = "resolution of the patches in um/px, or 5x (default: %(default)s)"
    parser.add_argument("--at", default="2.0", metavar="RESOLUTION", help=text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """The device."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    """Patches that are encoded together."""
    parser.add_argument("--batch-size", type=count, default=64, help="patches encoded together (default: %(default)s)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Threads that read the slide."""
    default = min(8, os.cpu_count() or 1)
    parser.add_argument(
        "--threads", type=count, default=default, help="threads that read the slide (default: %(default)s)"
    )


def add_json(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    """Output for a program."""
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")
