"""What each command of `lrmil` does; every function takes the parsed options and gives the exit code."""

import argparse
import json
import sys
import time
import tomllib
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lrmil import evaluation, exchange, plan
from lrmil.batch_prediction import Row, predict_slides
from lrmil.bundle import load_bundle, read_model_card
from lrmil.case_page import write_case
from lrmil.cohort import validate_cohort
from lrmil.configs import TrainConfig, read_toml, with_settings
from lrmil.demo import demo_model_steps
from lrmil.demo_slide import demo_slide
from lrmil.devices import available_devices, pick_device
from lrmil.encoders import PatchEncoder, encoder_hash, load_encoder
from lrmil.errors import ConfigError, ReviewError, RunError
from lrmil.extraction import PatchPlan, SlideSource, extract_features
from lrmil.failures import failure_of
from lrmil.inference import predict_steps
from lrmil.inspection import inspect_slide
from lrmil.model_facts import model_facts
from lrmil.mpp_table import read_mpp_table
from lrmil.prediction_files import read_tissue
from lrmil.progress import show
from lrmil.raster import Raster
from lrmil.report import write_report
from lrmil.resolution import parse_mpp
from lrmil.review import ReviewLog, latest_reviews, read_reviews
from lrmil.review_table import write_review_table
from lrmil.run_control import RunStatus, is_running, read_status, request_stop
from lrmil.run_folder import installed_versions
from lrmil.run_plan import ARM_NAMES
from lrmil.slide import open_slide
from lrmil.slide_files import (
    FLAT_EXTENSIONS,
    OPENSLIDE_EXTENSIONS,
    TIFF_EXTENSIONS,
    ZARR_EXTENSIONS,
    find_slides,
    slide_id_of,
)
from lrmil.slide_looks import Look, look_steps, lookalikes, sources_of, unusable
from lrmil.synthetic import make_cohort_steps

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
console = Console(stderr=True)
printed = Console(soft_wrap=True, highlight=False)


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
        plan.train_steps(cohort / "slides", cohort / "labels.csv", out / "run", config, device=options.device), console
    )
    report = write_report(run.folder)
    slide = sorted((cohort / "slides").iterdir())[-1]
    rows = show(
        predict_slides(
            [SlideSource(slide_id_of(slide), slide)], load_bundle(run.model), out / "prediction", device=options.device
        ),
        console,
    )
    _print_arms(run.metrics)
    printed.print(f"Synthetic data; {time.perf_counter() - start:.0f} s. Report: {report}", markup=False)
    printed.print(
        f"One slide classified: {rows[0].slide_id} is {rows[0].label}, see {out / 'prediction'}", markup=False
    )
    printed.print("Next: lrmil train SLIDES LABELS.csv --out RUN   (your slides, your labels table)", markup=False)
    return 0


def inspect(options: argparse.Namespace) -> int:
    """Say what each slide is; a bad one does not stop the others."""
    failed = 0
    documents = []
    for source in _sources(options):
        path = source.path
        try:
            facts = inspect_slide(
                path,
                mpp=source.mpp,
                lr=parse_mpp(options.at),
                size=options.patch_size,
                objective_power=source.objective_power,
            )
            documents.append({"path": str(path), "status": "ok", **facts})
        except Exception as error:  # noqa: BLE001 - whatever one slide does, the others go on
            failed += 1
            failure = failure_of(error, source)
            documents.append({"path": str(path), "status": "failed", **failure._asdict()})
        if not options.json:
            _print_facts(documents[-1])
    if options.json:
        _print_json(documents)
    return _exit_code(failed, len(documents))


def validate(options: argparse.Namespace) -> int:
    """List every problem of a cohort."""
    report = validate_cohort(options.slides, options.labels, folds=options.folds)
    problems, looks = list(report.problems), tuple[Look, ...]()
    if not options.table_only:
        mpp = parse_mpp(options.mpp_hr)
        looks = show(look_steps(sources_of(options.slides, report), mpp=mpp), console)
        problems += [*unusable(looks), *(lookalikes(looks, report.cohort) if report.cohort else [])]
    if options.json:
        _print_json({"ok": report.ok, "problems": [asdict(problem) for problem in problems]})
        return 0 if report.ok else 1
    table = Table("row", "column", "", "problem", "remedy")
    for problem in problems:
        place = [str(problem.row or ""), problem.column or ""]
        table.add_row(*map(Text, [*place, problem.severity, problem.message, problem.hint]))
    if problems:
        printed.print(table)
    count = len(report.cohort.slides) - sum(bool(look.problem) for look in looks) if report.cohort else 0
    printed.print(f"{count} slides can be trained on." if report.ok else "Mend the errors above, then try again.")
    return 0 if report.ok else 1


