"""Show that two versions of the code give equal results: a small training, and what the commands make of its model.

    python benchmarks/same_results.py --against COMMIT

The source of COMMIT is unpacked into a temporary folder; the source beside this script is copied there. With each of
the two, `TRAIN` and `COMMANDS` run in their own processes, on one cohort that this script draws, with one thread on the
CPU. Then a hash of the content of every file is compared. The exit code is 1 if a hash differs or a file is missing.

`VOLATILE`, `SKIPPED` and `TEXT_MARKS` name what is left out of a hash, because it differs between two runs of the same
code. Both versions write to the same path, one after the other, so paths are equal. `--ignore-words` also leaves out
sentences (`WORDS`, and all but the numbers and pictures of HTML), for changes of wording. `--only` names the files to
compare, such as the results: ``--only '*.zarr' 'run/model/*' '*predictions.csv' '*metrics.json' '*evaluation.json'``.

Only the command line and the formats on disk are used, so the script works wherever modules live.
"""

import argparse
import csv
import fnmatch
import hashlib
import html
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import h5py
import numpy as np
import safetensors.numpy
import tifffile
import timm
import torch
import zarr
from numpy.typing import NDArray
from PIL import Image

SLIDES, CASES, SIDE, MPP, NUCLEI = 12, 8, 1024, 0.5, 2500
ROOT = Path(__file__).resolve().parents[1]
SETTINGS = (
    "pretrained=false",
    "patch_size=64",
    "mpp_hr=1.0",
    "threads=1",
    "stage1.fit.steps=4",
    "stage1.fit.interval=2",
    "stage1.patches_per_epoch=32",
    "stage1.validation_patches=16",
    "mil.fit.epochs=4",
)
TRAIN = "train cohort/slides cohort/labels.csv --out out/run --encoder test_resnet --folds 2 --device cpu"
COMMANDS = (
    "report out/run",
    "predict cohort/new --model out/run/model --out out/predict --mpp-table cohort/mpp.csv --threads 1 --device cpu",
    "case cohort/new/new-0.ome.tif --model out/run/model --out out/case --threads 1 --device cpu",
    "evaluate cohort/slides cohort/labels.csv --model out/run/model --out out/evaluate --threads 1 --device cpu",
    "extract cohort/new --encoder local-dir:cohort/encoder --out out/extract --trident --mpp-table cohort/mpp.csv "
    "--at 2.0 --patch-size 64 --threads 1 --device cpu",
    "export out/run/shared/lr --to trident --out out/export",
)
VOLATILE = {  # members of JSON, attributes of zarr and HDF5, columns of CSV
    *("seconds", "seconds_per_slide", "timings"),  # durations
    *("date", "written", "trained"),  # days
    *("version", "environment"),  # of the package; of Python, the libraries and the machine
}
SKIPPED = {"steps.jsonl", "environment.json", "run.lock", ".lrmil.lock"}  # times of day; the machine; empty
TEXT_MARKS = (r"\d{4}-\d\d-\d\d", r"lrmil \d[\w.+]*", r"\b[\d.,]+ s\b")  # HTML and TOML: days, version, durations
WORDS = {"message", "hint", "notes", "note", "notice", "remark", "remarks", "reason", "gap", "changes", "problems"}


