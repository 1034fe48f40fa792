"""The messages that users meet, as promised in messages.md: each is provoked for real and compared with its entry.

To promise another message, add a function that raises the error or returns the note, marked by `promised` with the name
of its entry. Then run this file (PYTHONPATH=src:tests) to rewrite messages.md, and read the change as text. Other tests
check the class of an error, its reason and the item that it names, not its sentences.
"""

import argparse
import errno
import json
import re
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from PIL import Image

from lrmil.cli.commands import export, stop
from lrmil.cli.options import config_of, mpp_of, slides_of
from lrmil.cli.parser import build_parser
from lrmil.cohorts.case_table import read_cases
from lrmil.cohorts.cohort import validate_cohort
from lrmil.cohorts.measured import Part, measured_part
from lrmil.cohorts.mpp_table import read_mpp_table
from lrmil.cohorts.reviewed_labels import labels_from_reviews
from lrmil.cohorts.screening import Screened, near_duplicates
from lrmil.configs import FitConfig, TrainConfig, from_dict, with_settings
from lrmil.demo.synthetic import make_cohort_steps
from lrmil.errors import LrmilError
from lrmil.features.encoding import Encoded, concatenate
from lrmil.features.kinds import require_one_kind
from lrmil.features.slide_features import require_readable, unreadable_note
from lrmil.features.store import read_card, read_features
from lrmil.geometry import Grid, resolution_ratio
from lrmil.io import atomic, documents, locks, plain_files, untrusted
from lrmil.io.ownership import is_prediction_table
from lrmil.io.settings import read_toml
from lrmil.io.tables import read_table
from lrmil.io.tensors import load_tensors
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.encoders.loading import load_encoder
from lrmil.models.encoders.source import find_source
from lrmil.models.encoders.terms import EncoderTerms, terms_warning
from lrmil.models.finite import require_finite
from lrmil.models.learned_from import keep_hashes, seen_note
from lrmil.patches.mask_files import require_mask_writable
from lrmil.patches.masks import find_masks, read_mask
from lrmil.patches.tissue import find_tissue
from lrmil.prediction.inference import predict_steps
from lrmil.prediction.table import PredictionTable
from lrmil.raster import Raster
from lrmil.reports.run_report import write_report
from lrmil.reviews.kappa import kappa_of
from lrmil.reviews.log import Review, append_review, read_reviews, require_reviews
from lrmil.reviews.several import read_logs
from lrmil.runs.artefacts import key_of
from lrmil.runs.audit import audit_run
from lrmil.runs.changes import PreviousRun, changes_since
from lrmil.runs.control import request_stop, run_lock
from lrmil.runs.plan_file import read_plan, write_plan
from lrmil.slides.checksums import Checksum, read_checksums, verify
from lrmil.slides.dask_workers import DIED
from lrmil.slides.failures import duplicate_names, failure_of, require_short_name
from lrmil.slides.identity import unchanged
from lrmil.slides.inputs import Inputs
from lrmil.slides.opening import open_slide
from lrmil.slides.resolution import parse_mpp
from lrmil.slides.shards import Shard
from lrmil.slides.source import SlideSource
from lrmil.slides.workers import Workers
from lrmil.tasks.classification import Classification
from lrmil.training.loop import Budget, FitRun, fit_steps
from support.pictures import picture
from support.runs import tiny_bundle
from support.slides import coordinate_pixels, overwrite, segment_of, write_ome_zarr_slide, write_pyramid
from support.vendor_slides import write_mrxs

PROMISES = Path(__file__).with_name("messages.md")
ENTRY = re.compile(r"^## (?P<name>.+)\n\n(?P<text>.+)\n", re.MULTILINE)
HEAD = """# Messages that users meet

One entry for each promised message: its name, then the class of the error (or "note") and the text, with `<folder>` in
place of the folder of the test. Written by `tests/contracts/test_messages.py`; sorted by name.
"""
# Words that house style forbids in a message.
DIALECT = re.compile(
    r"\b(mend|told|taken leave|nobody can tell|pass(ed)? over|what is none|of old|a glass|stood in|the system says)\b"
    r"|Expected (room|the right|an open|to )"
)