def train(options: argparse.Namespace) -> int:
    """Train from a folder, write the model and the report."""
    steps = plan.train_steps(options.slides, options.labels, options.out, _config(options), device=options.device)
    run = show(steps, console)
    report = write_report(run.folder)
    _print_arms(run.metrics)
    for slide_id, message in run.failed.items():
        printed.print(f"Left out: {slide_id}: {message}", markup=False)
    printed.print(f"Report: {report}\nModel: {run.model}", markup=False)
    printed.print(f"Next: lrmil predict SLIDE --model {run.model} --out OUT", markup=False)
    return 1 if run.failed else 0


def status(options: argparse.Namespace) -> int:
    """Say how a training stands."""
    found = read_status(options.run)
    if options.json:
        _print_json(asdict(found))
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


def predict(options: argparse.Namespace) -> int:
    """Classify slides into a folder."""
    bundle = load_bundle(options.model)
    sources = _sources(options)
    rows = show(
        predict_slides(
            sources,
            bundle,
            options.out,
            device=options.device,
            batch_size=options.batch_size,
            threads=options.threads,
            uncertain_below=options.uncertain_below,
            tissue=_masks(options.tissue, sources),
            subtract_bounds=options.subtract_bounds,
        ),
        console,
    )
    if options.json:
        _print_json([asdict(row) for row in rows])
    else:
        _print_rows(rows)
        printed.print(f"Model output, not a diagnosis. Table and attention maps: {options.out}", markup=False)
    return _exit_code(sum(row.status == "failed" for row in rows), len(rows))


def case(options: argparse.Namespace) -> int:
    """Classify one slide and write what others need to look at it."""
    bundle = load_bundle(options.model)
    reviews = latest_reviews(_log(options.reviews).reviews) if options.reviews else {}
    with open_slide(options.slide, mpp=_mpp(options), objective_power=options.use_objective_power) as slide:
        prediction = show(predict_steps(slide, bundle, options.device, threads=options.threads), console)
        review = reviews.get((prediction.slide_fingerprint, prediction.bundle_sha256))
        page = write_case(
            options.out,
            prediction,
            slide,
            bundle.card,
            review=review,
            k=options.top,
            subtract_bounds=options.subtract_bounds,
        )
    if options.reviews and review is None:
        console.print(f"No review of {prediction.slide_id} by this model in {options.reviews}.", markup=False)
    printed.print(f"Model output, not a diagnosis. Page: {page}", markup=False)
    return 0


def reviews(options: argparse.Namespace) -> int:
    """List the last review of each slide and model."""
    log = _log(options.log)
    latest = list(latest_reviews(log.reviews).values())
    if options.csv:
        write_review_table(options.csv, latest)
        printed.print(str(options.csv), markup=False)
        return 0
    if options.json:
        _print_json({"reviews": [asdict(review) for review in latest], "unreadable_lines": list(log.unreadable)})
        return 0
    table = Table("slide", "model", "output", "decision", "label", "reviewer", "time", "note")
    for review in latest:
        words = [review.slide_id, review.bundle_sha256[:12], review.output_label, review.decision or ""]
        table.add_row(*map(Text, [*words, review.human_label, review.reviewer, review.time, review.note]))
    printed.print(table)
    return 0


