"""Options that several commands share, each added to a parser in one place."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from lrmil.errors import ConfigError
from lrmil.presets import PRESETS, SUMMARIES
from lrmil.slides.shards import Shard

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
MOST_THREADS = 8  # by default: more than decode what an encoder takes
Run = Callable[[argparse.Namespace], int]


def command(commands: Commands, name: str, summary: str, example: str, run: Run) -> argparse.ArgumentParser:
    """Add a command to the parser.

    Parameters
    ----------
    commands
        The commands of `lrmil`.
    name
        Name of the command.
    summary
        What it does, without a capital or a full stop.
    example
        A complete command line.
    run
        Function that runs the command and returns the exit code.

    Returns
    -------
    argparse.ArgumentParser
        The parser of the command, without options yet.
    """
    parser = commands.add_parser(
        name,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    return parser


def count(text: str) -> int:
    """Parse a whole number of 1 or more."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {value}")
    return value


def count_or_none(text: str) -> int:
    """Parse a whole number of 0 or more."""
    return count(text) if text != "0" else 0


def share(text: str) -> float:
    """Parse a share that leaves something over, from 0 to below 1."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a share from 0 to below 1, got {text}")
    return value


def probability(text: str) -> float:
    """Parse a probability from 0 to 1."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability from 0 to 1, got {text}")
    return value


def shard(text: str) -> Shard:
    """Parse one of N shares, such as 1/8."""
    try:
        return Shard.parse(text)
    except ConfigError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def add_cohort(parser: argparse.ArgumentParser) -> None:
    """Add the slide folder, the labels table and the options for reading the table."""
    parser.add_argument("slides", type=Path, metavar="SLIDES", help="folder of slides, with its subfolders")
    parser.add_argument(
        "labels", type=Path, metavar="LABELS", help="csv, tsv or xlsx with columns slide_id, label and perhaps case_id"
    )

    columns = parser.add_argument_group("columns of LABELS, if lrmil does not recognise their names")
    columns.add_argument("--slide-column", default="", metavar="NAME", help="column of slide names")
    text = "column of patients; without a column of slide names, a label applies to all slides named after the patient"
    columns.add_argument("--case-column", default="", metavar="NAME", help=text)
    columns.add_argument("--label-column", default="", metavar="NAME", help="column of classes")
    text = "skip rows whose slide is not in the folder, for example if LABELS is a registry"
    parser.add_argument("--skip-missing", action="store_true", help=text)


def add_logs(parser: argparse.ArgumentParser) -> None:
    """Add one or several review logs."""
    text = "review log (reviews.jsonl); several are read as one, in any order"
    parser.add_argument("logs", type=Path, nargs="+", metavar="LOG", help=text)


def add_cases(parser: argparse.ArgumentParser) -> None:
    """Add a table of cases, and the columns to read."""
    text = "csv, tsv or xlsx with columns slide_id and case_id (the patient)"
    parser.add_argument("--cases", type=Path, metavar="TABLE", help=text)
    parser.add_argument("--slide-column", default="", metavar="NAME", help="column of slide names in TABLE")
    parser.add_argument("--case-column", default="", metavar="NAME", help="column of patients in TABLE")


def add_positive(parser: argparse.ArgumentParser) -> None:
    """Add the task, and the positive class."""
    text = "the positive one of two classes, if the names do not show it"
    parser.add_argument("--positive", default="", metavar="CLASS", help=text)
    parser.add_argument("--task", default="", metavar="NAME", help="what is predicted (default: classification)")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the model folder."""
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder, such as RUN/model")


def add_mpp(parser: argparse.ArgumentParser, *, one: bool = False) -> None:
    """Add the options for the resolution of level 0.

    Parameters
    ----------
    parser
        The parser of a command.
    one
        True for a command on one slide, which takes no table.
    """
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--mpp", help="resolution of level 0 in um/px, or 40x; replaces the slide's own")
    if not one:
        add_mpp_table(ways)
    add_power(parser)


def add_mpp_table(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    """Add a table of resolutions."""
    text = "csv, tsv or xlsx with columns slide_id and mpp: resolution of level 0 of each slide; replaces its own"
    parser.add_argument("--mpp-table", type=Path, metavar="FILE", help=text)


def add_power(parser: argparse.ArgumentParser) -> None:
    """Add the option to derive a missing um/px from the magnification."""
    text = "if a slide states only its magnification, use 10 / magnification as um/px"
    parser.add_argument("--use-objective-power", action="store_true", help=text)


def add_checksums(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    """Add a list of checksums."""
    text = "output of md5sum or sha256sum, or a table such as GDC's manifest: verify each slide, refuse changed ones"
    parser.add_argument("--checksums", type=Path, metavar="FILE", help=text)


def add_tissue(parser: argparse.ArgumentParser) -> None:
    """Add tissue masks."""
    parser.add_argument(
        "--tissue",
        type=Path,
        metavar="DIR",
        help="folder of tissue masks to use instead of the detected tissue: masks edited in napari "
        "(<slide_id>.tissue.ome.zarr), TRIDENT contours or QuPath annotations (<slide_id>.geojson), HistoQC masks "
        "(<slide_id>_mask_use.png); for a single slide also the mask file itself",
    )


def add_regions(parser: argparse.ArgumentParser) -> None:
    """Add regions that a person drew."""
    parser.add_argument(
        "--regions",
        type=Path,
        metavar="FILE",
        help="classify only the tissue inside the annotations of QuPath (GeoJSON), without those of a class Ignore* or "
        "Exclude: the file of a single slide, or a folder with <slide_id>.geojson of every slide",
    )


def add_bounds(parser: argparse.ArgumentParser) -> None:
    """Add the choice of the origin of GeoJSON."""
    text = "GeoJSON is relative to the corner of the scanned area (OpenSlide's bounds), as QuPath shows MRXS"
    parser.add_argument("--subtract-bounds", action="store_true", help=text)


def add_grid(parser: argparse.ArgumentParser) -> None:
    """Add resolution and side of patches."""
    add_at(parser)
    text = "side of a patch in pixels (default: %(default)s)"
    parser.add_argument("--patch-size", type=count, default=256, help=text)


def add_at(parser: argparse.ArgumentParser) -> None:
    """Add the resolution of patches."""
    text = "resolution of the patches in um/px, or 5x (default: %(default)s)"
    parser.add_argument("--at", default="2.0", metavar="RESOLUTION", help=text)


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add the device."""
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")


