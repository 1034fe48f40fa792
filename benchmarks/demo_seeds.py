"""Whether the arms of `lrmil demo` come out in the order of the method, on other cohorts and seeds than its own.

    python benchmarks/demo_seeds.py --work WORK --out WORK/demo_seeds.md

Seed 0 is the demonstration itself, whose settings were chosen while looking at it; the others draw other slides and
other weights. The slides are synthetic, and 14 of them are tested: it shows that the software works, and no more.
"""

import argparse
from pathlib import Path
from typing import Any

from lrmil.configs import with_settings
from lrmil.demo.cohort import SIZE, SLIDES, demo_config
from lrmil.demo.synthetic import make_cohort_steps
from lrmil.io.atomic import write_text
from lrmil.runs.arms import ARM_NAMES, ARMS
from lrmil.runs.train import train
from lrmil.steps import last


def main() -> None:
    """Train the arms on each seed and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="folder for cohorts and runs")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    options = parser.parse_args()
    lines = [f"| seed | {' | '.join(ARM_NAMES[arm] for arm in ARMS)} | in order |", "|---|---|---|---|---|"]
    for seed in options.seeds:
        auroc = measure(options.work / f"seed-{seed}", seed)
        ordered = auroc["lr_undistilled"] < auroc["lr_student"] <= auroc["hr_teacher"]
        values = " | ".join(f"{auroc[arm]:.3f}" for arm in ARMS)
        lines.append(f"| {seed} | {values} | {'yes' if ordered else 'no'} |")
        print(lines[-1], flush=True)
        write_text(options.out, "\n".join(lines) + "\n")


def measure(folder: Path, seed: int) -> dict[str, float]:
    """Return the AUROC of each arm on a cohort of the demonstration's kind."""
    cohort = last(make_cohort_steps(folder / "cohort", slides=SLIDES, size=SIZE, seed=seed))
    config = with_settings(demo_config(), {"seed": seed})
    metrics: dict[str, Any] = train(cohort / "slides", cohort / "labels.csv", folder / "run", config).metrics
    return {arm: metrics[arm]["auroc"] for arm in ARMS}


if __name__ == "__main__":
    main()