def main() -> int:
    """Run both versions and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", required=True, metavar="COMMIT", help="the version to compare with")
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep everything in this new folder")
    parser.add_argument("--ignore-words", action="store_true", help="leave sentences out of the comparison")
    parser.add_argument(
        "--only", nargs="+", metavar="PATTERN", default=["*"], help="which files, as in '*/metrics.json'"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        work = (options.work or Path(temporary) / "work").resolve()
        work.mkdir(parents=True)
        unpack(options.against, work / "source-before")
        shutil.copytree(ROOT / "src", work / "source-after/src", ignore=shutil.ignore_patterns("__pycache__"))
        draw_cohort(work / "cohort")
        found = {}
        for name in ("before", "after"):
            run_commands(work / f"source-{name}/src", work)
            found[name] = hashes(work / "out", VOLATILE | (WORDS if options.ignore_words else set()))
            (work / "out").rename(work / name)
    before, after = ({name: one[name] for name in one if chosen(name, options.only)} for one in found.values())
    return print_table(before, after)


def chosen(name: str, patterns: list[str]) -> bool:
    """Tell whether a file is among those to compare."""
    return any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


def unpack(commit: str, folder: Path) -> None:
    """Write the source of a commit into a folder."""
    archive = subprocess.run(["git", "archive", commit, "src"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        tar.extractall(folder, filter="data")


def run_commands(source: Path, work: Path) -> None:
    """Let the commands write to WORK/out with the package in a source folder, their exit codes too."""
    environment = {**os.environ, "PYTHONPATH": str(source), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, *arguments]
        return subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, errors="replace")

    used = run("-c", "import lrmil; print(lrmil.__file__)").stdout.strip()
    if not Path(used).is_relative_to(source):
        raise SystemExit(f"Expected the package in {source}. Got {used}.")
    trained = run("-m", "lrmil", *TRAIN.split(), *(word for setting in SETTINGS for word in ("--set", setting)))
    if trained.returncode:
        raise SystemExit(f"lrmil {TRAIN}\n{trained.stderr}")
    make_steady(work / "out/run")
    codes = {}
    for line in COMMANDS:
        done = run("-m", "lrmil", *line.split())
        if "Traceback" in done.stderr:
            raise SystemExit(f"lrmil {line}\n{done.stderr}")
        codes[line.split()[0]] = done.returncode
    (work / "out/exit_codes.json").write_text(json.dumps(codes))


def make_steady(run: Path) -> None:
    """Replace durations and days of a finished run, so that the report and the model's hash do not depend on them."""

    def steady(value: object, *, volatile: bool = False) -> object:
        match value:
            case dict():
                return {name: steady(one, volatile=volatile or name in VOLATILE) for name, one in value.items()}
            case list():
                return [steady(one, volatile=volatile) for one in value]
            case str():
                return "2000-01-01" if volatile else value
            case float():
                return 1.0 if volatile else value
            case _:
                return value

    for name in ("metrics.json", "model/bundle.json"):
        path = run / name
        path.write_text(json.dumps(steady(json.loads(path.read_text())), indent=2))


def hashes(folder: Path, ignored: set[str]) -> dict[str, str]:
    """Name of each file, or zarr folder, below a folder -> hash of its content."""
    found = {}
    for path in sorted(folder.rglob("*")):
        inside_zarr = any((parent / "zarr.json").exists() for parent in path.parents)
        if path.name in SKIPPED or inside_zarr:
            continue
        if path.is_file() or (path / "zarr.json").exists():
            read = READERS.get("zarr" if path.is_dir() else path.suffix, read_text)
            content = json.dumps(read(path, ignored), sort_keys=True).encode()
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(content).hexdigest()[:16]
    return found


def cleaned(value: object, ignored: set[str]) -> object:
    """Leave out the members of a JSON value whose names are ignored."""
    if isinstance(value, dict):
        return {name: cleaned(one, ignored) for name, one in value.items() if name not in ignored}
    return [cleaned(one, ignored) for one in value] if isinstance(value, list) else value


def read_json(path: Path, ignored: set[str]) -> object:
    return cleaned(json.loads(path.read_text()), ignored)


def read_csv(path: Path, ignored: set[str]) -> object:
    with path.open(newline="", encoding="utf-8-sig") as file:
        return [cleaned(row, ignored) for row in csv.DictReader(file)]


def read_text(path: Path, ignored: set[str]) -> object:
    text = path.read_text()
    for mark in TEXT_MARKS:
        text = re.sub(mark, "", text)
    if path.suffix == ".html" and ignored & WORDS:
        numbers = re.findall(r"\d+(?:\.\d+)?", html.unescape(re.sub(r"<[^>]*>", " ", text)))
        return [re.findall(r"data:image/[^\"']+", text), numbers]
    return text


def read_picture(path: Path, ignored: set[str]) -> object:
    return array_hash(np.asarray(Image.open(path)))


def read_weights(path: Path, ignored: set[str]) -> object:
    with path.open("rb") as file:
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
    tensors = {name: array_hash(array) for name, array in safetensors.numpy.load_file(path).items()}
    return [cleaned(header.get("__metadata__", {}), ignored), tensors]


def read_hdf5(path: Path, ignored: set[str]) -> object:
    found: dict[str, object] = {}

    def visit(name: str, item: h5py.Group | h5py.Dataset) -> None:
        attributes = {key: np.asarray(value).tolist() for key, value in item.attrs.items()}
        found[name] = [cleaned(attributes, ignored), array_hash(item[()]) if isinstance(item, h5py.Dataset) else ""]

    with h5py.File(path) as file:
        visit("/", file)
        file.visititems(visit)
    return json.loads(json.dumps(found, default=str))


