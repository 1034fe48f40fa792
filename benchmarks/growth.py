"""How processor time grows with the number of slides, where nothing but metadata is read.

    python benchmarks/growth.py --work WORK --out WORK/growth.md

Each way is measured with cohorts of three sizes, and time ~ slides ** exponent is fitted. Exit code 1 where an exponent
is 1.2 or more: something compares every slide with every other, or looks through all slides once for each.
"""

import argparse
import csv
import gc
import io
import json
import shutil
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from lrmil.cohorts.cohort import Cohort, validate_cohort
from lrmil.cohorts.screening import PICTURE_PX, Screened, near_duplicates
from lrmil.cohorts.splits import final_fold, make_folds, read_splits, without_failed, write_splits
from lrmil.configs import TrainConfig
from lrmil.features.store import FORMAT, FeaturesCard
from lrmil.io.atomic import write_text
from lrmil.io.tensors import save_tensors
from lrmil.prediction.table import TABLE, PredictionRow, PredictionTable, failed_row
from lrmil.runs.arms import ARMS
from lrmil.runs.folds import FoldTask
from lrmil.runs.linear_heads import FOLDER, VALUES
from lrmil.runs.results import figures_of, write_predictions
from lrmil.slides.discovery import find_slides, slide_path
from lrmil.slides.failures import Failure
from lrmil.slides.identity import identity_of
from lrmil.slides.inputs import Inputs
from lrmil.slides.parts import changed_at
from lrmil.slides.source import SlideSource, slide_id_of
from lrmil.tasks.classification import Classification
from lrmil.training.fidelity_figures import FIDELITY, Fidelity, Match
from napari_lrmil.state.answers import case_folder
from napari_lrmil.state.worklist import scan
from napari_lrmil.state.worklist_memory import Memory, list_file, write_memory

SIZES = (1000, 2000, 4000)
LIMIT = 1.2
REPEATS = 3
SETTLED_S = 3  # a DICOM folder that changed less than 2.5 s ago is looked through at each question
CLASSES = ("negative", "positive")
TASK = Classification(CLASSES)
Work = Callable[[], object]


class Growth(NamedTuple):
    """What one way took."""

    name: str
    seconds: list[float]
    """Of processor time, for each size."""
    exponent: float


def main() -> int:
    """Measure, print and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="slides")
    options = parser.parse_args()
    shutil.rmtree(options.work / "growth", ignore_errors=True)
    prepared = {size: ways(options.work / "growth" / str(size), size) for size in options.sizes}
    time.sleep(SETTLED_S)
    gc.collect()
    gc.freeze()  # else the collector walks through all that is prepared, again and again
    with threadpool_limits(1):  # what a second thread does would count too
        found = [measure(name, [prepared[size][name] for size in options.sizes], options.sizes) for name in WAYS]
    text = table(found, options.sizes)
    print(text)
    if options.out:
        write_text(options.out, text)
    return int(any(one.exponent >= LIMIT for one in found))


def ways(folder: Path, size: int) -> dict[str, Work]:
    """Prepare each way for a number of slides."""
    made = {}
    for name, prepare in WAYS.items():
        place = folder / name.replace(" ", "-")
        place.mkdir(parents=True)
        made[name] = prepare(place, size)
    return made


def measure(name: str, works: list[Work], sizes: list[int]) -> Growth:
    """Take the least of several times at each size, and fit a line through their logarithms."""
    works[0]()  # imports
    seconds = [min(cpu_seconds(work) for _ in range(REPEATS)) for work in works]
    return Growth(name, seconds, float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0]))


def cpu_seconds(work: Work) -> float:
    """Processor time of one call, whatever else the machine does."""
    start = time.process_time()
    work()
    return time.process_time() - start


def table(found: list[Growth], sizes: list[int]) -> str:
    """Markdown."""
    head = ["what", *(f"{size:,} slides, s" for size in sizes), "exponent"]
    lines = [[one.name, *(f"{value:.3f}" for value in one.seconds), f"{one.exponent:.2f}"] for one in found]
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (head, rule, *lines))


def find_work(folder: Path, size: int) -> Work:
    """Slides of all kinds in one folder, found, named and identified as every command does."""
    write_slides(folder, size)

    def work() -> None:
        found = find_slides(folder)
        if len(found) != size:
            raise ValueError(f"Expected {size} slides. Got {len(found)}.")
        Inputs(SlideSource(slide_id_of(path), path) for path in found)
        for path in found:
            slide_path(path), changed_at(path), identity_of(path)

    return work


def write_slides(folder: Path, size: int) -> None:
    """Three fifths of the slides are SVS, a fifth VMS sets of two pictures, a fifth DICOM series of two levels."""
    for number in range(size):
        name = f"slide-{number:06}"
        if number % 5 == 0:
            for level in range(2):
                (folder / f"1.2.{number}.{level}").write_bytes(dicom(f"1.2.3.{1_000_000 + number}"))
        elif number % 5 == 1:
            pictures = [f"{name}_{part}.jpg" for part in range(2)]
            for picture in pictures:
                (folder / picture).write_bytes(b"\xff\xd8\xff\0")
            (folder / f"{name}.vms").write_text("\n".join(f"ImageFile={picture}" for picture in pictures))
        else:
            (folder / f"{name}.svs").write_bytes(b"II*\0" + name.encode())
        if number % 10 == 0:
            (folder / f"note-{number}").write_text("no slide, and without an extension")


def dicom(series: str) -> bytes:
    """The head of a whole-slide image, explicit little endian, up to its series."""

    def element(group: int, number: int, kind: bytes, value: str) -> bytes:
        text = value.encode() + (b" " if len(value) % 2 else b"")
        return (
            group.to_bytes(2, "little") + number.to_bytes(2, "little") + kind + len(text).to_bytes(2, "little") + text
        )

    elements = [
        element(2, 2, b"UI", "1.2.840.10008.5.1.4.1.1.77.1.6"),
        element(2, 0x10, b"UI", "1.2.840.10008.1.2.1"),
        element(8, 8, b"CS", "ORIGINAL\\PRIMARY\\VOLUME\\NONE"),
        element(8, 0x60, b"CS", "SM"),
        element(0x20, 0xE, b"UI", series),
    ]
    return bytes(128) + b"DICM" + b"".join(elements)


def validation_work(folder: Path, size: int) -> Work:
    """A table without errors, and one that names every tenth slide wrongly."""
    slides = folder / "slides"
    slides.mkdir()
    rows = []
    for number in range(size):
        name = slide_name(number)
        (slides / f"{name}.svs").touch()
        rows.append([name, f"case-{number // 2:06}", CLASSES[number // 4 % 2], f"site-{number % 7}"])
    wrong = [[f"old/{row[0][:-1]}.svs", *row[1:]] if place % 10 == 0 else row for place, row in enumerate(rows)]
    for name, lines in (("good", rows), ("bad", wrong)):
        write_csv(folder / f"{name}.csv", [["slide_id", "case_id", "label", "site"], *lines])

    def work() -> None:
        good = validate_cohort(slides, folder / "good.csv")
        bad = validate_cohort(slides, folder / "bad.csv")
        if not good.ok or bad.ok:
            raise ValueError(f"Expected one table with errors and one without. Got {good.problems[:3]}.")

    return work


def slide_name(number: int) -> str:
    """A name of several parts, as archives give them."""
    return f"TCGA-{number // 500:02}-{number:06}-01Z-00-DX1"


def write_csv(path: Path, rows: list[list[str]]) -> None:
    """Write a table as a spreadsheet does."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    path.write_text(text.getvalue())