Provoke = Callable[[Path], object]
PROVOKED: dict[str, Provoke] = {}


def promised(name: str) -> Callable[[Provoke], Provoke]:
    """Register a function that raises an error, or returns a note, given an empty folder."""

    def register(provoke: Provoke) -> Provoke:
        assert name not in PROVOKED
        PROVOKED[name] = provoke
        return provoke

    return register


def message_of(name: str, folder: Path) -> str:
    """Return the class and the text of what a function raises or returns, without the folder."""
    try:
        text = f"note: {PROVOKED[name](folder)}"
    except (LrmilError, ValueError) as error:
        text = f"{type(error).__name__}: {error}"
    return text.replace(str(folder), "<folder>")


def entries() -> dict[str, str]:
    return {found["name"]: found["text"] for found in ENTRY.finditer(PROMISES.read_text(encoding="utf-8"))}


def written(messages: Iterable[tuple[str, str]]) -> str:
    return HEAD + "".join(f"\n## {name}\n\n{text}\n" for name, text in sorted(messages))


# Ground floor


@promised("geometry: a resolution of zero")
def _(folder: Path) -> object:
    return Grid(0, 256, 0.5)


@promised("geometry: resolutions that do not nest")
def _(folder: Path) -> object:
    return resolution_ratio(2.0, 0.3)


# io


@promised("io: a disk that is full")
def _(folder: Path) -> object:
    with atomic.replacing(folder / "out/a.csv") as temporary:
        temporary.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")


@promised("io: an output that someone edited")
def _(folder: Path) -> object:
    (folder / "predictions.csv").write_text("my notes")
    return atomic.write_text(folder / "predictions.csv", "new", is_prediction_table)


@promised("io: an output folder in use")
def _(folder: Path) -> object:
    with locks.output_lock(folder), locks.output_lock(folder, patience=0.0):
        return None


@promised("io: a folder in place of a file")
def _(folder: Path) -> object:
    return plain_files.require_plain(folder)


@promised("io: a link in place of a file")
def _(folder: Path) -> object:
    (folder / "log").symlink_to(folder / "elsewhere")
    return plain_files.require_no_link(folder / "log")


@promised("io: a file that is too large")
def _(folder: Path) -> object:
    (folder / "a.json").write_bytes(b" " * 4096)
    return untrusted.read_json(folder / "a.json", max_bytes=2048)


@promised("io: a text in another encoding")
def _(folder: Path) -> object:
    (folder / "plan.toml").write_bytes(b"note = '\xff'")
    return documents.read_toml_document(folder / "plan.toml")


@promised("io: a JSON document with a repeated key")
def _(folder: Path) -> object:
    (folder / "a.json").write_text('{"a": 1, "a": 2}')
    return untrusted.read_json(folder / "a.json")


@promised("io: a link out of a model")
def _(folder: Path) -> object:
    (folder / "model").mkdir()
    (folder / "other.json").write_text("{}")
    (folder / "model/bundle.json").symlink_to(folder / "other.json")
    return untrusted.file_in(folder / "model", "bundle.json")


@promised("io: weights of another size than their header says")
def _(folder: Path) -> object:
    header = b'{"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}'
    (folder / "mil.safetensors").write_bytes(struct.pack("<Q", len(header)) + header + bytes(5))
    return untrusted.read_header(folder / "mil.safetensors")


@promised("io: damaged tensors of a run")
def _(folder: Path) -> object:
    (folder / "outputs").mkdir()
    (folder / "outputs/outputs.safetensors").write_bytes(b"damaged")
    return load_tensors(folder / "outputs/outputs.safetensors")


@promised("io: settings that are too large")
def _(folder: Path) -> object:
    (folder / "settings.toml").write_bytes(b"#" * (2 << 20))
    return read_toml(folder / "settings.toml")


@promised("io: no table")
def _(folder: Path) -> object:
    return read_table(folder / "labels.csv", what="labels table")


