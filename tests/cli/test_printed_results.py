"""Predictions, arms and figures as they are printed: tables in the units of their header, reasons below."""

import numpy as np
import pytest

from lrmil.cli.printed_results import print_arms, print_rows, print_sites, print_summary
from lrmil.cli.printing import stdout
from lrmil.prediction.table import PredictionRow
from lrmil.runs.arms import ARM_NAMES, ARMS
from lrmil.summary import summarise
from lrmil.tasks.by_site import figures_by_site
from lrmil.tasks.case_rule import RULE_WORDS
from lrmil.tasks.classification import Classification

TASK = Classification(("no", "yes"))


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stdout, "width", 200)


def cells_of(text: str) -> list[list[str]]:
    """The rows of a printed table, without its header."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in text.splitlines() if line.startswith("│")]


def test_a_summary_has_the_reason_beside_each_figure_that_is_not_defined(capsys: pytest.CaptureFixture[str]) -> None:
    task = Classification(("no", "yes [b]"))
    summary = summarise([0, 0, 0], [[0.75, 0.25], [0.4, 0.6], [1, 0]], ["p", "p", "q"], task.classes)
    print_summary(summary, task, "max")
    lines = capsys.readouterr().out.splitlines()
    absent = "there is no slide of 'yes [b]'"
    assert f"auroc: not defined ({absent})" in lines and f"recall: no 0.667, yes [b] not defined ({absent})" in lines
    assert "accuracy: 0.667" in lines and "n_slides: 3" in lines
    assert "confusion, no: no 2, yes [b] 1" in lines and "confusion, yes [b]: no 0, yes [b] 0" in lines
    assert "by_case accuracy: 1.000" in lines and "by_case confusion, no: no 2, yes [b] 0" in lines
    assert not any("undefined" in line or "reason" in line for line in lines)
    patient, slide = 0, lines.index("By slide (3):")
    assert lines[patient] == f"By patient (2; {RULE_WORDS['max']}):"
    assert all(line.startswith("by_case ") for line in lines[patient + 1 : slide])
    assert not any(line.startswith("by_case ") for line in lines[slide + 1 :])
    alone = summarise([0], [[0.75, 0.25]], ["p"], task.classes)
    print_summary(alone, task, "mean")
    assert "by_case: not defined (every case has one slide)" in capsys.readouterr().out.splitlines()


@pytest.mark.usefixtures("wide")
def test_predictions_are_a_table_with_failures_and_notes_below(capsys: pytest.CaptureFixture[str]) -> None:
    shares = {"no": 0.25, "yes": 0.75}
    good = PredictionRow(
        "[b]a", "ok", "yes", shares, n_patches=10, failed_patches=2, seconds=1.5, notes=("so", "and so")
    )
    doubted = PredictionRow("c", "uncertain", "no", shares, reason="several_classes unknown")
    print_rows([good, PredictionRow("b", "failed", message="torn", reason="damaged"), doubted], TASK)
    out = capsys.readouterr().out
    assert cells_of(out) == [
        ["[b]a", "ok", "yes", "0.750", "8 of 10", "1.5"],
        ["b", "failed", "", "", "0 of 0", "0.0"],
        ["c", "uncertain", "no", "0.250", "0 of 0", "0.0"],
    ]
    said = ["[b]a: so", "[b]a: and so", "b: torn", "c: uncertain: more than one class is plausible; unknown."]
    assert out.splitlines()[-4:] == said


@pytest.mark.usefixtures("wide")
def test_arms_stand_side_by_side_in_the_units_of_the_header(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"auroc": 0.5, "auroc_ci": [0.25, 1.0], "balanced_accuracy": None}
    cost = {"seconds_per_slide": 2.0, "bytes_per_slide": 3_000_000, "patches_per_slide": 12.4}
    metrics: dict[str, object] = {arm: {**figures, **cost} for arm in ARMS}
    metrics["lr_student"] = {**figures, **cost, "bytes_per_slide": None}
    print_arms({**metrics, "gap_recovered": 0.5})
    shown = ["0.500", "0.250 - 1.000", "not defined", "2.000"]
    assert cells_of(capsys.readouterr().out) == [
        ["HR teacher", *shown, "3.000", "12"],
        ["LR undistilled", *shown, "3.000", "12"],
        ["LR student", *shown, "not defined", "12"],
    ]


@pytest.mark.usefixtures("wide")
def test_whether_the_student_differs_is_said_below(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"auroc": 0.5, "auroc_ci": [0.25, 1.0], "balanced_accuracy": None}
    cost = {"seconds_per_slide": 2.0, "bytes_per_slide": 3_000_000, "patches_per_slide": 12.4}
    minus = {"hr_teacher": {"difference": -0.02, "interval": [-0.1, 0.1]}}
    print_arms({**dict.fromkeys(ARMS, figures | cost), "gap_recovered": 0.5, "student_minus": minus})
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("AUROC, student minus teacher: -0.020") and "apart" in last


def test_the_arms_keep_their_names_on_a_narrow_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    figures = {"auroc": 0.6939, "auroc_ci": [0.356, 1.0], "balanced_accuracy": 0.571}
    cost = {"seconds_per_slide": 0.076, "bytes_per_slide": 1_205_000, "patches_per_slide": 13.0}
    print_arms(dict.fromkeys(ARM_NAMES, figures | cost))
    out = capsys.readouterr().out
    assert all(name.split(" (")[0] in out for name in ARM_NAMES.values()), out


def test_sites_stand_side_by_side_in_the_width_of_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rng = np.random.default_rng(0)
    shares, targets = rng.random(40), [0, 1] * 20
    sites = [["north", "south", "east\x1b[2J", None][place % 4] if place else "alone" for place in range(40)]
    values = np.stack([1 - shares, shares], axis=1)
    found = figures_by_site(TASK, targets, values, [str(place) for place in range(40)], sites)
    print_sites(found, TASK)
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines()[:-1])) <= 80 or "not defined" in said
    header, *rest = (line for line in said.splitlines() if ("site" in line and "alone" in line) or "no site" in line)
    assert all(name in header + rest[0] for name in ("alone", "north", "south", "no site"))
    assert "\x1b" not in said
    north = next(one for one in found if one["site"] == "north")
    brier = next(line for line in said.splitlines() if "Brier" in line)
    assert f"{north['brier']:.3f}" in brier
    assert "alone, AUROC" in said  # why it is not defined
