"""The three arms and the ablations on mosaics of real tissue, per seed and mean: the tables of docs/benchmarks.md.

    python benchmarks/real_tissue.py --shared ../shared --work WORK --seeds 0 1 2 --out WORK/real_tissue.md

Cohorts come from shared/tools/make_cohort.py (64 training, 16 validation, 64 test slides, whole patients per split). An
ablation starts from a copy of the full run, so only what its setting makes stale is computed again. Everything resumes.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np

from lrmil import metrics
from lrmil.cohorts.cohort import validate_cohort
from lrmil.cohorts.splits import read_splits
from lrmil.configs import TrainConfig, with_settings
from lrmil.features.store import read_card, read_features
from lrmil.io.atomic import write_json, write_text
from lrmil.models.heads.head import predict_bag
from lrmil.presets import PAPER
from lrmil.runs.arms import ARMS, answering, features_of, mil_folder, nested_of
from lrmil.runs.fold_outputs import load_mil, read_outputs
from lrmil.runs.plan_file import read_plan
from lrmil.runs.train import train_steps
from lrmil.steps import job_text
from lrmil.training.region_bags import read_bag

COHORT = ["--train", "64", "--val", "16", "--test", "64", "--max-positive", "5", "--glass", "0.2"]
LABELS_ALONE = {"stage2.lambda_bag": 0.0, "stage2.lambda_soft": 0.0, "stage2.lambda_hard": 0.0}
ABLATIONS: dict[str, dict[str, object]] = {
    "full": {},
    "stage 1 only": LABELS_ALONE,
    "stage 2 only": {"stage1.fit.steps": 0},
    "nothing kept of the start": {"stage1.lambda_keep": 0.0},
    "no stain augmentation": {"stage1.stain": 0.0},
    "teacher over patches": {"teacher": "patch"},
    "teacher-attention weighting": {"teacher": "patch", "stage1.weighting": "teacher_attention"},
    "in-sample evidence": {"stage2.inner_folds": 0},
    "one seed": {"mil.seeds": 1},
    "without L_soft": {"stage2.lambda_soft": 0.0},
    "without L_hard": {"stage2.lambda_hard": 0.0},
    "preset paper": dict(PAPER),
}
NEEDLESS = ("model", "report.html", "report.json", "steps.jsonl", "metrics.json", "predictions.csv")


def main() -> None:
    """Run every seed and ablation, then write the tables."""
    options = parse_options()
    rows = []
    for seed in options.seeds:
        cohort = make_cohort(options, seed)
        full = options.work / f"seed-{seed}" / "full"
        for name, settings in ABLATIONS.items():
            run = full.with_name(name.replace(" ", "-"))
            if name != "full" and not run.exists():
                copy_run(full, run)
            start = time.perf_counter()
            train(options, cohort, run, seed, settings)
            row = measure(cohort, run, seed, name)
            row["seconds"] = time.perf_counter() - start
            rows.append(row)
            print(json.dumps(row), flush=True)
    write_json(options.out.with_suffix(".json"), rows)
    write_text(options.out, tables(rows))


def make_cohort(options: argparse.Namespace, seed: int) -> Path:
    """Write the cohort of a seed, once."""
    cohort = Path(options.work / f"cohort-{seed}")
    if not (cohort / "labels.csv").exists():
        script, manifest = options.shared / "tools/make_cohort.py", options.shared / "data/glas/manifest.csv"
        command = [sys.executable, script, "--manifest", manifest, "--out", cohort, "--seed", str(seed), *COHORT]
        subprocess.run(list(map(str, command)), check=True)
    return cohort


def copy_run(source: Path, target: Path) -> None:
    """Copy a run as hard links: artefacts are only ever replaced whole, never written into."""
    shutil.copytree(source, target, copy_function=os.link, ignore=shutil.ignore_patterns(*NEEDLESS))


def train(options: argparse.Namespace, cohort: Path, run: Path, seed: int, settings: dict[str, object]) -> None:
    """Train, or go on."""
    encoder = f"local-dir:{options.shared / 'weights/mobilenetv2_100'}"
    base = {"encoder": encoder, "patch_size": 128, "mpp_hr": 0.5, "mpp_lr": 2.0, "seed": seed}
    config = with_settings(TrainConfig(), base | settings)
    for step in train_steps(cohort / "slides", cohort / "labels.csv", run, config):
        if step.metrics or step.message:
            figures = {name: round(value, 4) for name, value in step.metrics.items()}
            print(
                f"  {run.parent.name}/{run.name} {job_text(step.job)}: {figures or step.message}",
                file=sys.stderr,
                flush=True,
            )


def measure(cohort: Path, run: Path, seed: int, name: str) -> dict[str, object]:
    """AUROC of the arms on test and validation slides, and where the attention of the student lies."""
    report = validate_cohort(cohort / "slides", cohort / "labels.csv")
    if report.cohort is None:
        raise SystemExit(report.explain())
    figures = json.loads((run / "metrics.json").read_text())
    (fold,) = read_splits(run / "splits.csv")
    row: dict[str, object] = {"seed": seed, "name": name}
    for arm in ARMS:
        row[arm] = figures[arm]["auroc"]
    config, _, _ = read_plan(run)
    attended = partial(features_of, run, fold.name, teacher=config.teacher)
    for arm in ARMS:
        mil = load_mil(mil_folder(run, fold.name, arm), config.mil)
        nested = partial(nested_of, run, arm=arm, teacher=config.teacher)
        outputs = [predict_bag(mil, read_bag(attended(slide_id, arm), nested(slide_id))) for slide_id in fold.val]
        truth = np.array([report.cohort.targets[slide_id] for slide_id in fold.val])
        probabilities = np.stack([report.cohort.task.values(output.logits) for output in outputs])
        row[f"{arm}_val"] = metrics.auroc(truth, probabilities)
        row[f"{arm}_val_loss"] = float(-np.log(probabilities[np.arange(len(truth)), truth]).mean())
    tested = read_outputs(run / fold.name)
    for arm in reversed(ARMS):
        places = [
            located(
                cohort,
                attended(slide_id, answering(arm, finished=config.finishes)),
                slide_id,
                tested[arm][slide_id].attention_logits,
            )
            for slide_id in fold.test
            if report.cohort.targets[slide_id] == 1
        ]
        row[f"{arm}_attention"] = {key: float(np.mean([place[key] for place in places])) for key in places[0]}
    return row


def located(cohort: Path, features: Path, slide_id: str, attention_logits: np.ndarray) -> dict[str, float]:
    """Share of the attention, and of the top three patches, on positive crops; chance is the share of such patches."""
    card = read_card(features)
    centres = card.grid.level0_yx(read_features(features).index) + card.grid.step_level0 / 2
    positive = np.zeros(len(centres), bool)
    for crop in json.loads((cohort / "truth" / f"{slide_id}.json").read_text()):
        if crop["label"]:
            low = np.array(crop["yx"])
            positive |= ((centres >= low) & (centres < low + crop["size"])).all(1)
    attention = np.exp(attention_logits - attention_logits.max())
    attention /= attention.sum()
    top = np.argsort(-attention_logits, kind="stable")[:3]
    return {"share": float(attention[positive].sum()), "top3": float(positive[top].mean()), "chance": positive.mean()}


def tables(rows: list[dict[str, object]]) -> str:
    """Markdown: the arms, the ablations, the attention."""
    seeds = sorted({row["seed"] for row in rows})
    head = " | ".join([*(f"seed {seed}" for seed in seeds), "mean"])
    rule = "|".join(["---"] * (len(seeds) + 2))

    def line(label: str, key: str, name: str, part: str = "") -> str:
        chosen = [row[key] for seed in seeds for row in rows if row["name"] == name and row["seed"] == seed]
        values = [value[part] if part else value for value in chosen]
        return f"| {label} | " + " | ".join(f"{value:.3f}" for value in [*values, np.mean(values)]) + " |"

    arms = {"hr_teacher": "HR teacher", "lr_undistilled": "LR undistilled (baseline)", "lr_student": "LR student"}
    lines = ["AUROC on the test split:", "", f"| arm | {head} |", f"|{rule}|"]
    lines += [line(label, arm, "full") for arm, label in arms.items()]
    lines += [
        "",
        "The same models on the validation split (which they may have learned from):",
        "",
    ]
    lines += [f"| arm | {head} |", f"|{rule}|"]
    lines += [line(label, f"{arm}_val", "full") for arm, label in arms.items()]
    lines += ["", "LR student, AUROC on the test split, by what is left out or changed:", ""]
    lines += [f"| student | {head} |", f"|{rule}|"]
    lines += [line(name, "lr_student", name) for name in ABLATIONS]
    lines += ["", "The same on the validation split:", "", f"| student | {head} |", f"|{rule}|"]
    lines += [line(name, "lr_student_val", name) for name in ABLATIONS]
    lines += [
        "",
        "Its cross-entropy on the validation split (lower is better):",
        "",
        f"| student | {head} |",
        f"|{rule}|",
    ]
    lines += [line(name, "lr_student_val_loss", name) for name in ABLATIONS]
    lines += ["", "Where the attention lies on positive test slides (1 is all on positive crops):", ""]
    lines += [f"| what | {head} |", f"|{rule}|"]
    for arm, label in arms.items():
        lines.append(line(f"{label}: share of attention", f"{arm}_attention", "full", "share"))
        lines.append(line(f"{label}: share of the top 3 patches", f"{arm}_attention", "full", "top3"))
    lines.append(line("chance, LR patches", "lr_student_attention", "full", "chance"))
    return "\n".join(lines) + "\n"


def parse_options() -> argparse.Namespace:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with data, weights and tools")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    return parser.parse_args()


if __name__ == "__main__":
    main()
