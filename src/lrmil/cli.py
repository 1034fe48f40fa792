"""The command line: parses, calls one function of `commands`, and turns its answer into an exit code.

0: all is well; 1: something that was asked for failed, with a list of what; 2: wrong usage; 130: stopped.
"""

import argparse
import io
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from lrmil.errors import LrmilError, Stopped

EPILOG = "Model output is not a diagnosis; for research use. Method: arXiv 2606.06864."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    tifffile_log = logging.getLogger("tifffile")
    tifffile_log.setLevel(logging.ERROR)  # errors tell the reader that levels may be missing, which a note then says
    tifffile_log.propagate = options.verbose  # its own words are for those who ask for more
    if isinstance(sys.stdout, io.TextIOWrapper):  # a file's name may be no text, or none that the terminal can show
        sys.stdout.reconfigure(errors="backslashreplace")
    from lrmil import commands

    try:
        return int(getattr(commands, options.command)(options))
    except (Stopped, KeyboardInterrupt):
        sys.stderr.write("Stopped. What is finished is kept; the same command goes on from there.\n")
        return 130
    except (LrmilError, OSError) as error:  # OSError: a full disk, a folder that may not be written
        sys.stderr.write(f"lrmil {options.command}: {error}\n")
        return 1


def build_parser() -> argparse.ArgumentParser:
    """Every command with its options and an example."""
    parser = argparse.ArgumentParser(
        prog="lrmil", description="Whole-slide classification from low-resolution pixels.", epilog=EPILOG
    )
    parser.add_argument("--version", action="version", version=_version())
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on the error stream")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = _add(commands, "demo", "the whole chain on a synthetic cohort, offline", "lrmil demo --out lrmil-demo")
    demo.add_argument("--out", type=Path, default=Path("lrmil-demo"), help="folder to write (default: %(default)s)")
    demo.add_argument("--small", action="store_true", help="only the small model and the slide of the viewer's sample")
    _add_device(demo)

    inspect = _add(commands, "inspect", "what a slide is and how many patches it gives", "lrmil inspect a.svs")
    inspect.add_argument("slides", nargs="+", type=Path, metavar="SLIDE")
    _add_mpp(inspect)
    _add_checksums(inspect)
    _add_grid(inspect)
    _add_json(inspect)

    validate = _add(commands, "validate", "check a cohort before any computing", "lrmil validate slides labels.csv")
    _add_cohort(validate)
    validate.add_argument("--folds", type=int, default=5)
    validate.add_argument("--mpp-hr", default="0.5", help="HR resolution of the training to come (default: 0.5)")
    validate.add_argument("--mpp-lr", default="2.0", help="LR resolution of the training to come (default: 2.0)")
    depth = validate.add_mutually_exclusive_group()
    depth.add_argument("--table-only", action="store_true", help="open no slide: check table and names alone")
    _add_checksums(depth)
    _add_json(validate)

    train = _add(
        commands,
        "train",
        "train from a folder; the same command goes on where it was stopped",
        "lrmil train slides labels.csv --out run --encoder hf-hub:timm/resnet50.a1_in1k --set stage1.weighting=uniform",
    )
    _add_cohort(train)
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    train.add_argument("--config", type=Path, help="TOML file of settings")
    train.add_argument("--encoder", help="timm name, hf-hub:owner/name or local-dir:folder")
    train.add_argument("--student-encoder", help="LR encoder when it is to differ")
    train.add_argument("--mpp-hr", help="HR resolution in um/px, or 20x (default: 0.5)")
    train.add_argument("--mpp-lr", help="LR resolution in um/px, or 5x (default: 2.0)")
    train.add_argument("--patch-size", type=int, help="patch side in pixels (default: 256)")
    train.add_argument("--folds", type=int, help="folds of the cross-validation (default: 5)")
    train.add_argument("--seed", type=int, help="seed of all that is random (default: 0)")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, e.g. mil.dropout=0.1; repeatable"
    )
    _add_device(train)

    status = _add(commands, "status", "how a training stands, also while it is at work", "lrmil status run")
    status.add_argument("run", type=Path, metavar="RUN")
    _add_json(status)

    stop = _add(commands, "stop", "end a training so that the same command goes on from there", "lrmil stop run")
    stop.add_argument("run", type=Path, metavar="RUN")

    predict = _add(commands, "predict", "classify slides", "lrmil predict a.svs b.svs --model run/model --out out")
    predict.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="files or folders")
    _add_model(predict)
    predict.add_argument("--out", type=Path, required=True)
    _add_mpp(predict)
    _add_checksums(predict)
    _add_bounds(predict)
    predict.add_argument(
        "--tissue", type=Path, metavar="DIR", help="folder of edited masks, <slide_id>.tissue.ome.zarr, to use instead"
    )
    predict.add_argument(
        "--uncertain-below", type=_share, default=0.0, metavar="P", help="abstain below this probability"
    )
    predict.add_argument(
        "--batch-size", type=_count, default=64, help="patches encoded together (default: %(default)s)"
    )
    _add_threads(predict)
    _add_device(predict)
    _add_json(predict)

    evaluate = _add(commands, "evaluate", "metrics on labelled slides", "lrmil evaluate slides labels.csv --model m")
    _add_cohort(evaluate)
    _add_model(evaluate)
    evaluate.add_argument("--out", type=Path, help="keep predictions here (default: LABELS' name + .predictions)")
    _add_mpp_table(evaluate)
    _add_power(evaluate)
    evaluate.add_argument(
        "--batch-size", type=_count, default=64, help="patches encoded together (default: %(default)s)"
    )
    _add_threads(evaluate)
    _add_device(evaluate)
    _add_json(evaluate)

    case = _add(
        commands,
        "case",
        "classify one slide and write its table row, GeoJSON, picture and page",
        "lrmil case a.svs --model run/model --out case",
    )
    case.add_argument("slide", type=Path, metavar="SLIDE")
    _add_model(case)
    case.add_argument("--out", type=Path, required=True)
    _add_mpp(case, one=True)
    _add_checksums(case)
    _add_bounds(case)
    case.add_argument("--reviews", type=Path, metavar="LOG", help="review log whose last word on the slide is added")
    case.add_argument(
        "--top", type=_count, default=8, metavar="K", help="patches shown of each end (default: %(default)s)"
    )
    _add_threads(case)
    _add_device(case)

    reviews = _add(commands, "reviews", "the last review of each slide and model", "lrmil reviews reviews.jsonl")
    reviews.add_argument("log", type=Path, metavar="LOG")
    form = reviews.add_mutually_exclusive_group()
    form.add_argument("--csv", type=Path, metavar="OUT.csv", help="write a table instead of showing it")
    _add_json(form)

    card = _add(commands, "card", "what a model folder says of itself", "lrmil card run/model")
    card.add_argument("model", type=Path, metavar="DIR")
    _add_json(card)

    extract = _add(commands, "extract", "features at one resolution", "lrmil extract slides --encoder resnet50 --out f")
    extract.add_argument("slides", nargs="+", type=Path, metavar="SLIDES", help="files or folders")
    extract.add_argument("--encoder", required=True)
    extract.add_argument("--embedding", default="pooled", choices=["pooled", "cls", "mean", "cls+mean"])
    extract.add_argument("--out", type=Path, required=True)
    extract.add_argument(
        "--batch-size", type=_count, default=64, help="patches encoded together (default: %(default)s)"
    )
    _add_threads(extract)
    extract.add_argument("--trident", action="store_true", help="also write TRIDENT-style h5 files")
    _add_mpp(extract)
    _add_checksums(extract)
    _add_grid(extract)
    _add_device(extract)

    report = _add(commands, "report", "write a run's report again", "lrmil report run")
    report.add_argument("run", type=Path, metavar="RUN")

    export = _add(commands, "export", "features for other tools", "lrmil export features --to trident --out h5")
    export.add_argument("features", type=Path, metavar="FEATURES", help="folder of lrmil features")
    export.add_argument("--to", required=True, choices=["trident"])
    export.add_argument("--out", type=Path, required=True)

    doctor = _add(commands, "doctor", "what this installation can do", "lrmil doctor")
    _add_json(doctor)
    return parser