def card(options: argparse.Namespace) -> int:
    """Say what a model folder says of itself."""
    found = read_model_card(options.model)
    if options.json:
        _print_json(asdict(found))
        return 0
    for name, value in model_facts(found).items():
        printed.print(f"{name}: {value}", markup=False)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    """Measure a model on labelled slides."""
    out = options.out or options.labels.with_suffix(".predictions")
    steps = evaluation.evaluate_steps(
        options.slides,
        options.labels,
        load_bundle(options.model),
        out,
        device=options.device,
        batch_size=options.batch_size,
        threads=options.threads,
        mpp=_mpp_table(options, [slide_id_of(path) for path in find_slides(options.slides)]),
        objective_power=options.use_objective_power,
    )
    result = show(steps, console)
    if options.json:
        _print_json({"metrics": result.metrics, "failed": result.failed})
    else:
        for name, value in result.metrics.items():
            printed.print(f"{name}: {_figure(value)}", markup=False)
        for slide_id, message in result.failed.items():
            printed.print(f"Failed: {slide_id}: {message}", markup=False)
    return _exit_code(len(result.failed), len(result.failed) + int(result.metrics["n_slides"]))


def extract(options: argparse.Namespace) -> int:
    """Encode slides at one resolution."""
    sources = _sources(options)  # before the encoder, which may have to be downloaded
    encoder = load_encoder(options.encoder, size=options.patch_size, embedding=options.embedding)
    steps = extract_features(
        sources,
        PatchEncoder(encoder, pick_device(options.device), batch_size=options.batch_size),
        encoder_hash(encoder),
        options.out,
        PatchPlan(mpp=parse_mpp(options.at), size=options.patch_size),
        threads=options.threads,
    )
    outcomes = show(steps, console)
    for outcome in outcomes:
        printed.print(f"{outcome.slide_id}: {outcome.path or outcome.message}", markup=False)
        if options.trident and outcome.path:
            exchange.write_trident(options.out / f"{outcome.slide_id}.h5", outcome.path)
    return _exit_code(sum(outcome.path is None for outcome in outcomes), len(outcomes))


def report(options: argparse.Namespace) -> int:
    """Write a run's report again."""
    printed.print(str(write_report(options.run)), markup=False)
    return 0


def export(options: argparse.Namespace) -> int:
    """Convert a folder of features for other tools."""
    paths = sorted(options.features.glob("*.zarr"))
    if not paths:
        raise ConfigError(f"Expected a folder with features (*.zarr). Got {options.features}, which has none.")
    for path in paths:
        exchange.write_trident(options.out / f"{path.stem}.h5", path)
        printed.print(str(options.out / f"{path.stem}.h5"), markup=False)
    return 0


def doctor(options: argparse.Namespace) -> int:
    """Say what this installation can do."""
    versions = installed_versions()
    facts = {
        "versions": versions,
        "devices": [device._asdict() for device in available_devices()],
        "default_device": str(pick_device("auto")),
        "formats": {
            "tifffile": TIFF_EXTENSIONS,
            "openslide": OPENSLIDE_EXTENSIONS,
            "zarr": ZARR_EXTENSIONS,
            "pillow": FLAT_EXTENSIONS,
        },
    }
    if options.json:
        _print_json(facts)
        return 0
    for package, version in versions.items():
        printed.print(f"{package}: {version}", markup=False)
    for device in available_devices():
        free = "" if device.free_bytes is None else f", {device.free_bytes / 2**30:.1f} GiB free"
        printed.print(f"device {device.name}: {device.description}{free}", markup=False)
    printed.print(f"slides read with tifffile: {', '.join(TIFF_EXTENSIONS)}", markup=False)
    printed.print(f"slides read with OpenSlide: {', '.join(OPENSLIDE_EXTENSIONS)}, and JPEG 2000 SVS", markup=False)
    printed.print(f"slides read with zarr: {', '.join(ZARR_EXTENSIONS)} (OME-Zarr 0.4 and 0.5)", markup=False)
    printed.print(f"pictures read with Pillow: {', '.join(FLAT_EXTENSIONS)}, which need a resolution", markup=False)
    return 0


def _config(options: argparse.Namespace) -> TrainConfig:
    config = read_toml(options.config) if options.config else TrainConfig()
    named = {
        "encoder": options.encoder,
        "student_encoder": options.student_encoder,
        "mpp_hr": parse_mpp(options.mpp_hr) if options.mpp_hr else None,
        "mpp_lr": parse_mpp(options.mpp_lr) if options.mpp_lr else None,
        "patch_size": options.patch_size,
        "folds": options.folds,
        "seed": options.seed,
    }
    settings: dict[str, object] = {name: value for name, value in named.items() if value is not None}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"Expected --set NAME=VALUE. Got {text!r}.")
        settings[name.strip()] = _value(value.strip())
    return with_settings(config, settings)


