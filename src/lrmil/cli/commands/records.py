"""The commands on what is there already: reviews, card, export, doctor."""

import argparse
from dataclasses import asdict
from pathlib import Path

from rich.table import Table
from rich.text import Text

from lrmil.cli.commands.encoders import print_encoder
from lrmil.cli.options import log_at
from lrmil.cli.printing import exit_code, print_json, printed
from lrmil.errors import ConfigError, OverwriteError
from lrmil.features import trident
from lrmil.features.store import refuse_mixed
from lrmil.models.card import read_model_card
from lrmil.models.devices import available_devices, pick_device
from lrmil.reports.model_facts import model_facts
from lrmil.reviews.log import latest_reviews
from lrmil.reviews.table import write_review_table
from lrmil.runs.environment import installed_versions
from lrmil.slides.inputs import Inputs
from lrmil.slides.source import FLAT_EXTENSIONS, OPENSLIDE_EXTENSIONS, TIFF_EXTENSIONS, ZARR_EXTENSIONS


def reviews(options: argparse.Namespace) -> int:
    """List the last review of each slide and model."""
    log = log_at(options.log)
    latest = list(latest_reviews(log.reviews).values())
    if options.csv:
        Inputs(others=[options.log]).require_clear([options.csv])
        write_review_table(options.csv, latest)
        printed.print(str(options.csv), markup=False)
        return 0
    if options.json:
        print_json({"reviews": [asdict(review) for review in latest], "unreadable_lines": list(log.unreadable)})
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
        print_json(asdict(found))
        return 0
    for name, value in model_facts(found).items():
        printed.print(f"{name}: {value}", markup=False)
    return 0


def export(options: argparse.Namespace) -> int:
    """Convert a folder of features for other tools."""
    paths = sorted(path for path in options.features.glob("*.zarr") if not path.name.endswith(".ome.zarr"))  # no maps
    if not paths:
        raise ConfigError(f"Expected a folder with features (*.zarr). Got {options.features}, which has none.")
    refuse_mixed(options.features)
    read = Inputs(others=paths)
    read.require_clear([options.out])
    done = [exported(path, options.out, read, say=True) for path in paths]
    return exit_code(done.count(False), len(done))


def exported(features: Path, out: Path, read: Inputs, *, say: bool = False) -> bool:
    """Write a slide's features as h5; where that would take the place of another file, say so and return False."""
    path = out / f"{features.stem}.h5"
    try:
        read.require_clear([path])
        trident.write_trident(path, features)
    except OverwriteError as error:
        printed.print(f"{path}: {error}", markup=False)
        return False
    if say:
        printed.print(str(path), markup=False)
    return True


def doctor(options: argparse.Namespace) -> int:
    """Say what this installation can do, or whether it can have an encoder."""
    if options.encoder:
        return print_encoder(options.encoder, as_json=options.json)
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
        print_json(facts)
        return 0
    for package, version in versions.items():
        printed.print(f"{package}: {version}", markup=False)
    for device in available_devices():
        free = "" if device.free_bytes is None else f", {device.free_bytes / 2**30:.1f} GiB free"
        printed.print(f"device {device.name}: {device.description}{free}", markup=False)
    printed.print(f"slides read with tifffile: {', '.join(TIFF_EXTENSIONS)}", markup=False)
    printed.print(f"slides read with OpenSlide: {', '.join(OPENSLIDE_EXTENSIONS)}, and a few SVS", markup=False)
    printed.print(f"slides read with zarr: {', '.join(ZARR_EXTENSIONS)} (OME-Zarr 0.4 and 0.5)", markup=False)
    printed.print(f"pictures read with Pillow: {', '.join(FLAT_EXTENSIONS)}, which need a resolution", markup=False)
    return 0