@promised("io: a table in another format")
def _(folder: Path) -> object:
    (folder / "labels.docx").touch()
    return read_table(folder / "labels.docx", what="labels table")


@promised("io: an empty table")
def _(folder: Path) -> object:
    (folder / "labels.csv").write_text(",,\n")
    return read_table(folder / "labels.csv", what="labels table")


@promised("io: a table without a header")
def _(folder: Path) -> object:
    (folder / "labels.csv").write_text(",\na,b\n")
    return read_table(folder / "labels.csv", what="um/px table")


@promised("io: a table with an open quote")
def _(folder: Path) -> object:
    (folder / "labels.csv").write_text('slide_id,label\na,"x\n')
    return read_table(folder / "labels.csv", what="labels table")


@promised("io: a fold that leads out of a run")
def _(folder: Path) -> object:
    return documents.require_fold("../elsewhere")


@promised("io: a linked folder of a run")
def _(folder: Path) -> object:
    (folder / "run").mkdir()
    (folder / "run/model").symlink_to(folder)
    return documents.require_no_links(folder / "run")


# reviews


def review(**values: object) -> Review:
    """Make an entry of the log that agrees with the model."""
    whole = {
        "event": "review",
        "slide_id": "a",
        "slide_fingerprint": "f",
        "bundle_sha256": "b",
        "output_label": "yes",
        "output_probabilities": {"no": 0.25, "yes": 0.75},
        "output_status": "ok",
        "decision": "agree",
        "human_label": "yes",
        **values,
    }
    return Review(**whole)  # type: ignore[arg-type]


@promised("reviews: an agreement with another label")
def _(folder: Path) -> object:
    return review(human_label="no")


@promised("reviews: a note that is too long")
def _(folder: Path) -> object:
    return review(note="x" * 10_001)


@promised("reviews: a log that cannot be read")
def _(folder: Path) -> object:
    return read_reviews(folder)


@promised("reviews: a log that stands in another")
def _(folder: Path) -> object:
    for name in ("a.jsonl", "b.jsonl"):
        append_review(folder / name, review(time="2026-01-01T00:00:00+00:00"))
    (note,) = read_logs([folder / "a.jsonl", folder / "b.jsonl"]).notes
    return note


@promised("reviews: one label alone")
def _(folder: Path) -> object:
    return kappa_of(["yes", "yes"], ["yes", "yes"], ["a", "b"]).reason


@promised("reviews: no log")
def _(folder: Path) -> object:
    return require_reviews(folder / "reviews.jsonl")


@promised("reviews: a log that cannot be written")
def _(folder: Path) -> object:
    (folder / "reviews.jsonl").symlink_to(folder / "elsewhere")
    return append_review(folder / "reviews.jsonl", review())


@promised("reviews: a log of a later version")
def _(folder: Path) -> object:
    (folder / "reviews.jsonl").write_text('{"format": "lrmil.review/3"}\n')
    return read_reviews(folder / "reviews.jsonl")


# slides


@promised("slides: no such file")
def _(folder: Path) -> object:
    return open_slide(folder / "a.svs")


@promised("slides: an empty file")
def _(folder: Path) -> object:
    (folder / "a.svs").touch()
    return open_slide(folder / "a.svs")


@promised("slides: a dangling link")
def _(folder: Path) -> object:
    (folder / "a.svs").symlink_to(folder / "elsewhere.svs")
    return open_slide(folder / "a.svs")


@promised("slides: a folder of other files")
def _(folder: Path) -> object:
    return open_slide(folder)


@promised("slides: a file in no known format")
def _(folder: Path) -> object:
    (folder / "a.svs").write_text("not a slide")
    return open_slide(folder / "a.svs")


@promised("slides: a grey image")
def _(folder: Path) -> object:
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(folder / "a.png")
    return open_slide(folder / "a.png", 0.5)