def _value(text: str) -> object:
    """Read a TOML value; what is none is text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def _mpp(options: argparse.Namespace) -> float | None:
    return parse_mpp(options.mpp) if options.mpp else None


def _sources(options: argparse.Namespace) -> list[SlideSource]:
    paths = _found(options)
    table, mpp = _mpp_table(options, [slide_id_of(path) for path in paths]), _mpp(options)
    power = options.use_objective_power
    return [SlideSource(slide_id_of(path), path, table.get(slide_id_of(path), mpp), power) for path in paths]


def _mpp_table(options: argparse.Namespace, slide_ids: list[str]) -> dict[str, float]:
    """Read the table of resolutions when there is one, and say what of it is not used."""
    if not options.mpp_table:
        return {}
    table = read_mpp_table(options.mpp_table, slide_ids)
    for sentence in table.unused:
        console.print(f"{options.mpp_table.name}: {sentence}", markup=False)
    return table.mpp


def _masks(folder: Path | None, sources: list[SlideSource]) -> dict[str, Raster]:
    """Slide id -> the mask to use, for the slides that have one."""
    found = {} if folder is None else {source.slide_id: read_tissue(folder, source.slide_id) for source in sources}
    if folder is not None and not any(found.values()):
        raise ConfigError(f"Expected masks such as {sources[0].slide_id}.tissue.ome.zarr in {folder}. Got none.")
    return {slide_id: mask for slide_id, mask in found.items() if mask is not None}


def _found(options: argparse.Namespace) -> list[Path]:
    paths = find_slides(options.slides)
    if not paths:
        raise ConfigError(f"Expected slides. Got none in {', '.join(map(str, options.slides))}.")
    return paths


def _log(path: Path) -> ReviewLog:
    """Read a review log that someone named: unlike the log of a window, it must be there."""
    if not path.is_file():
        raise ReviewError(f"Expected a review log at {path}. Got none; check the path.")
    log = read_reviews(path)
    if log.unreadable:
        lines = ", ".join(map(str, log.unreadable))
        console.print(f"{path} has lines that cannot be read and were passed over: {lines}", markup=False)
    return log


def _exit_code(failed: int, total: int) -> int:
    if failed:
        console.print(f"{failed} of {total} failed; the reasons are listed above.")
    return 1 if failed or not total else 0


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _print_facts(facts: dict[str, object]) -> None:
    printed.print(str(facts["path"]), style="bold", markup=False)
    for name, value in facts.items():
        if name != "path":
            shown = _levels(value) if name == "levels" and isinstance(value, list) else _figure(value)
            printed.print(f"  {name}: {shown}", markup=False)


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


def _levels(levels: list[list[float]]) -> str:
    return ", ".join(f"{width} x {height} (1/{downsample:g})" for width, height, downsample in levels)


def _print_rows(rows: list[Row]) -> None:
    table = Table("slide", "status", "label", "probability", "patches", "seconds")
    for row in rows:
        probability = f"{row.probabilities[row.label]:.3f}" if row.probabilities else ""
        counts = [f"{row.n_patches - row.failed_patches} of {row.n_patches}", f"{row.seconds:.1f}"]
        table.add_row(*map(Text, [row.slide_id, row.status, row.label, probability, *counts]))
    printed.print(table)
    for row in rows:
        for sentence in (row.message, *row.notes):
            if sentence:
                printed.print(f"{row.slide_id}: {sentence}", markup=False)


def _print_arms(metrics: dict[str, object]) -> None:
    table = Table("arm", "AUROC", "95 % interval", "bal. acc.", "s/slide", "MB/slide", "patches")
    for arm, name in ARM_NAMES.items():
        figures = metrics[arm]
        if isinstance(figures, dict):
            megabytes = figures["bytes_per_slide"] and figures["bytes_per_slide"] / 1e6
            values = [figures["auroc"], figures["auroc_ci"], figures["balanced_accuracy"], figures["seconds_per_slide"]]
            table.add_row(
                name.split(":")[0], *map(_figure, [*values, megabytes]), f"{figures['patches_per_slide']:.0f}"
            )
    printed.print(table)


def _figure(value: object) -> str:
    if value is None:
        return "not defined"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, list | tuple):
        return " - ".join(map(_figure, value))
    return str(value)
