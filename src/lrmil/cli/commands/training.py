"""The commands on cohorts and runs: demo, validate, train, status, stop, evaluate, report."""

import argparse
import time
from dataclasses import asdict
from pathlib import Path

from rich.table import Column, Table
from rich.text import Text

from lrmil.cli.options import config_of, inputs_of, mpp_table_of, table_options_of, with_checksums
from lrmil.cli.printing import console, exit_code, figure, print_arms, print_json, printed
from lrmil.cli.progress import show
from lrmil.cohorts.cohort import validate_cohort
from lrmil.cohorts.screening import Look, far_levels, look_steps, lookalikes, sources_of, unusable
from lrmil.configs import TrainConfig, with_settings
from lrmil.demo.model import demo_model_steps
from lrmil.demo.slide import demo_slide
from lrmil.demo.synthetic import make_cohort_steps
from lrmil.errors import RunError
from lrmil.features.extraction import SlideSource
from lrmil.models.bundle import load_bundle
from lrmil.prediction import evaluation
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.options import PredictOptions
from lrmil.reports.run_report import write_report
from lrmil.runs.control import is_running, request_stop
from lrmil.runs.earlier import earlier_in
from lrmil.runs.train import train_steps
from lrmil.runs.watch import RunStatus, read_status
from lrmil.slides.discovery import find_slides
from lrmil.slides.resolution import parse_mpp
from lrmil.slides.source import slide_id_of

# A small network with random weights: the demonstration must run offline. Network and seed are fixed because the gap
# between resolutions depends on them, and the settings were picked by looking at this very cohort: it shows how the
# software works and is no finding. Random features have no common
# scale, hence the standardisation; the teacher is good here, hence the full weights of stage 2.
DEMO: dict[str, object] = {
    "encoder": "mobilenetv3_small_050",
    "pretrained": False,
    "patch_size": 128,
    "seed": 0,
    "mil.standardised": True,
    "stage1.standardised": True,
    "stage1.fit.epochs": 12,
    "stage1.fit.learning_rate": 1e-3,
    "stage2.lambda_bag": 1.0,
    "stage2.lambda_soft": 1.0,
    "stage2.lambda_hard": 1.0,
}


def demo(options: argparse.Namespace) -> int:
    """Make a synthetic cohort, train, report, predict one slide."""
    start = time.perf_counter()
    out: Path = options.out
    if options.small:
        model = show(demo_model_steps(out, device=options.device), console)
        printed.print(f"Model: {model}\nSlide: {demo_slide(out)}", markup=False)
        return 0
    console.print("The demonstration's slides are synthetic: its figures say that the software works, not more.")
    cohort = show(make_cohort_steps(out / "cohort", slides=48, size=2048), console)
    config = with_settings(TrainConfig(), DEMO)
    run = show(
        train_steps(cohort / "slides", cohort / "labels.csv", out / "run", config, device=options.device), console
    )
    report = write_report(run.folder)
    slide = sorted((cohort / "slides").iterdir())[-1]
    rows = show(
        predict_slides(
            [SlideSource(slide_id_of(slide), slide)],
            load_bundle(run.model),
            out / "prediction",
            PredictOptions(device=options.device),
        ),
        console,
    )
    print_arms(run.metrics)
    printed.print(f"Synthetic data; {time.perf_counter() - start:.0f} s. Report: {report}", markup=False)
    printed.print(
        f"One slide classified: {rows[0].slide_id} is {rows[0].label}, see {out / 'prediction'}", markup=False
    )
    printed.print("Next: lrmil train SLIDES LABELS.csv --out RUN   (your slides, your labels table)", markup=False)
    return 0


def validate(options: argparse.Namespace) -> int:
    """List every problem of a cohort."""
    report = validate_cohort(options.slides, options.labels, folds=options.folds, options=table_options_of(options))
    problems, looks = list(report.problems), tuple[Look, ...]()
    if not options.table_only:
        mpp, lr = parse_mpp(options.mpp_hr), parse_mpp(options.mpp_lr)
        sources = with_checksums(sources_of(options.slides, report), options.checksums)
        looks = show(look_steps(sources, mpp=mpp, lr=lr), console)
        problems += [
            *unusable(looks),
            *far_levels(looks, lr),
            *(lookalikes(looks, report.cohort) if report.cohort else []),
        ]
    failed = sum(bool(look.problem) for look in looks)
    if options.json:
        print_json({"ok": report.ok, "problems": [asdict(problem) for problem in problems]})
        return 0 if report.ok and not failed else 1
    table = Table(*(Column(name, overflow="fold") for name in ("row", "column", "", "problem", "remedy")))
    for problem in problems:
        place = [str(problem.row or ""), problem.column or ""]
        table.add_row(*map(Text, [*place, problem.severity, problem.message, problem.hint]))
    if problems:
        printed.print(table)
    if report.cohort is None:
        printed.print("Mend the errors above, then try again.")
        return 1
    printed.print(f"{len(report.cohort.slides) - failed} slides can be trained on.")
    return exit_code(failed, len(report.cohort.slides))


