"""Write samples of what several parts of lrmil write together: a run and its report, a prediction, a list of slides.

Usage, from the repository: ``PYTHONPATH=tests python tests/formats/make_samples.py FOLDER``, which trains for half
a minute. When a format gets another version, its sample is made by the code that writes that version; older ones stay.

FOLDER gets ``run-1``, ``report-1``, ``prediction-2`` and ``worklist-1``. Every path that is written down is relative to
it, so that no sample says where or by whom it was made.
"""

import csv
import os
import shutil
import sys
from pathlib import Path

import numpy as np

from lrmil.demo.synthetic import make_cohort_steps
from lrmil.models.bundle import load_bundle
from lrmil.prediction.batch import predict_slides
from lrmil.reports.run_report import write_report
from lrmil.runs.train import train_steps
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from napari_lrmil.jobs.classify_list import classify_list
from napari_lrmil.state.worklist import entries_of, list_file
from support.runs import tiny_config
from support.slides import write_pyramid

SAMPLES = Path(__file__).resolve().parent
# Without weights, features and pictures: a sample has what tells how a run stands and what it came to.
OF_A_RUN = (
    "plan.toml",
    "splits.csv",
    "steps.jsonl",
    "environment.json",
    "problems.json",
    "metrics.json",
    "predictions.csv",
    "model/bundle.json",
)
BROKEN = b"This is no slide."
BROKEN_AT = 1_700_000_000_000_000_000  # ns


def make_run(samples: Path) -> None:
    """Train two folds and the model on twelve slides: stopped in stage 1 of the second fold, then resumed to the end.

    One slide has the name of a stage.
    """
    cohort = last(make_cohort_steps(Path("cohort"), slides=12, size=1024))
    (cohort / "slides/demo-003.ome.tif").rename(cohort / "slides/stage 1.ome.tif")
    with (cohort / "labels.csv").open(newline="") as file:
        rows = [row[:3] for row in csv.reader(file)]  # without the column "split": folds are drawn
    with (cohort / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["stage 1" if cell == "demo-003" else cell for cell in row] for row in rows])
    config = tiny_config(folds=2, mpp_lr=4.0, mpp_hr=2.0, patch_size=32)
    asked = cohort / "slides", cohort / "labels.csv", Path("run"), config
    steps = train_steps(*asked, device="cpu")
    for step in steps:
        if step.job == ("fold-1", "stage 1"):
            break
    steps.close()
    list(train_steps(*asked, device="cpu"))
    write_report(Path("run"), examples=0)
    for name in OF_A_RUN:
        (samples / "run-1" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(Path("run", name), samples / "run-1" / name)
    plan = samples / "run-1/plan.toml"  # it has absolute paths
    plan.write_text(plan.read_text().replace(f"{Path.cwd()}/", ""))
    (samples / "report-1").mkdir()
    shutil.copyfile("run/report.json", samples / "report-1/report.json")


def make_prediction(samples: Path) -> None:
    """Classify a small slide, squares of tissue on glass, with the model of the sample bundle-1."""
    cells = np.full((48, 48, 3), 243, np.uint8)
    cells[8:32, 8:40] = np.random.default_rng(0).integers((120, 40, 110), (220, 140, 200), (24, 32, 3))
    (samples / "prediction-2").mkdir()
    path = write_pyramid(samples / "prediction-2/sample.ome.tif", cells.repeat(16, axis=0).repeat(16, axis=1))
    bundle = load_bundle(SAMPLES / "bundle-1/sample")
    last(predict_slides([SlideSource("sample", path)], bundle, samples / "prediction-2/out", device="cpu"))
    for name in (".lrmil.lock", "predictions.csv", "sample.png"):
        (samples / "prediction-2/out" / name).unlink(missing_ok=True)


def make_list(samples: Path) -> None:
    """Classify a list of which one file is no slide."""
    slides, results = Path("list"), Path("results")
    slides.mkdir()
    (slides / "broken.svs").write_bytes(BROKEN)
    os.utime(slides / "broken.svs", ns=(BROKEN_AT, BROKEN_AT))
    entries = entries_of([slides / "broken.svs"])
    last(classify_list(entries, entries, load_bundle(SAMPLES / "bundle-1/sample"), slides, results, device="cpu"))
    (samples / "worklist-1").mkdir()
    shutil.copyfile(list_file(results, slides, ".json"), samples / "worklist-1/list.json")


def main(folder: str) -> None:
    Path(folder).mkdir()
    os.chdir(folder)
    for make in (make_run, make_prediction, make_list):
        make(Path())


if __name__ == "__main__":
    main(*sys.argv[1:])
