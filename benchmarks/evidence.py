"""Whether the student keeps its promise at the defaults, on the cohorts of shared/data, by several pairs of encoders.

    python benchmarks/evidence.py --shared ../shared --work WORK --out WORK/evidence.md --cohorts mosaics-0 glas

A cohort is `mosaics-SEED` (shared/tools/make_cohort.py, as benchmarks/real_tissue.py draws it), `osteosarcoma60`
(images of 1,024 px as slides, one case left out in turn) or `glas` (165 images as slides, five folds of whole
patients). A pair of encoders is `teacher:student`, such as `tf_efficientnet_lite2:tf_efficientnet_lite0`. Everything
resumes; each figure is that of the run's own metrics.json and predictions.csv.
"""

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from PIL import Image
from sklearn.metrics import balanced_accuracy_score

from lrmil.configs import TrainConfig, with_settings
from lrmil.io.atomic import write_json, write_text
from lrmil.presets import PRESETS
from lrmil.runs.arms import ARM_NAMES, ARMS
from lrmil.runs.train import train_steps
from lrmil.steps import job_text
from real_tissue import copy_run

MOSAICS = ["--train", "64", "--val", "16", "--test", "64", "--max-positive", "5", "--glass", "0.2"]


class Images(NamedTuple):
    """A cohort whose slides are single images."""

    mpp: float
    """um/px of the images, which is that of the HR patches."""
    folds: int
    """Folds that are drawn; 0 leaves out one case after the other."""


IMAGES = {"osteosarcoma60": Images(1.0, 0), "glas": Images(0.62, 5)}


class Work(NamedTuple):
    """A cohort, a pair of encoders and what is changed of the defaults."""

    cohort: str
    teacher: str
    student: str
    settings: dict[str, object]
    name: str

    @property
    def folder(self) -> Path:
        """Folder of its run, in that of the benchmark."""
        return Path(self.cohort) / f"{self.teacher}-{self.student}" / self.name


VARIANTS: dict[str, dict[str, object]] = {
    **{name: dict(settings) for name, settings in PRESETS.items()},
    "patch-teacher": {"teacher": "patch"},
    "region-attention": {"teacher": "region_attention"},
    "auto-head": {"mil.head": "auto"},
    "finish": {"finish.epochs": 3},
    "stage-1-only": {"stage2.lambda_bag": 0.0, "stage2.lambda_soft": 0.0, "stage2.lambda_hard": 0.0},
    "stage-2-only": {"stage1.fit.steps": 0},
    "without-keep": {"stage1.lambda_keep": 0.0},
    "without-keep-warm": {"stage1.lambda_keep": 0.0, "stage2.warm_start": True, "stage2.warm_start_r2": -1e6},
    "paper-warm": {**PRESETS["paper"], "stage2.warm_start": True, "stage2.warm_start_r2": -1e6},
}


def main() -> None:
    """Train and tabulate."""
    options = parse_options()
    rows: list[dict[str, Any]] = []
    for work in works(options):
        place = {"cohort": work.cohort, "pair": f"{work.teacher}:{work.student}", "variant": work.name}
        rows.append(place | measure(options, work))
        print(json.dumps(rows[-1]), flush=True)
    write_json(options.out.with_suffix(".json"), rows)
    write_text(options.out, tables(rows))


def works(options: argparse.Namespace) -> Iterator[Work]:
    """Yield every cohort with every pair of encoders and every variant."""
    for cohort in options.cohorts:
        for pair in options.encoders:
            teacher, _, student = pair.partition(":")
            for name in options.variants:
                yield Work(cohort, teacher, student or teacher, VARIANTS[name], name)


def measure(options: argparse.Namespace, work: Work) -> dict[str, object]:
    """Train, or go on, and return the figures of the run."""
    cohort, run = make_cohort(options, work.cohort), options.work / "runs" / work.folder
    first = run.with_name("default")
    if run != first and first.exists() and not run.exists():
        copy_run(first, run)  # what the variant does not change is not computed again
    clock = run.parent / f"{run.name}.seconds"
    spent, start = float(clock.read_text()) if clock.exists() else 0.0, time.perf_counter()
    figures = train(options, work, cohort, run)
    spent += time.perf_counter() - start
    clock.write_text(f"{spent}")
    return {"figures": figures, "best": best_accuracies(run / "predictions.csv"), "seconds": spent}


def train(options: argparse.Namespace, work: Work, cohort: Path, run: Path) -> dict[str, object]:
    """Train at the defaults of the variant, and return metrics.json."""
    weights, images = options.shared / "weights", IMAGES.get(work.cohort)
    mpp = images.mpp if images else 0.5
    base: dict[str, object] = {"patch_size": 64 if images else 128, "mpp_hr": mpp, "mpp_lr": 4 * mpp, "threads": 1}
    base["encoder"] = f"local-dir:{weights / work.teacher}"
    base["folds"] = images.folds if images and images.folds else 5
    if work.student != work.teacher:
        base["student_encoder"] = f"local-dir:{weights / work.student}"
    config = with_settings(TrainConfig(), base | work.settings)
    run.mkdir(parents=True, exist_ok=True)
    for step in train_steps(cohort / "slides", cohort / "labels.csv", run, config):
        if step.message:
            print(f"  {work.folder} {job_text(step.job)}: {step.message}", file=sys.stderr, flush=True)
    return dict(json.loads((run / "metrics.json").read_text()))