def train(options: argparse.Namespace) -> int:
    """Train from a folder, write the model and the report."""
    before = earlier_in(options.out)
    steps = train_steps(
        options.slides,
        options.labels,
        options.out,
        config_of(options),
        device=options.device,
        replace=options.replace,
        inputs=inputs_of(options),
        options=table_options_of(options),
    )
    run = show(steps, console)
    for kept in [folder for folder in earlier_in(options.out) if folder not in before]:
        console.print(f"Results and model of the run before are kept in {kept}.", markup=False)
    report = write_report(run.folder)
    print_arms(run.metrics)
    for slide_id, message in run.failed.items():
        printed.print(f"Left out: {slide_id}: {message}", markup=False)
    printed.print(f"Report: {report}\nModel: {run.model}", markup=False)
    printed.print(f"Next: lrmil predict SLIDE --model {run.model} --out OUT", markup=False)
    return 1 if run.failed else 0


def status(options: argparse.Namespace) -> int:
    """Say how a training stands."""
    found = read_status(options.run)
    if options.json:
        print_json(asdict(found))
    else:
        for name, value in _status_lines(found).items():
            printed.print(f"{name}: {value}", markup=False)
    return 1 if found.state == "absent" else 0


def stop(options: argparse.Namespace) -> int:
    """Ask a training to stop."""
    if not is_running(options.run):
        raise RunError(f"Expected a training at work in {options.run}. Got none; see `lrmil status {options.run}`.")
    request_stop(options.run)
    printed.print("It stops when the step in progress is done. What is finished is kept.", markup=False)
    printed.print("Next: the same lrmil train command, to go on from there", markup=False)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Measure a model on labelled slides."""
    out = options.out or options.labels.with_suffix(".predictions")
    found = [SlideSource(slide_id_of(path), path) for path in find_slides(options.slides)]
    stated = with_checksums(found, options.checksums)
    steps = evaluation.evaluate_steps(
        options.slides,
        options.labels,
        load_bundle(options.model),
        out,
        PredictOptions(device=options.device, batch_size=options.batch_size, threads=options.threads),
        mpp=mpp_table_of(options, [source.slide_id for source in found]),
        objective_power=options.use_objective_power,
        checksums={source.slide_id: source.checksums for source in stated},
        inputs=inputs_of(options),
        table=table_options_of(options),
    )
    result = show(steps, console)
    if options.json:
        print_json({"metrics": result.metrics, "failed": result.failed})
    else:
        for name, value in result.metrics.items():
            printed.print(f"{name}: {figure(value)}", markup=False)
        for slide_id, message in result.failed.items():
            printed.print(f"Failed: {slide_id}: {message}", markup=False)
    return exit_code(len(result.failed), len(result.failed) + int(result.metrics["n_slides"]))


def report(options: argparse.Namespace) -> int:
    """Write a run's report again."""
    printed.print(str(write_report(options.run)), markup=False)
    return 0


def _status_lines(found: RunStatus) -> dict[str, str]:
    lines: dict[str, str] = {"state": found.state}
    if found.stage:
        progress = f" ({found.done} of {found.total} {found.unit})" if found.total else ""
        lines["stage"] = f"{found.stage}{progress}{_left(found.stage_seconds_left)}"
    if found.folds_total:
        lines["folds"] = f"{found.folds_done} of {found.folds_total}{_left(found.seconds_left)}"
    if found.epochs:
        last = found.epochs[-1]
        figures = ", ".join(f"{name} {value:.4g}" for name, value in last.metrics.items())
        lines["last epoch"] = f"{last.fold}, {last.stage}, epoch {last.epoch}: {figures}"
    if found.message:
        lines["message"] = found.message
    return lines


def _left(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes = round(seconds / 60)
    hours = f"{minutes // 60} h {minutes % 60} min"
    return f", about {hours if minutes >= 60 else f'{minutes} min' if minutes else f'{seconds:.0f} s'} left"