def cohort_of(folder: Path, size: int) -> Cohort:
    """A cohort as `validate_cohort` returns it."""
    slides = folder / "slides"
    slides.mkdir()
    rows = []
    for number in range(size):
        (slides / f"{slide_name(number)}.svs").touch()
        rows.append([slide_name(number), f"case-{number // 2:06}", CLASSES[number // 4 % 2]])
    write_csv(folder / "labels.csv", [["slide_id", "case_id", "label"], *rows])
    cohort = validate_cohort(slides, folder / "labels.csv").cohort
    if cohort is None:
        raise ValueError("Expected a table without errors.")
    return cohort


def screening_work(folder: Path, size: int) -> Work:
    """Overviews with some spots of tissue each; one slide of a hundred is a copy, or scanned again."""
    cohort, rng = cohort_of(folder, size), np.random.default_rng(0)
    y, x = np.mgrid[:PICTURE_PX, :PICTURE_PX]
    looks: list[Screened] = []
    for number, slide in enumerate(cohort.slides):
        picture = rng.normal(0, 0.05, (PICTURE_PX, PICTURE_PX))
        for _ in range(rng.integers(1, 6)):
            (cy, cx), (ry, rx) = rng.uniform(4, PICTURE_PX - 4, 2), rng.uniform(2, 9, 2)
            picture -= ((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 < 1
        picture -= picture.mean()
        unit = (picture / np.linalg.norm(picture)).astype(np.float32).ravel()
        look = Screened(slide.slide_id, fingerprint=f"{number:064x}", picture=unit)
        if number % 100 == 99:
            look = looks[-1]._replace(slide_id=slide.slide_id)
        if number % 100 == 49:
            look = looks[-1]._replace(slide_id=slide.slide_id, fingerprint=f"{number:064x}")
        looks.append(look)
    tested = {slide.slide_id: f"fold-{number % 5}" for number, slide in enumerate(cohort.slides)}
    return lambda: near_duplicates(looks, cohort, tested=tested)


def folds_work(folder: Path, size: int) -> Work:
    """Folds drawn, cleared of slides that failed, written and read back."""
    cohort = cohort_of(folder, size)
    lost = {slide.slide_id: "it cannot be read" for slide in cohort.slides[::50]}

    def work() -> None:
        drawn = make_folds(cohort, folds=5, val_fraction=0.2, seed=0)
        folds = [without_failed(fold, cohort, lost) for fold in (*drawn, final_fold(cohort, val_fraction=0.2, seed=0))]
        write_splits(folder / "splits.csv", folds, cohort)
        read_splits(folder / "splits.csv")

    return work


def results_work(folder: Path, size: int) -> Work:
    """Figures and predictions of a run whose folds are done; features without embeddings, attention on one patch."""
    cohort, run = cohort_of(folder, size), folder / "run"
    folds = make_folds(cohort, folds=5, val_fraction=0.2, seed=0)
    rng = np.random.default_rng(0)
    tasks = [task_of(run, fold, cohort) for fold in folds]
    for task in tasks:
        chances: dict[str, dict[str, list[float]]] = {arm: {} for arm in ARMS}
        tensors = {}
        for slide_id in task.fold.test:
            for arm in ARMS:
                write_card(task.encoded(arm, slide_id), slide_id)
                positive = float(rng.random())
                chances[arm][slide_id] = [1 - positive, positive]
                tensors[f"{arm}/{slide_id}/logits"] = torch.zeros(2)
                tensors[f"{arm}/{slide_id}/attention_logits"] = torch.zeros(1)
        outputs, heads, encoder = (task.folder / name for name in ("outputs", FOLDER, "lr_encoder"))
        for made in (outputs, heads, encoder):
            made.mkdir(parents=True)
        (outputs / "probabilities.json").write_text(json.dumps(chances))
        save_tensors(outputs / "outputs.safetensors", tensors)
        (heads / VALUES).write_text(json.dumps(chances))
        nothing = Match(None, None, None)
        (encoder / FIDELITY).write_text(json.dumps(asdict(Fidelity(0, nothing, nothing, None))))

    def work() -> None:
        fresh = Cohort(cohort.slides, cohort.task)  # without what an earlier call has looked up
        figures_of(run, fresh, folds, tasks)
        write_predictions(run, fresh, folds)

    return work


def task_of(run: Path, fold: Any, cohort: Cohort) -> FoldTask:
    """A fold of which only the paths are asked for."""
    nothing: Any = None
    return FoldTask(
        run=run,
        fold=fold,
        sources={},
        labels=cohort.targets,
        cases={slide.slide_id: slide.case_id for slide in cohort.slides},
        strata={slide.slide_id: slide.label for slide in cohort.slides},
        predicts=cohort.task,
        student_start=nothing,
        plan=nothing,
        config=TrainConfig(),
        device=torch.device("cpu"),
    )


def write_card(path: Path, slide_id: str) -> None:
    """Write what features say of themselves, without the arrays."""
    card = FeaturesCard(slide_id, "f" * 64, 0.5, "metadata", 2.0, 256, (0, 0), "e" * 64, "k" * 64, 100, 0, 1.5, 1000)
    path.mkdir(parents=True)
    (path / "zarr.json").write_text(json.dumps({"attributes": {"format": FORMAT, **asdict(card)}}))


def worklist_work(folder: Path, size: int) -> Work:
    """The folder of a list read with what failed in it before, and the table of a run and of the list written."""
    (folder / "slides").mkdir()
    write_slides(folder / "slides", size)
    results = folder / "results"
    entries = entries_in(folder / "slides", results)
    why = {"reason": "file", "message": "It cannot be read.", "bundle_sha256": "ab"}
    failures = {case_folder(results, one.slide_id, one.path).name: {**why, "stamp": [1, 1]} for one in entries[::2]}
    write_memory(list_file(results, folder / "slides", ".json"), Memory("ab", failures))

    def work() -> None:
        known = entries_in(folder / "slides", results)
        (folder / "predictions.csv").unlink(missing_ok=True)
        rows = [answer(number, entry.slide_id) for number, entry in enumerate(known)]
        for path in (folder / TABLE, list_file(results, folder / "slides", ".csv")):
            output = PredictionTable(path, TASK, model="ab")
            for row in rows:
                output.add(row)
            output.write()

    return work


def entries_in(folder: Path, results: Path) -> list[Any]:
    """The entries of a list, as its window has them when all has been read."""
    known: dict[Path, Any] = {}
    for step in scan(folder, results, "ab"):
        known |= {entry.path: entry for entry in step.result or []}
    return list(known.values())


def answer(number: int, slide_id: str) -> PredictionRow:
    """The line of a slide, one of twenty a failure."""
    if number % 20 == 0:
        return failed_row(slide_id, Failure("file", "It cannot be read."), "ab")
    return PredictionRow(
        slide_id, "ok", "positive", {"negative": 0.25, "positive": 0.75}, 0.5, "metadata", 100, model="ab"
    )


WAYS: dict[str, Callable[[Path, int], Work]] = {
    "find_slides": find_work,
    "validation": validation_work,
    "screening": screening_work,
    "folds": folds_work,
    "results": results_work,
    "worklist": worklist_work,
}

if __name__ == "__main__":
    sys.exit(main())
