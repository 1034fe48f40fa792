"""What a closer look by the teacher brings and costs, from finished runs whose models keep their teacher.

    python benchmarks/escalation.py --out WORK/escalation.md RUN-OF-MOSAICS-0 RUN-OF-MOSAICS-1

The curves of the runs (`lrmil.runs.escalation_figures`), summed over their test slides. No slide is read.
"""

import argparse
import json
from pathlib import Path

from pydantic import TypeAdapter

from lrmil.io.atomic import write_text
from lrmil.tasks.escalation_curve import ESCALATION, Point

TITLES = (
    "regions",
    "looked at",
    "uncertain",
    "wrong and not uncertain",
    "patches per slide",
    "of all at high resolution",
)


def main() -> None:
    """Sum the curves and write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    curves = [curve_of(run) for run in options.runs]
    lines = [f"| {' | '.join(TITLES)} |", "|---" * len(TITLES) + "|"]
    for points in zip(*curves, strict=True):
        slides, uncertain = (sum(point[name] for point in points) for name in ("slides", "uncertain"))
        looked, wrong = (sum(point[name] for point in points) for name in ("looked_at", "wrong_answered"))
        patches = sum(point["patches_per_slide"] * point["slides"] for point in points)
        of_all = sum(point["patches_per_slide"] * point["slides"] / point["share_of_hr"] for point in points)
        cells = [
            str(points[0]["regions"] or "none"),
            str(looked),
            f"{uncertain} of {slides}",
            f"{wrong} of {slides - uncertain}",
            f"{patches / slides:.1f}",
            f"{100 * patches / of_all:.1f} %",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    write_text(options.out, "\n".join(lines) + "\n")
    print("\n".join(lines))


def curve_of(run: Path) -> list[Point]:
    """Return the curve of a run."""
    figures = json.loads((run / "metrics.json").read_text(encoding="utf-8"))
    return TypeAdapter(list[Point]).validate_python(figures[ESCALATION]["curve"])


if __name__ == "__main__":
    main()