def make_cohort(options: argparse.Namespace, name: str) -> Path:
    """Write a cohort, once."""
    folder, data = Path(options.work / "cohorts" / name), options.shared / "data"
    if (folder / "labels.csv").exists():
        return folder
    if name in IMAGES:
        write_images(data / name, folder, IMAGES[name])
        return folder
    script, seed = options.shared / "tools/make_cohort.py", name.removeprefix("mosaics-")
    command = [sys.executable, script, "--manifest", data / "glas/manifest.csv", "--out", folder, "--seed", seed]
    subprocess.run([*map(str, command), *MOSAICS], check=True)
    return folder


def write_images(data: Path, folder: Path, images: Images) -> None:
    """Write each image as a pyramid with levels 1 and 1/4, and the table with the patient of each."""
    (folder / "slides").mkdir(parents=True, exist_ok=True)
    rows = [["slide_id", "case_id", "label", *([] if images.folds else ["fold"])]]
    metadata = {"axes": "YXS", "PhysicalSizeX": images.mpp, "PhysicalSizeY": images.mpp}
    with (data / "manifest.csv").open() as file:
        for line in csv.DictReader(file):
            image = Image.open(data / line["file"]).convert("RGB")
            slide_id = Path(line["file"]).stem
            with tifffile.TiffWriter(folder / "slides" / f"{slide_id}.ome.tif", ome=True) as tif:
                tile = {"photometric": "rgb", "tile": (256, 256), "compression": "deflate"}
                tif.write(np.asarray(image), subifds=1, metadata=metadata, **tile)
                tif.write(np.asarray(image.reduce(4)), subfiletype=1, **tile)
            case, label = line["group"], "positive" if line["label"] == "1" else "negative"
            rows.append([slide_id, case, label, *([] if images.folds else [case])])
    with (folder / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def best_accuracies(predictions: Path) -> dict[str, float]:
    """Return the balanced accuracy of each arm at the threshold that is best on the test slides themselves."""
    with predictions.open() as file:
        rows = list(csv.DictReader(file))
    found = {}
    for arm in ARMS:
        of_arm = [row for row in rows if row["arm"] == arm]
        truth = np.array([row["label"] == "positive" for row in of_arm])
        value = np.array([float(row["prob_positive"]) for row in of_arm])
        found[arm] = best_accuracy(truth, value)
    return found


def best_accuracy(truth: np.ndarray, value: np.ndarray) -> float:
    """Return the balanced accuracy at the threshold of `value` (n,) that is best for `truth` (n,), 0 or 1."""
    return max(float(balanced_accuracy_score(truth, value >= limit)) for limit in np.unique(value))


def tables(rows: list[dict[str, Any]]) -> str:
    """Markdown: a table of the arms, and one of what each run says of the student."""
    lines = [
        "| cohort | encoders | teacher | arm | AUROC | 95 % | linear head | balanced accuracy "
        "| at the best threshold | Brier | ECE |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        for arm, name, of_arm in measured(row["figures"]):
            linear = (of_arm["linear_head"] or {}).get("auroc") if "linear_head" in of_arm else None
            lines.append(
                f"| {row['cohort']} | {row['pair']} | {row['variant']} | {name} | {number(of_arm['auroc'])} "
                f"| {span(of_arm['auroc_ci'])} | {number(linear)} | {number(of_arm['balanced_accuracy'])} "
                f"| {number(row['best'][arm])} | {number(of_arm['brier'])} | {number(of_arm['ece'])} |"
            )
    lines += [
        "",
        "| cohort | encoders | teacher | student - baseline | student - teacher | R2 of stage 1 | of its start "
        "| minutes |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        minus, stage1 = row["figures"]["student_minus"], row["figures"]["stage1"]
        differences = (minus[arm] for arm in ("lr_undistilled", "hr_teacher"))
        said = " | ".join(f"{number(one['difference'])} ({span(one['interval'])})" for one in differences)
        lines.append(
            f"| {row['cohort']} | {row['pair']} | {row['variant']} | {said} | {number(stage1['distilled']['r2'])} "
            f"| {number(stage1['start']['r2'])} | {row['seconds'] / 60:.0f} |"
        )
    return "\n".join(lines) + "\n"


def measured(figures: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each arm with its name and its figures; the student also once it is calibrated, if it is."""
    for arm in ARMS:
        yield arm, ARM_NAMES[arm], figures[arm]
    if after := figures["calibration"]["after"]:
        yield "lr_student", "LR student, calibrated", after


def number(value: float | None) -> str:
    """A figure with three decimals; "-" where there is none."""
    return "-" if value is None else f"{value:.3f}"


def span(ends: list[float] | None) -> str:
    """Both ends of an interval."""
    return "-" if ends is None else " to ".join(map(number, ends))


def parse_options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data, weights and tools")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cohorts", nargs="+", default=[*(f"mosaics-{seed}" for seed in range(5)), *IMAGES])
    parser.add_argument("--encoders", nargs="+", default=["mobilenetv2_100"], help="of a folder of shared/weights")
    parser.add_argument("--variants", nargs="+", default=["default"], choices=VARIANTS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
