"""The command line: parses, calls one function of `commands`, and turns its answer into an exit code.

0: all is well; 1: something that was asked for failed, with a list of what; 2: wrong usage; 130: stopped, by Ctrl+C,
SIGTERM, SIGHUP or `lrmil stop`.
"""

import argparse
import io
import logging
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from lrmil import __version__
from lrmil.cli.arguments import (
    add_at,
    add_bounds,
    add_checksums,
    add_cohort,
    add_device,
    add_grid,
    add_json,
    add_model,
    add_mpp,
    add_mpp_table,
    add_positive,
    add_power,
    add_threads,
    add_tissue,
    command,
    count,
    share,
)
from lrmil.cli.stop_signals import stopped_by_signals
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
    try:
        with stopped_by_signals():
            from lrmil.cli import commands

            return int(getattr(commands, options.command)(options))
    except (Stopped, KeyboardInterrupt):
        with suppress(OSError):  # a terminal that was closed takes no words
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
    parser.add_argument("--version", action="version", version=f"lrmil {__version__}")
    parser.add_argument("-v", "--verbose", action="store_true", help="say more on the error stream")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = command(commands, "demo", "the whole chain on a synthetic cohort, offline", "lrmil demo --out lrmil-demo")
    demo.add_argument("--out", type=Path, default=Path("lrmil-demo"), help="folder to write (default: %(default)s)")
    demo.add_argument("--small", action="store_true", help="only the small model and the slide of the viewer's sample")
    add_device(demo)

    inspect = command(commands, "inspect", "what a slide is and how many patches it gives", "lrmil inspect a.svs")
    inspect.add_argument("slides", nargs="+", type=Path, metavar="SLIDE")
    add_mpp(inspect)
    add_checksums(inspect)
    add_tissue(inspect)
    add_grid(inspect)
    add_json(inspect)

    validate = command(commands, "validate", "check a cohort before any computing", "lrmil validate slides labels.csv")
    add_cohort(validate)
    add_positive(validate)
    validate.add_argument("--folds", type=int, default=5, help="folds of the training to come (default: %(default)s)")
    validate.add_argument("--mpp-hr", default="0.5", help="HR resolution of the training to come (default: 0.5)")
    validate.add_argument("--mpp-lr", default="2.0", help="LR resolution of the training to come (default: 2.0)")
    depth = validate.add_mutually_exclusive_group()
    depth.add_argument("--table-only", action="store_true", help="open no slide: check table and names alone")
    add_checksums(depth)
    add_json(validate)

    train = command(
        commands,
        "train",
        "train from a folder; the same command goes on where it was stopped",
        "lrmil train slides labels.csv --out run --encoder hf-hub:timm/resnet50.a1_in1k --set stage1.weighting=uniform",
    )
    add_cohort(train)
    add_positive(train)
    train.add_argument("--out", type=Path, required=True, metavar="RUN", help="run folder")
    train.add_argument("--config", type=Path, help="TOML file of settings")
    train.add_argument("--encoder", help="name of `lrmil encoders`, timm name, hf-hub:owner/name or folder")
    train.add_argument("--student-encoder", help="LR encoder when it is to differ")
    train.add_argument("--mpp-hr", help="HR resolution in um/px, or 20x (default: 0.5)")
    train.add_argument("--mpp-lr", help="LR resolution in um/px, or 5x (default: 2.0)")
    train.add_argument(
        "--patch-size", type=int, help="patch side in pixels (default: the encoder's; 256 if it takes any)"
    )
    train.add_argument("--folds", type=int, help="folds of the cross-validation (default: 5)")
    train.add_argument("--seed", type=int, help="seed of all that is random (default: 0)")
    train.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting, e.g. mil.dropout=0.1; repeatable"
    )
    train.add_argument(
        "--replace",
        action="store_true",
        help="delete results and model of a finished run when they become others (default: keep them in RUN/earlier-1)",
    )
    add_device(train)

    status = command(commands, "status", "how a training stands, also while it is at work", "lrmil status run")
    status.add_argument("run", type=Path, metavar="RUN")
    add_json(status)

    stop = command(commands, "stop", "end a training so that the same command goes on from there", "lrmil stop run")
    stop.add_argument("run", type=Path, metavar="RUN")

    predict = command(commands, "predict", "classify slides", "lrmil predict a.svs b.svs --model run/model --out out")
    predict.add_argument("slides", nargs="+", type=Path, metavar="SLIDE", help="files or folders")
    add_model(predict)
    predict.add_argument("--out", type=Path, required=True)
    add_mpp(predict)
    add_checksums(predict)
    add_bounds(predict)
    add_tissue(predict)
    predict.add_argument(
        "--uncertain-below", type=share, default=0.0, metavar="P", help="abstain below this probability"
    )
    predict.add_argument("--batch-size", type=count, default=64, help="patches encoded together (default: %(default)s)")
    add_threads(predict)
    add_device(predict)
    add_json(predict)

    evaluate = command(commands, "evaluate", "metrics on labelled slides", "lrmil evaluate slides labels.csv --model m")
    add_cohort(evaluate)
    add_model(evaluate)
    evaluate.add_argument("--out", type=Path, help="keep predictions here (default: LABELS' name + .predictions)")
    add_mpp_table(evaluate)
    add_power(evaluate)
    add_checksums(evaluate)
    evaluate.add_argument(
        "--batch-size", type=count, default=64, help="patches encoded together (default: %(default)s)"
    )
    add_threads(evaluate)
    add_device(evaluate)
    add_json(evaluate)

    case = command(
        commands,
        "case",
        "classify one slide and write its table row, GeoJSON, picture and page",
        "lrmil case a.svs --model run/model --out case",
    )
    case.add_argument("slide", type=Path, metavar="SLIDE")
    add_model(case)
    case.add_argument("--out", type=Path, required=True)
    add_mpp(case, one=True)
    add_checksums(case)
    add_tissue(case)
    add_bounds(case)
    case.add_argument("--reviews", type=Path, metavar="LOG", help="review log whose last word on the slide is added")
    case.add_argument(
        "--top", type=count, default=8, metavar="K", help="patches shown of each end (default: %(default)s)"
    )
    add_threads(case)
    add_device(case)

    reviews = command(commands, "reviews", "the last review of each slide and model", "lrmil reviews reviews.jsonl")
    reviews.add_argument("log", type=Path, metavar="LOG")
    form = reviews.add_mutually_exclusive_group()
    form.add_argument("--csv", type=Path, metavar="OUT.csv", help="write a table instead of showing it")
    add_json(form)

    card = command(commands, "card", "what a model folder says of itself", "lrmil card run/model")
    card.add_argument("model", type=Path, metavar="DIR")
    add_json(card)

    extract = command(
        commands, "extract", "features at one resolution", "lrmil extract slides --encoder resnet50 --out f"
    )
    extract.add_argument("slides", nargs="+", type=Path, metavar="SLIDES", help="files or folders")
    extract.add_argument(
        "--encoder", required=True, help="name of `lrmil encoders`, timm name, hf-hub:owner/name or folder"
    )
    extract.add_argument(
        "--embedding",
        default="pooled",
        choices=["pooled", "cls", "mean", "cls+mean"],
        help="class token, mean of the patch tokens, both, or the encoder's own way (default: %(default)s)",
    )
    extract.add_argument("--out", type=Path, required=True)
    extract.add_argument("--batch-size", type=count, default=64, help="patches encoded together (default: %(default)s)")
    add_threads(extract)
    extract.add_argument("--trident", action="store_true", help="also write TRIDENT-style h5 files")
    add_mpp(extract)
    add_checksums(extract)
    add_tissue(extract)
    add_at(extract)
    extract.add_argument(
        "--patch-size", type=int, default=0, help="side in pixels (default: the encoder's; 256 if it takes any)"
    )
    add_device(extract)

    report = command(commands, "report", "write a run's report again", "lrmil report run")
    report.add_argument("run", type=Path, metavar="RUN")

    export = command(commands, "export", "features for other tools", "lrmil export features --to trident --out h5")
    export.add_argument("features", type=Path, metavar="FEATURES", help="folder of lrmil features")
    export.add_argument("--to", required=True, choices=["trident"])
    export.add_argument("--out", type=Path, required=True)

    encoders = command(commands, "encoders", "the pathology encoders that are known by name", "lrmil encoders")
    add_json(encoders)

    doctor = command(commands, "doctor", "what this installation can do", "lrmil doctor --encoder uni2-h")
    doctor.add_argument("--encoder", metavar="NAME", help="say whether this encoder can be had; nothing is downloaded")
    add_json(doctor)
    return parser


if __name__ == "__main__":
    sys.exit(main())
