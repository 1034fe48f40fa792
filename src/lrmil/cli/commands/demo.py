"""`lrmil demo`: run everything on a synthetic cohort."""

import argparse
import time
from pathlib import Path

from lrmil.cli.arguments import Commands, add_device, command
from lrmil.collector import without_collections

SUMMARY = "train, report and predict on a synthetic cohort, offline"


def add(commands: Commands) -> None:
    """Add the parser of `lrmil demo`."""
    parser = command(commands, "demo", SUMMARY, "lrmil demo --out lrmil-demo", run)
    parser.add_argument(
        "--out", type=Path, default=Path("lrmil-demo"), help="folder to write to (default: %(default)s)"
    )
    text = "make only the small model and the slide of the sample in napari"
    parser.add_argument("--small", action="store_true", help=text)
    add_device(parser)


def run(options: argparse.Namespace) -> int:
    """Make a synthetic cohort, train, write the report and predict one slide; with `--small` make the small model."""
    return _make_small_model(options) if options.small else _show_whole_chain(options)


def _make_small_model(options: argparse.Namespace) -> int:
    with without_collections():
        from lrmil.cli.printing import stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.demo.model import demo_model_steps
        from lrmil.demo.slide import demo_slide

    model = show(demo_model_steps(options.out, device=options.device), stderr)
    stdout.print(f"Model: {model}\nSlide: {demo_slide(options.out)}", markup=False)
    return 0


def _show_whole_chain(options: argparse.Namespace) -> int:
    with without_collections():
        from lrmil.cli.printed_results import print_arms
        from lrmil.cli.printing import stderr, stdout
        from lrmil.cli.progress import show
        from lrmil.demo.cohort import demo_cohort_steps, demo_config
        from lrmil.models.bundle import load_bundle
        from lrmil.prediction.batch import predict_slides
        from lrmil.prediction.doubts import doubts_in_words
        from lrmil.prediction.options import PredictOptions
        from lrmil.reports.run_report import write_report
        from lrmil.runs.train import train_steps
        from lrmil.slides.source import SlideSource, slide_id_of

    start = time.perf_counter()
    out, device = options.out, options.device
    stderr.print("The slides are synthetic: the figures show only that the software works.")
    cohort = show(demo_cohort_steps(out / "cohort"), stderr)
    slides, labels = cohort / "slides", cohort / "labels.csv"
    done = show(train_steps(slides, labels, out / "run", demo_config(), device=device), stderr)
    report = write_report(done.folder)
    slide = sorted(slides.iterdir())[-1]
    source, folder = SlideSource(slide_id_of(slide), slide), out / "prediction"
    bundle = load_bundle(done.model)
    (row,) = show(predict_slides([source], bundle, folder, PredictOptions(device=device)), stderr)
    said = f", uncertain: {doubts_in_words(row.reason.split(), bundle.task)}" if row.status == "uncertain" else ""
    print_arms(done.metrics)
    stdout.print(f"Synthetic data; {time.perf_counter() - start:.0f} s. Report: {report}", markup=False)
    stdout.print(f"Classified slide {row.slide_id}: {row.label}{said}. Prediction: {folder}", markup=False)
    stdout.print("Next: lrmil train SLIDES LABELS.csv --out RUN   (your slides, your labels table)", markup=False)
    return 0