@promised("slides: a truncated image")
def _(folder: Path) -> object:
    Image.fromarray(np.full((8, 8, 3), 200, np.uint8)).save(folder / "a.png")
    (folder / "a.png").write_bytes((folder / "a.png").read_bytes()[:-12])
    return open_slide(folder / "a.png", 0.5)


@promised("slides: an MRXS without its folder")
def _(folder: Path) -> object:
    write_mrxs(folder / "a.mrxs", picture(64, 64))
    (folder / "a").rename(folder / "b")
    return open_slide(folder / "a.mrxs")


@promised("slides: an OME-Zarr without an image")
def _(folder: Path) -> object:
    path = write_ome_zarr_slide(folder / "a.zarr", picture(64, 64), factors=())
    (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    return open_slide(path)


@promised("slides: missing bytes in a tile")
def _(folder: Path) -> object:
    path = write_pyramid(folder / "a.tif", picture(512, 512), factors=(), compression=None, style="plain")
    offset, count = segment_of(path, 0, 0)
    overwrite(path, offset, bytes(count // 2))
    with open_slide(path, 0.5) as slide:
        return slide.read_region((0, 0), (100, 100), 0.5)


def slide_without_mpp(folder: Path) -> Path:
    """Write a slide that states no pixel size."""
    return write_pyramid(folder / "a.svs", coordinate_pixels(64, 64), None, factors=(), style="aperio")


@promised("slides: no um/px")
def _(folder: Path) -> object:
    with open_slide(slide_without_mpp(folder)) as slide:
        return slide.mpp


@promised("slides: implausible um/px")
def _(folder: Path) -> object:
    return open_slide(slide_without_mpp(folder), 30.0)


@promised("slides: um/px of a slide larger than a microscope slide")
def _(folder: Path) -> object:
    pixels = np.full((16, 70_000, 3), 200, np.uint8)
    return open_slide(write_pyramid(folder / "a.tif", pixels, 5.0, factors=(), style="plain"), 5.0)


@promised("slides: coarser than requested")
def _(folder: Path) -> object:
    with open_slide(slide_without_mpp(folder), 0.5) as slide:
        return slide.read_region((0, 0), (8, 8), 0.25)


@promised("slides: a resolution that cannot be parsed")
def _(folder: Path) -> object:
    return parse_mpp("40 times")


@promised("slides: a note that no level is near")
def _(folder: Path) -> object:
    with open_slide(slide_without_mpp(folder), 0.5) as slide:
        slide.read_region((0, 0), (8, 8), 4.0)
        return slide.notes[0]


@promised("slides: a note about a damaged level")
def _(folder: Path) -> object:
    path = write_pyramid(folder / "a.tif", picture(512, 512), factors=(2,), compression=None, style="plain")
    offset, count = segment_of(path, 1, 0)
    overwrite(path, offset, bytes(count))
    with open_slide(path, 0.5) as slide:
        slide.read_region((0, 0), (100, 100), 1.0)
        return slide.notes[0]


@promised("slides: changed while it was read")
def _(folder: Path) -> object:
    path = slide_without_mpp(folder)
    with open_slide(path, 0.5) as slide, unchanged(slide):
        return path.write_bytes(path.read_bytes() + b"more")


@promised("slides: an output that would replace an input")
def _(folder: Path) -> object:
    (folder / "a.csv").touch()
    return Inputs(others=[folder / "a.csv"]).require_clear([folder / "a.csv"])


@promised("slides: no list of checksums")
def _(folder: Path) -> object:
    return read_checksums(folder / "sums.txt")


@promised("slides: a list without checksums")
def _(folder: Path) -> object:
    (folder / "sums.txt").write_text("# none\n")
    return read_checksums(folder / "sums.txt")


@promised("slides: another checksum")
def _(folder: Path) -> object:
    (folder / "a.svs").write_text("changed")
    return verify([Checksum(folder / "a.svs", "0" * 64, "sums.txt")])


SOURCES = [SlideSource(name, Path(f"{name}.svs")) for name in "ab"]


def glass(folder: Path) -> Path:
    return write_pyramid(folder / "a.ome.tif", np.full((256, 256, 3), 243, np.uint8), 4.0, factors=())


@promised("patches: a folder without masks")
def _(folder: Path) -> object:
    return find_masks(folder, SOURCES)


@promised("patches: one mask for two slides")
def _(folder: Path) -> object:
    (folder / "mask.geojson").touch()
    return find_masks(folder / "mask.geojson", SOURCES)


@promised("patches: two masks of a slide")
def _(folder: Path) -> object:
    (folder / "a.geojson").touch()
    (folder / "a_mask_use.png").touch()
    return find_masks(folder, SOURCES)


@promised("patches: the mask of another slide")
def _(folder: Path) -> object:
    square = [[0, 0], [5000, 0], [5000, 5000], [0, 0]]
    feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [square]}}
    (folder / "a.geojson").write_text(json.dumps(feature))
    with open_slide(glass(folder)) as slide:
        return read_mask(folder / "a.geojson", slide)


@promised("patches: a mask that is not GeoJSON")
def _(folder: Path) -> object:
    (folder / "a.geojson").write_text("{}")
    with open_slide(glass(folder)) as slide:
        return read_mask(folder / "a.geojson", slide)


@promised("patches: an edited mask in the output folder")
def _(folder: Path) -> object:
    (folder / "a.tissue.ome.zarr").mkdir()
    mask = Raster.on_lattice(np.ones((2, 2), bool), cell_level0=8.0, origin_yx=(0.0, 0.0))
    return require_mask_writable(folder / "a.tissue.ome.zarr", mask, "")


@promised("patches: a slide without tissue")
def _(folder: Path) -> object:
    with open_slide(glass(folder)) as slide:
        return " ".join(find_tissue(slide).notes)


@promised("models: a folder that is not a model")
def _(folder: Path) -> object:
    return load_bundle(folder)


@promised("models: a model of a later version")
def _(folder: Path) -> object:
    save_bundle(folder / "model", tiny_bundle())
    path = folder / "model/bundle.json"
    path.write_text(path.read_text().replace("lrmil.bundle/1", "lrmil.bundle/9"))
    return load_bundle(folder / "model")


@promised("models: weights that changed")
def _(folder: Path) -> object:
    save_bundle(folder / "model", tiny_bundle())
    path = folder / "model/mil.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    return load_bundle(folder / "model")


@promised("models: an encoder that does not exist")
def _(folder: Path) -> object:
    return find_source("uni2h")


@promised("models: an encoder that timm cannot build")
def _(folder: Path) -> object:
    return find_source("conch")


@promised("models: a patch size that does not fit")
def _(folder: Path) -> object:
    return load_encoder("vit_tiny_patch16_224", size=250, pretrained=False)


@promised("models: outputs that are not finite")
def _(folder: Path) -> object:
    return require_finite("the encoder resnet18", np.array([1.0, np.nan]))


@promised("models: a slide that the model learned from")
def _(folder: Path) -> object:
    return " ".join(seen_note(keep_hashes(["ab" * 32], ["a"], 0), "ab" * 32))


@promised("models: terms that forbid commercial use")
def _(folder: Path) -> object:
    teacher = EncoderTerms("uni2-h", "CC-BY-NC-ND-4.0", inherits=True)
    return terms_warning(teacher, EncoderTerms("resnet18", random=True))


@promised("configs: an unknown setting")
def _(folder: Path) -> object:
    return from_dict({"epocs": 3})


@promised("configs: a setting of an unknown group")
def _(folder: Path) -> object:
    return with_settings(TrainConfig(), {"stage3.epochs": 3})


@promised("demo: too few slides")
def _(folder: Path) -> object:
    return list(make_cohort_steps(folder, slides=3))


@promised("reports: a folder that is not a run")
def _(folder: Path) -> object:
    return write_report(folder)


@promised("reports: a run that is not finished")
def _(folder: Path) -> object:
    write_plan(folder, TrainConfig(), "slides", "labels.csv")
    return write_report(folder)


# cli


def parsed(*arguments: object) -> argparse.Namespace:
    """Return the options of a command line."""
    return build_parser().parse_args([str(argument) for argument in arguments])


@promised("cli: a folder without slides")
def _(folder: Path) -> object:
    return slides_of(parsed("inspect", folder))


@promised("cli: a list of checksums of other slides")
def _(folder: Path) -> object:
    (folder / "a.svs").touch()
    (folder / "sums.txt").write_text(f"{'0' * 64}  b.svs\n")
    return slides_of(parsed("inspect", folder, "--checksums", folder / "sums.txt"))


@promised("cli: um/px that no scanner has")
def _(folder: Path) -> object:
    return mpp_of(parsed("inspect", folder, "--mpp", "6"))


@promised("cli: a setting without a value")
def _(folder: Path) -> object:
    return config_of(parsed("train", folder, "labels.csv", "--out", folder, "--set", "folds"))


@promised("cli: a folder without features")
def _(folder: Path) -> object:
    return export.run(parsed("export", folder, "--to", "trident", "--out", folder / "h5"))


@promised("cli: no training to stop")
def _(folder: Path) -> object:
    return stop.run(parsed("stop", folder))


# features


@promised("features: a folder without features")
def _(folder: Path) -> object:
    return read_card(folder)


@promised("features: a chunk that is missing")
def _(folder: Path) -> object:
    sample = Path(__file__).parents[1] / "formats/features-1/sample.zarr"
    shutil.copytree(sample, folder / "a.zarr")
    shutil.rmtree(folder / "a.zarr/features/c")
    return read_features(folder / "a.zarr")


@promised("features: two encoders in one folder")
def _(folder: Path) -> object:
    return require_one_kind(folder, ("ab" * 32, 2.0, 256), ("cd" * 32, 2.0, 256))


@promised("features: a slide without patches")
def _(folder: Path) -> object:
    return require_readable(0, 0, 0.2)


@promised("features: too many unreadable patches")
def _(folder: Path) -> object:
    return require_readable(3, 10, 0.2)


@promised("features: no readable patch")
def _(folder: Path) -> object:
    nothing = np.zeros(0, np.int64)
    return concatenate([Encoded(nothing, np.zeros((0, 2), np.float32), (), np.arange(12))])


@promised("features: a note about unreadable patches")
def _(folder: Path) -> object:
    return unreadable_note(3, 100)[0]


# failures of slides


@promised("slides: not enough memory")
def _(folder: Path) -> object:
    return failure_of(MemoryError(), SlideSource("a", folder / "a.svs")).message


@promised("slides: a file without permission")
def _(folder: Path) -> object:
    error = PermissionError(errno.EACCES, "Permission denied", str(folder / "a.svs"))
    return failure_of(error, SlideSource("a", folder / "a.svs")).message


@promised("slides: an unexpected error")
def _(folder: Path) -> object:
    return failure_of(KeyError("x"), SlideSource("a", folder / "a.svs")).message


@promised("slides: two slides of one name")
def _(folder: Path) -> object:
    sources = [SlideSource("a", folder / name) for name in ("a.svs", "a.tif")]
    return duplicate_names(sources)[folder / "a.svs"].message


@promised("slides: a name that is too long")
def _(folder: Path) -> object:
    return require_short_name("x" * 300)


@promised("slides: a process that died every time")
def _(folder: Path) -> object:
    return DIED.message


@promised("slides: on several processes, without the library for it")
def _(folder: Path) -> object:
    with patch("lrmil.slides.workers.find_spec", return_value=None):
        return Workers(2)


@promised("slides: a shard that is none")
def _(folder: Path) -> object:
    return Shard.parse("0/8")


# training, prediction, runs


@promised("training: a loss that is not finite")
def _(folder: Path) -> object:
    def losses(epoch: int, generator: torch.Generator) -> Iterator[dict[str, torch.Tensor]]:
        yield {"loss": torch.tensor(torch.nan)}

    run = FitRun(0, folder / "a.checkpoint.safetensors", "key", torch.device("cpu"))
    module, config = torch.nn.Linear(1, 1), FitConfig()
    job = ("fold-0", "teacher")
    budget = Budget(1, 1)
    return list(fit_steps(job, module, run, epoch_losses=losses, budget=budget, validate=None, config=config))


@promised("prediction: um/px with an open slide")
def _(folder: Path) -> object:
    with open_slide(slide_without_mpp(folder), 0.5) as slide:
        return list(predict_steps(slide, tiny_bundle(), "cpu", 0.5))


@promised("prediction: the table of a training run")
def _(folder: Path) -> object:
    (folder / "predictions.csv").write_text("slide_id,case_id,fold,arm,label,prob_no,prob_yes\n")
    return PredictionTable(folder / "predictions.csv", Classification(("no", "yes")))


@promised("runs: a folder that is not a run")
def _(folder: Path) -> object:
    return read_plan(folder)


@promised("runs: a run of a later version")
def _(folder: Path) -> object:
    (folder / "plan.toml").write_text('format = "lrmil.run/9"\n')
    return read_plan(folder)


@promised("runs: another training in the folder")
def _(folder: Path) -> object:
    with run_lock(folder), run_lock(folder):
        return None


@promised("runs: an audit of an unfinished run")
def _(folder: Path) -> object:
    write_plan(folder, TrainConfig(), "slides", "labels.csv")
    return audit_run(folder)


@promised("runs: no run to stop")
def _(folder: Path) -> object:
    return request_stop(folder / "run")


@promised("runs: an artefact without a key")
def _(folder: Path) -> object:
    (folder / "artefact.json").write_text("{}")
    return key_of(folder)


@promised("runs: a changed setting")
def _(folder: Path) -> object:
    cohort = validate_cohort(*slides_and_table(folder, ["a", "b"], "slide_id,label\na,yes\nb,no\n"), folds=None).cohort
    assert cohort is not None
    previous = PreviousRun(TrainConfig(), {}, {}, frozenset(cohort.by_id), cohort.classes)
    return changes_since(previous, with_settings(TrainConfig(), {"mil.hidden_dim": 64}), cohort, [])[0]


# cohorts


def slides_and_table(folder: Path, names: list[str], table: str) -> tuple[Path, Path]:
    """Write a folder of empty slides and a labels table."""
    (folder / "slides").mkdir()
    for name in names:
        (folder / f"slides/{name}.svs").touch()
    (folder / "labels.csv").write_text(table)
    return folder / "slides", folder / "labels.csv"


def problem_in(folder: Path, names: list[str], table: str, *, folds: int | None = None) -> str:
    """Return the first problem of a cohort, with its remedy."""
    problem = validate_cohort(*slides_and_table(folder, names, table), folds=folds).problems[0]
    return f"{problem.message} {problem.hint}"


@promised("cohorts: a folder without slides")
def _(folder: Path) -> object:
    return problem_in(folder, [], "slide_id,case_id,label\n")


@promised("cohorts: a table without labels")
def _(folder: Path) -> object:
    return problem_in(folder, ["a"], "slide_id,case_id,stain\na,p,HE\n")


@promised("cohorts: a table without cases")
def _(folder: Path) -> object:
    return problem_in(folder, ["a", "b"], "slide_id,label\na,yes\nb,no\n")


@promised("cohorts: a row without a slide")
def _(folder: Path) -> object:
    return problem_in(folder, ["a1"], "slide_id,case_id,label\na1,p,yes\na2,q,no\n")


@promised("cohorts: a slide without a row")
def _(folder: Path) -> object:
    return problem_in(folder, ["a", "b"], "slide_id,case_id,label\na,p,yes\n")


@promised("cohorts: a row without a label")
def _(folder: Path) -> object:
    return problem_in(folder, ["a"], "slide_id,case_id,label\na,p,NA\n")


@promised("cohorts: too few cases")
def _(folder: Path) -> object:
    return problem_in(folder, ["a", "b"], "slide_id,case_id,label\na,p,yes\nb,q,no\n", folds=5)


@promised("cohorts: two labels of a slide")
def _(folder: Path) -> object:
    return problem_in(folder, ["a"], "slide_id,case_id,label\na,p,yes\na,p,no\n")


@promised("cohorts: two labels of a case")
def _(folder: Path) -> object:
    return problem_in(folder, ["a", "b"], "slide_id,case_id,label\na,p,yes\nb,p,no\n")


@promised("cohorts: a copy of a slide with another label")
def _(folder: Path) -> object:
    paths = slides_and_table(folder, ["a", "b"], "slide_id,case_id,label\na,p,yes\nb,q,no\n")
    cohort = validate_cohort(*paths, folds=None).cohort
    assert cohort is not None
    (problem,) = near_duplicates([Screened(name, fingerprint="f") for name in ("a", "b")], cohort)
    return f"{problem.message} {problem.hint}"


def parts_of(folder: Path, table: str, part: str) -> Part:
    cohort = validate_cohort(*slides_and_table(folder, ["a", "b"], table), folds=None).cohort
    assert cohort is not None
    return measured_part(cohort, part)[1]


@promised("cohorts: a part of a table without splits")
def _(folder: Path) -> object:
    return parts_of(folder, "slide_id,label\na,yes\nb,no\n", "test")


@promised("cohorts: a part without slides")
def _(folder: Path) -> object:
    return parts_of(folder, "slide_id,label,split\na,yes,train\nb,no,test\n", "val")


@promised("cohorts: slides that are measured without splits")
def _(folder: Path) -> object:
    return parts_of(folder, "slide_id,label\na,yes\nb,no\n", "").explain()


@promised("cohorts: test slides that are measured")
def _(folder: Path) -> object:
    return parts_of(folder, "slide_id,label,split\na,yes,train\nb,no,test\n", "").explain()


@promised("cohorts: um/px for other slides")
def _(folder: Path) -> object:
    (folder / "mpp.csv").write_text("slide_id,mpp\nb,0.5\n")
    return read_mpp_table(folder / "mpp.csv", ["a"])


@promised("cohorts: two cases of a slide")
def _(folder: Path) -> object:
    (folder / "cases.csv").write_text("slide_id,case_id\na,p\na,q\n")
    return read_cases(folder / "cases.csv", ["a"])


@promised("cohorts: a slide that is reviewed by name alone")
def _(folder: Path) -> object:
    (folder / "a.svs").write_bytes(b"converted")
    append_review(folder / "reviews.jsonl", review())
    (note,) = labels_from_reviews(folder / "reviews.jsonl", folder / "a.svs", folder / "labels.csv").notes
    return note


@promised("cohorts: two um/px of a slide")
def _(folder: Path) -> object:
    (folder / "mpp.csv").write_text("slide_id,mpp\na,0.5\na,0.25\n")
    return read_mpp_table(folder / "mpp.csv", ["a"])


@pytest.mark.parametrize("name", sorted(PROVOKED))
def test_a_provoked_message_is_the_promised_one(name: str, tmp_path: Path) -> None:
    assert message_of(name, tmp_path) == entries()[name]


def test_every_entry_is_provoked_and_written_as_one() -> None:
    assert sorted(entries()) == sorted(PROVOKED)
    assert PROMISES.read_text(encoding="utf-8") == written(entries().items())


@pytest.mark.parametrize(("name", "text"), entries().items())
def test_a_message_is_plain(name: str, text: str) -> None:
    """One or more whole sentences, without words that house style forbids; "Got" answers an "Expected"."""
    words = text.partition(": ")[2]
    assert not DIALECT.search(words), name
    assert words[-1] in ".?" and not re.search(r"\w\.\.(\s|$)", words)
    first = words.split()[0]
    assert first[0].isupper() or first == "lrmil" or not first.isalpha()
    assert "Got " not in words or "Expected " in words


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place, str(number)) for number, name in enumerate(PROVOKED)}
        for each in folders.values():
            each.mkdir()
        PROMISES.write_text(written((name, message_of(name, path)) for name, path in folders.items()), encoding="utf-8")