def read_zarr(path: Path, ignored: set[str]) -> object:
    group = zarr.open_group(path, mode="r")
    members = {"/": group, **dict(group.members(max_depth=None))}
    return {
        name: [
            cleaned(dict(member.attrs), ignored),
            array_hash(np.asarray(member[...])) if isinstance(member, zarr.Array) else "",
        ]
        for name, member in members.items()
    }


def array_hash(array: NDArray[np.generic]) -> str:
    data = np.ascontiguousarray(array)
    return f"{data.dtype}{data.shape}{hashlib.sha256(data.tobytes()).hexdigest()}"


READERS: dict[str, Callable[[Path, set[str]], object]] = {
    ".json": read_json,
    ".geojson": read_json,
    ".csv": read_csv,
    ".png": read_picture,
    ".safetensors": read_weights,
    ".h5": read_hdf5,
    "zarr": read_zarr,
}


def print_table(before: dict[str, str], after: dict[str, str]) -> int:
    """Print a line for each file; return 1 if one differs."""
    names = sorted(before.keys() | after.keys())
    width = max(map(len, names))
    for name in names:
        old, new = before.get(name, "missing"), after.get(name, "missing")
        print(f"{name:{width}}  {old:16}  {new:16}  {'equal' if old == new else 'DIFFERENT'}")
    different = sum(before.get(name) != after.get(name) for name in names)
    print(f"{len(names)} compared, {different} different")
    return int(different > 0)


def draw_cohort(folder: Path) -> None:
    """Draw labelled slides, three new ones (one without um/px, one cut off in its middle), a table and an encoder."""
    (folder / "slides").mkdir(parents=True)
    (folder / "new").mkdir()
    rows = ["slide_id,case_id,label"]
    for place in range(SLIDES):
        positive = place % 2 == 1
        write_slide(folder / f"slides/slide-{place}.ome.tif", slide_pixels(place, positive=positive))
        rows.append(f"slide-{place},case-{place % CASES},{'positive' if positive else 'negative'}")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    write_slide(folder / "new/new-0.ome.tif", slide_pixels(100, positive=True))
    write_slide(folder / "new/new-1.tif", slide_pixels(101, positive=False), mpp=None)
    write_slide(folder / "new/new-2.ome.tif", slide_pixels(102, positive=True))
    data = (folder / "new/new-2.ome.tif").read_bytes()
    (folder / "new/new-2.ome.tif").write_bytes(data[: len(data) // 2])
    (folder / "mpp.csv").write_text(f"slide_id,mpp\nnew-1,{MPP}\n")
    torch.manual_seed(0)
    timm.models.save_for_hf(timm.create_model("test_vit"), folder / "encoder", safe_serialization=True)


def slide_pixels(seed: int, *, positive: bool) -> NDArray[np.uint8]:
    """Draw pink tissue with dark nuclei, coarser ones on positive slides: (SIDE, SIDE, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE - rng.uniform(0.45, 0.55, (2, 1, 1))
    pixels = np.full((SIDE, SIDE, 3), 243.0)
    tissue = np.hypot(y / rng.uniform(0.35, 0.5), x / rng.uniform(0.35, 0.5)) < 1
    pixels[tissue] = (226, 160, 195)
    for top, left in rng.integers(0, SIDE - 8, (NUCLEI, 2)):
        if tissue[top, left]:
            side = rng.integers(6, 8) if positive else rng.integers(3, 6)
            pixels[top : top + side, left : left + side] = (90, 60, 130)
    return np.clip(pixels + rng.normal(0, 6, pixels.shape), 0, 255).astype(np.uint8)


def write_slide(path: Path, pixels: NDArray[np.uint8], *, mpp: float | None = MPP) -> None:
    """Write a pyramid of tiles; without um/px it is a plain TIFF."""
    metadata = {"axes": "YXS"} if mpp is None else {"axes": "YXS", "PhysicalSizeX": mpp, "PhysicalSizeY": mpp}
    with tifffile.TiffWriter(path, ome=mpp is not None) as tif:
        tif.write(pixels, subifds=2, metadata=metadata, photometric="rgb", tile=(256, 256))
        for factor in (4, 16):
            level = np.asarray(Image.fromarray(pixels).reduce(factor))
            tif.write(level, subfiletype=1, photometric="rgb", tile=(256, 256))


if __name__ == "__main__":
    sys.exit(main())