def _version() -> str:
    import importlib.metadata

    return f"lrmil {importlib.metadata.version('napari-lrmil')}"


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=summary,
        description=summary[0].upper() + summary[1:] + ".",
        epilog=f"Example: {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {count}")
    return count


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability from 0 to 1, got {text}")
    return share


def _add_cohort(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("slides", type=Path, metavar="SLIDES", help="folder of slides, searched recursively")
    parser.add_argument(
        "labels", type=Path, metavar="LABELS", help="csv, tsv or xlsx with slide_id, label, [case_id, ...]"
    )


def _add_model(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, required=True, metavar="DIR", help="model folder, such as RUN/model")


def _add_mpp(parser: argparse.ArgumentParser, *, one: bool = False) -> None:
    ways = parser.add_mutually_exclusive_group()
    ways.add_argument("--mpp", help="resolution of level 0 in um/px (or 40x), in place of the slide's own")
    if not one:
        _add_mpp_table(ways)
    _add_power(parser)


def _add_mpp_table(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    text = "csv, tsv or xlsx with slide_id and mpp: resolutions of level 0 in place of the slides' own"
    parser.add_argument("--mpp-table", type=Path, metavar="FILE", help=text)


def _add_power(parser: argparse.ArgumentParser) -> None:
    text = "let the stated magnification stand in for a missing resolution: 10 um/px divided by it"
    parser.add_argument("--use-objective-power", action="store_true", help=text)


def _add_checksums(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    text = "list of md5sum, sha256sum or a table such as GDC's manifest: read slides whole first, refuse changed ones"
    parser.add_argument("--checksums", type=Path, metavar="FILE", help=text)


def _add_bounds(parser: argparse.ArgumentParser) -> None:
    text = "GeoJSON counts from the corner of the scanned area, as QuPath does for MRXS (OpenSlide's bounds)"
    parser.add_argument("--subtract-bounds", action="store_true", help=text)


def _add_grid(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--at", default="2.0", metavar="RESOLUTION", help="patch resolution in um/px, or 5x")
    parser.add_argument("--patch-size", type=int, default=256)


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1, mps (default: %(default)s)")


def _add_threads(parser: argparse.ArgumentParser) -> None:
    default = min(8, os.cpu_count() or 1)
    parser.add_argument(
        "--threads", type=_count, default=default, help="threads that read the slide (default: %(default)s)"
    )


def _add_json(parser: "argparse.ArgumentParser | argparse._MutuallyExclusiveGroup") -> None:
    parser.add_argument("--json", action="store_true", help="print JSON for a program to read")


if __name__ == "__main__":
    sys.exit(main())