def add_batch_size(parser: argparse.ArgumentParser) -> None:
    """Add the batch size."""
    parser.add_argument("--batch-size", type=count, default=64, help="patches encoded together (default: %(default)s)")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the number of threads that read a slide."""
    text = "threads that read slides; 0 for as many as cores (default: %(default)s)"
    parser.add_argument("--threads", type=count_or_none, default=min(MOST_THREADS, os.cpu_count() or 1), help=text)


def add_escalate(parser: argparse.ArgumentParser) -> None:
    """Add the option to let the teacher look closer at uncertain slides."""
    text = (
        "let the teacher of a model that keeps it (train --with-teacher) look closer at uncertain slides, at the finer "
        "pixels of a few regions"
    )
    parser.add_argument("--escalate", action="store_true", help=text)


def add_computing(parser: argparse.ArgumentParser) -> None:
    """Add how slides are read and encoded: batch size, threads and device."""
    add_batch_size(parser)
    add_threads(parser)
    add_device(parser)


def add_workers(parser: argparse.ArgumentParser, *, shards: bool = True) -> None:
    """Add on how many processes and machines slides are processed (docs/cluster.md).

    Parameters
    ----------
    parser
        The parser of a command.
    shards
        Whether the command can process a share of the slides.
    """
    several = parser.add_argument_group("several processes or machines (docs/cluster.md)")
    ways = several.add_mutually_exclusive_group()
    text = "process N slides at a time, each in a process of its own; they share the cores and the threads"
    ways.add_argument("--workers", type=count, default=0, metavar="N", help=text)
    text = "process slides on the workers of a running dask scheduler, such as tcp://host:8786"
    ways.add_argument("--scheduler", default="", metavar="ADDRESS", help=text)
    text = "process only every N-th slide, from the I-th on; without it, the same command gathers the results"
    if shards:
        several.add_argument("--shard", type=shard, metavar="I/N", help=text)


def add_json(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    """Add output for programs."""
    parser.add_argument("--json", action="store_true", help="print JSON, for programs")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the settings of a training: a file or a preset, the encoders, the resolutions, the patches, and any other."""
    settings = parser.add_mutually_exclusive_group()
    settings.add_argument("--config", type=Path, help="TOML file of settings")
    text = "; ".join(f"{name}: {summary}" for name, summary in SUMMARIES.items())
    settings.add_argument("--preset", default="default", choices=list(PRESETS), help=f"named settings; {text}")
    parser.add_argument("--encoder", help="a name from `lrmil encoders`, a timm name, hf-hub:owner/name or a folder")
    parser.add_argument("--student-encoder", help="encoder of the LR model (default: the same)")
    parser.add_argument("--mpp-hr", help="HR resolution in um/px, or 20x (default: 0.5)")
    parser.add_argument("--mpp-lr", help="LR resolution in um/px, or 5x (default: 2.0)")
    text = "side of a patch in pixels (default: the encoder's own; 256 if it takes any)"
    parser.add_argument("--patch-size", type=count, help=text)
    parser.add_argument("--seed", type=int, help="seed for everything random (default: 0)")
    text = "change any setting, such as mil.dropout=0.1 or mil.head=auto; may be repeated"
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help=text)
