"""The report: true figures, nothing missing, nothing foreign, nothing hostile."""

import csv
import json
import re
import shutil
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tomli_w

from lrmil.configs import TrainConfig, to_dict, with_settings
from lrmil.errors import ConfigError, FormatError
from lrmil.io import atomic, hashing
from lrmil.reports.run_data import gather
from lrmil.reports.run_report import ARM_NAMES, choose_examples, render, write_report
from lrmil.reports.slide_results import SlideResult
from lrmil.summary import summarise
from support.pages import Page, read_page
from support.runs import TINY

pytestmark = pytest.mark.long

HOSTILE = "<img src=x onerror=\"a('1')\">&amp;$\\frac{$"


def test_the_table_of_arms_has_the_figures_of_the_run(written: Path) -> None:
    figures = json.loads((written.parent / "metrics.json").read_text())
    page = read_page(written)
    for arm, name in ARM_NAMES.items():
        row = next(row for row in page.rows if row[0] == name)
        of = figures[arm]
        assert row[1] == f"{of['auroc']:.3f}"
        assert row[2] == " to ".join(f"{end:.3f}" for end in of["auroc_ci"])
        assert row[3:6] == [f"{of['balanced_accuracy']:.3f}", str(of["n_slides"]), str(of["n_cases"])]
        shown = [float(cell.replace(",", "")) for cell in row[6:9]]
        expected = [of["seconds_per_slide"], of["bytes_per_slide"] / 1e6, of["patches_per_slide"]]
        assert shown == pytest.approx(expected, rel=0.006)


def test_the_first_sentence_tells_the_result(written: Path) -> None:
    figures = json.loads((written.parent / "metrics.json").read_text())
    text = " ".join(read_page(written).text.split())
    student, teacher, baseline = (figures[arm]["auroc"] for arm in ("lr_student", "hr_teacher", "lr_undistilled"))
    low, high = figures["lr_student"]["auroc_ci"]
    reached = f"student reached AUROC {student:.3f} (95 % interval by patient {low:.3f} to {high:.3f})"
    others = f"; its high-resolution teacher {teacher:.3f}, the undistilled baseline {baseline:.3f}. "
    assert "On 4 patients (4 slides) that the models had not seen, the" in text and reached + others in text
    assert "Model output, not a diagnosis" in text


def test_cost_is_high_resolution_over_low(written: Path) -> None:
    figures = json.loads((written.parent / "metrics.json").read_text())
    page = read_page(written)
    for title, name in (
        ("seconds", "seconds_per_slide"),
        ("MB read", "bytes_per_slide"),
        ("patches", "patches_per_slide"),
    ):
        row = next(row for row in page.rows if row[0] == title)
        ratio = figures["hr_teacher"][name] / figures["lr_student"][name]
        assert float(row[3].split(" times")[0]) == pytest.approx(ratio, rel=0.006)


@pytest.mark.parametrize("examples", [0, 3])
def test_as_many_examples_as_asked_each_with_three_different_pictures(run: Path, examples: int) -> None:
    pictures = read_page(write_report(run, examples=examples)).overlays()
    assert len(pictures) == 3 * examples
    for slide, student, teacher in zip(pictures[::3], pictures[1::3], pictures[2::3], strict=True):
        assert slide.shape == student.shape == teacher.shape
        assert max(slide.shape) <= 420
        differences = [
            np.abs(a.astype(int) - b).mean() for a, b in ((slide, student), (slide, teacher), (student, teacher))
        ]
        assert min(differences) > 2


def test_the_page_needs_nothing_else(written: Path) -> None:
    path = written
    page, text = read_page(path), path.read_text(encoding="utf-8")
    addresses = [
        value for _, attrs in page.tags for name, value in attrs.items() if name in ("src", "href", "xlink:href")
    ]
    assert len(addresses) > 12
    assert all(address and address.startswith(("data:image/", "#")) for address in addresses)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "@import" not in text
    assert "url(http" not in text
    assert path.stat().st_size < 3_000_000


def test_ids_are_unique_and_every_reference_finds_its_target(written: Path) -> None:
    path = written
    tags = read_page(path).tags
    ids = Counter(attrs["id"] for _, attrs in tags if "id" in attrs)
    assert max(ids.values()) == 1
    targets = {(attrs["xlink:href"] or "")[1:] for tag, attrs in tags if tag == "use"}
    targets |= {part.split(")")[0] for part in path.read_text(encoding="utf-8").split("url(#")[1:]}
    assert targets
    assert targets <= set(ids)


def test_no_folder_of_the_machine_is_told(written: Path, finished: Path) -> None:
    text = written.read_text(encoding="utf-8") + (written.parent / "report.json").read_text(encoding="utf-8")
    for folder in (written.parent, finished.parent, Path.home()):
        assert str(folder) not in text


def test_folders_are_cut_off_messages_and_settings(run: Path) -> None:
    plan = {"format": "lrmil.run/1", "slides": "/data/my slides", "labels": "/data/lab/labels.csv"}
    settings = {**TINY, "encoder": "local-dir:/mnt/me/weights/vit"}
    config = with_settings(TrainConfig(), settings)
    (run / "plan.toml").write_text(tomli_w.dumps({**plan, "settings": to_dict(config)}))
    message = "Expected one file; got /data/my slides/a/s.svs, '/mnt/x/s.svs' and C:\\u\\s.svs at 0.5 um/px."
    problem = {"slide_id": None, "row": 3, "column": "mpp", "severity": "error", "message": message, "hint": "Mend it."}
    atomic.write_json(run / "problems.json", [problem])
    report = gather(run)
    assert report.problems[0]["message"] == "Expected one file; got a/s.svs, 's.svs' and s.svs at 0.5 um/px."
    assert 'encoder = "local-dir:vit"' in report.settings
    assert report.data == {"slides": "my slides", "labels": "labels.csv"}
    page = Page(render(report, [], {}))
    assert ["row 3", "mpp", "error", f"{report.problems[0]['message']} Mend it."] in page.rows


def test_json_holds_the_figures_and_reads_back(run: Path) -> None:
    write_report(run, examples=1)
    document = json.loads((run / "report.json").read_text(encoding="utf-8"))
    assert document == json.loads(json.dumps(asdict(gather(run))))
    assert document["format"] == "lrmil.report/1"
    assert document["figures"] == json.loads((run / "metrics.json").read_text())
    assert document["bundle_sha256"] == hashing.sha256_file(run / "model/bundle.json")
    assert len(document["slides"]) == 4


def test_predictions_are_those_of_the_run_and_wrong_ones_are_named(written: Path) -> None:
    with (written.parent / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    page = read_page(written)
    arms = list(ARM_NAMES)
    assert len(rows) == 4 * len(arms)
    for row in rows:
        shown = next(cells for cells in page.rows if cells[0] == row["slide_id"] and len(cells) == 9)
        assert shown[1:4] == [row["case_id"], row["fold"], row["label"]]
        wrong = (float(row["prob_positive"]) > 0.5) != (row["label"] == "positive")
        expected = f"{float(row['prob_positive']):.3f}" + " wrong" * wrong
        assert shown[4 + arms.index(row["arm"])] == expected


def test_wrong_slides_are_the_first_of_the_table_the_most_confident_before_others(run: Path) -> None:
    report = gather(run)
    said = [("positive", 0.6), ("negative", 0.9), ("positive", 0.8), ("positive", 0.7)]
    slides = [
        replace(
            slide,
            label="positive",
            probabilities={arm: [1 - p, p] if name == "positive" else [p, 1 - p] for arm in ARM_NAMES},
            predicted=dict.fromkeys(ARM_NAMES, name),
        )
        for slide, (name, p) in zip(report.slides, said, strict=True)
    ]
    slides[3] = replace(slides[3], label="negative")
    ids = [slide.slide_id for slide in slides]
    page = Page(render(replace(report, slides=slides), [], {}))
    assert [row[0] for row in page.rows if row[0] in ids] == [ids[1], ids[3], ids[0], ids[2]]


def test_what_the_probabilities_are_worth_is_drawn_and_in_the_json(run: Path) -> None:
    page = read_page(write_report(run, examples=0))
    trust = json.loads((run / "report.json").read_text())["trust"]
    assert trust == json.loads(json.dumps(asdict(gather(run))["trust"]))
    assert trust["student"] == "uncalibrated" and "because a fold has no calibration" in page.text
    (confidence,), (right,) = (trust["reliability"]["uncalibrated"][name] for name in ("confidence", "right"))
    (row,) = [row for row in page.rows if row[0] == "uncalibrated"]
    assert row[1:3] == [f"{confidence:.3f}", f"{right:.3f}"] and row[4] == "4"
    for drawn in ("Net benefit of acting on positive", "How sure the student is", "Errors if the least sure"):
        assert drawn in page.text
    numbers = [int(number) for number in re.findall(r"(?m)^\s*(\d)\. [A-Z]", page.text)]
    assert numbers == list(range(1, 10))


def test_delongs_test_stands_beside_the_interval_by_patient(run: Path) -> None:
    report = gather(run)
    assert report.trust is not None
    tests = {"lr_undistilled": {"difference": 0.0, "interval": [-0.01, 0.02], "p": 0.0004}, "hr_teacher": None}
    trust = replace(report.trust, delong=tests, cases_with_several_slides=1)
    page = Page(render(replace(report, trust=trust), [], {}))
    rows = {row[0]: row for row in page.rows if len(row) == 6 and row[0] in ARM_NAMES.values()}
    assert rows[ARM_NAMES["lr_undistilled"]][3:5] == ["-0.010 to +0.020", "below 0.001"]
    assert rows[ARM_NAMES["hr_teacher"]][3:5] == ["not defined"] * 2
    assert "1 case of 4 has several slides" in page.text
    alone = Page(render(replace(report, trust=replace(trust, cases_with_several_slides=0)), [], {}))
    assert "takes the slides as independent." in alone.text and "several slides" not in alone.text
    three = Page(render(replace(report, trust=replace(trust, delong={}, decision_curve={})), [], {}))
    assert "DeLong" not in three.text and "Net benefit" not in three.text


def arms_of(classes: list[str], figures: Mapping[str, object]) -> dict[str, dict[str, object]]:
    """Figures of the arms in which the classes have other names, or others."""
    place = [number % len(classes) for number in range(12)]
    summary = summarise(place, np.eye(len(classes))[place], [str(number) for number in range(12)], classes)
    return {arm: {**figures[arm], **summary} for arm in ARM_NAMES}  # type: ignore[dict-item]


def test_hostile_names_stay_text(run: Path) -> None:
    report = gather(run)
    slides = [
        replace(
            slide, slide_id=HOSTILE + slide.slide_id, label=HOSTILE, predicted=dict.fromkeys(slide.predicted, HOSTILE)
        )
        for slide in report.slides
    ]
    problem = {"slide_id": HOSTILE, "row": None, "column": None, "severity": "error", "message": HOSTILE, "hint": ""}
    hostile = replace(
        report,
        figures={**report.figures, **arms_of(["no", HOSTILE], report.figures), "classes": ["no", HOSTILE]},
        roc={HOSTILE: report.roc["positive"]},
        slides=slides,
        problems=[problem],
    )
    page = Page(
        render(
            hostile,
            slides[:2],
            {
                slides[0].slide_id: HOSTILE,
                slides[1].slide_id: {}.fromkeys(("slide", "lr_student", "hr_teacher"), "data:image/jpeg;base64,"),
            },
        )
    )
    assert all((attrs["src"] or "").startswith("data:") for tag, attrs in page.tags if tag == "img")
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    for slide in slides:
        assert any(row[0] == slide.slide_id for row in page.rows)
    assert f"positive class: {HOSTILE}" in page.text
    assert page.rows.count([HOSTILE, "0", "6", "1.000", "1.000"]) == 3


def test_what_is_not_defined_says_so(run: Path) -> None:
    report = gather(run)
    nothing = {"auroc": None, "auroc_ci": None, "balanced_accuracy": None, "bytes_per_slide": None}
    arms = {arm: {**report.figures[arm], **nothing} for arm in ARM_NAMES}  # type: ignore[dict-item]
    atomic.write_json(run / "metrics.json", {**report.figures, **arms, "gap_recovered": None})
    page = read_page(write_report(run, examples=0))
    for name in ARM_NAMES.values():
        row = next(row for row in page.rows if row[0] == name)
        assert row[1:4] == ["not defined"] * 3
        assert row[7] == "not defined"
    assert next(row for row in page.rows if row[0] == "MB read")[1:] == ["not defined"] * 3
    assert "Gap recovered: not defined" in page.text
    assert "None" not in " ".join(cell for row in page.rows for cell in row)


@pytest.mark.parametrize(
    ("teacher", "baseline", "student", "recovered", "gap", "remark"),
    [
        (0.9, 0.8, 0.85, 0.5, "50 %", None),
        (0.9, 0.895, 0.9, None, r"not defined: .* 0\.01", None),
        (0.7, 0.8, 0.85, -0.5, "not defined: .* no lead", "teacher"),
        (0.9, 0.8, 0.75, -0.5, "-50 %", "student"),
    ],
)
def test_the_order_of_the_arms_is_put_in_words(
    run: Path, teacher: float, baseline: float, student: float, recovered: float | None, gap: str, remark: str | None
) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    for arm, value in (("hr_teacher", teacher), ("lr_undistilled", baseline), ("lr_student", student)):
        figures[arm] |= {"auroc": value, "auroc_ci": [0.1, 0.95], "linear_head": None}
    atomic.write_json(run / "metrics.json", {**figures, "gap_recovered": recovered})
    report = gather(run)
    assert re.match(gap, report.gap)
    assert [sentence.split()[1] for sentence in report.remarks] == ([remark] if remark else [])
    page = Page(render(report, [], {}))
    assert f"Gap recovered: {report.gap}." in page.text
    assert all(sentence in page.text for sentence in report.remarks)


def test_student_minus_the_others_is_a_table_with_what_it_tells(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    figures["student_minus"] = {
        "lr_undistilled": {"difference": 0.0312, "interval": [-0.02, 0.08]},
        "hr_teacher": {"difference": -0.05, "interval": [-0.09, -0.01]},
    }
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    (baseline,) = [row for row in page.rows if len(row) == 6 and row[1:3] == ["+0.031", "-0.020 to +0.080"]]
    (teacher,) = [row for row in page.rows if len(row) == 6 and row[1:3] == ["-0.050", "-0.090 to -0.010"]]
    assert baseline[0] == ARM_NAMES["lr_undistilled"] and "cannot tell student and baseline apart" in baseline[5]
    assert teacher[0] == ARM_NAMES["hr_teacher"] and "below the teacher" in teacher[5]
    assert json.loads((run / "report.json").read_text())["differences"]["hr_teacher"] == teacher[5]


def test_each_arm_is_shown_by_slide_by_patient_and_beside_its_linear_head(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    page = read_page(write_report(run, examples=0))
    assert "There are no figures by patient: every case has one slide." in page.text and "ECE" in page.text
    names = ("auroc", "balanced_accuracy", "accuracy", "brier", "nll", "ece")
    for arm in ARM_NAMES:
        averaged = dict(zip(names, (0.111, 0.222, 0.555, 0.333, 0.666, 0.444), strict=True))
        figures[arm] |= {"by_case": {**figures[arm], **averaged}, "by_case_reason": ""}
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    for arm, name in ARM_NAMES.items():
        ways = {"by slide": figures[arm], "by patient": figures[arm]["by_case"]}
        ways["linear model, by slide"] = figures[arm]["linear_head"]
        for measured, found in ways.items():
            assert [name, measured, *(f"{found[one]:.3f}" for one in names)] in page.rows
    assert "no figures by patient" not in page.text


def test_patients_come_first_where_they_have_several_slides(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    whole = read_page(write_report(run, examples=0)).text
    assert "By slide, it reached" not in whole and "By patient" not in whole
    for place, arm in enumerate(ARM_NAMES):
        figures[arm] |= {"by_case": {**figures[arm], "auroc": 0.7 + place / 100, "auroc_ci": [0.111, 0.999]}}
        figures[arm] |= {"by_case_reason": "", "n_cases": 3}
    reasons = {"rule": "max", "reason": "it has the lowest loss on 40 cases of several slides"}
    figures["case_rule"] = {"fold-0": reasons, "final": reasons}
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    lead = page.text.split("Gap recovered")[0]
    assert "the distilled low-resolution student reached, by patient, AUROC 0.720" in lead
    assert lead.index("AUROC 0.720") < lead.index(f"By slide, it reached AUROC {figures['lr_student']['auroc']:.3f}")
    rows = [row for row in page.rows if "0.111 to 0.999" in row]
    assert [row[:2] for row in rows] == [[name, f"{0.7 + n / 100:.3f}"] for n, name in enumerate(ARM_NAMES.values())]
    assert "In fold-0, final it is the slide of the highest probability of the positive class, because it has" in lead
    for arm in ARM_NAMES:  # as earlier versions wrote it
        del figures[arm]["by_case"]["auroc_ci"], figures[arm]["within_folds"]
    del figures["case_rule"]
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    assert "averaged first" in page.text and "by patient, AUROC 0.720" in page.text
    assert "0.111 to 0.999" not in page.text


def test_folds_have_the_figure_within_folds_beside_the_pooled_one(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    assert "within folds" not in read_page(write_report(run, examples=0)).text.lower(), "there is one fold"
    for arm in ARM_NAMES:
        figures[arm]["auroc_by_fold"] = {"fold-0": 0.25, "fold-1": None}
        figures[arm]["within_folds"] |= {"auroc": 0.777, "auroc_ci": [0.666, 0.888]}
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    for arm, name in ARM_NAMES.items():
        row = [name, "0.250", "not defined", "0.777", "0.666 to 0.888", f"{figures[arm]['auroc']:.3f}"]
        assert row in page.rows
    assert figures["lr_student"]["within_folds"]["definition"] in page.text
    for arm in ARM_NAMES:
        figures[arm]["within_folds"] |= {"auroc": None, "auroc_ci": None, "reason": "no fold has both"}
    atomic.write_json(run / "metrics.json", figures)
    assert "It is not defined: no fold has both." in read_page(write_report(run, examples=0)).text


def test_answers_are_counted_by_class_for_every_arm(run: Path, written: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    page = read_page(written)
    for arm, title in ARM_NAMES.items():
        of = figures[arm]
        assert f"{title}, by slide" in page.text and f"{title}, by patient" not in page.text
        for name, counts in zip(figures["classes"], of["confusion"], strict=True):
            values = [of["recall"][name], of["auroc_by_class"][name]]
            assert [name, *map(str, counts), *(f"{value:.3f}" for value in values)] in page.rows
    assert "the share of a class that is recognised" in page.text and "Not defined" not in page.text
    lacking = summarise([1, 1], [[0.3, 0.7], [0.6, 0.4]], ["p", "p"], figures["classes"])
    atomic.write_json(run / "metrics.json", figures | {arm: figures[arm] | lacking for arm in ARM_NAMES})
    page = read_page(write_report(run, examples=0))
    first, second = figures["classes"]
    assert page.rows.count([first, "0", "0", "not defined", "not defined"]) == 6
    assert page.rows.count([second, "1", "1", "0.500", "not defined"]) == 3, "by slide"
    assert page.rows.count([second, "0", "1", "1.000", "not defined"]) == 3, "by patient"
    assert f"Not defined by slide: AUROC, balanced accuracy, recall; there is no slide of '{first}'." in page.text
    assert f"Not defined by patient: AUROC against the rest; every case is of '{second}'." in page.text


def test_a_run_of_an_earlier_version_has_no_figures_by_class(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    new = ("accuracy", "recall", "auroc_by_class", "confusion", "undefined")
    for arm in ARM_NAMES:
        for of in (figures[arm], figures[arm]["linear_head"]):
            for name in new:
                del of[name]
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    assert "recall" not in page.text and "Which classes" not in page.text and "Brier score" in page.text
    assert "The other arms" not in page.text


def test_a_run_without_log_loss_has_a_report_without_it(run: Path, written: Path) -> None:
    assert "log loss" in {cell for row in read_page(written).rows for cell in row} | {
        *read_page(written).text.split("\n")
    }
    figures = json.loads((run / "metrics.json").read_text())
    for arm in ARM_NAMES:
        for of in (figures[arm], figures[arm]["linear_head"]):
            del of["nll"]
    if after := figures["calibration"]["after"]:
        del after["nll"]
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    assert "Brier score" in page.text and "log loss" not in page.text


def test_an_arm_below_its_linear_head_is_told(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    for arm in ARM_NAMES:
        figures[arm]["linear_head"]["auroc"] = figures[arm]["auroc"]
    atomic.write_json(run / "metrics.json", figures)
    assert "below a linear model" not in read_page(write_report(run, examples=0)).text
    figures["lr_student"]["linear_head"]["auroc"] = figures["lr_student"]["auroc"] + 0.02
    atomic.write_json(run / "metrics.json", figures)
    assert "the MIL of the LR student" in read_page(write_report(run, examples=0)).text


def test_a_run_of_an_earlier_version_has_none_of_these(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    del figures["student_minus"]
    for arm in ARM_NAMES:
        for name in ("brier", "nll", "ece", "by_case", "by_case_reason", "linear_head"):
            del figures[arm][name]
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    assert gather(run).differences == {}
    assert not any(word in page.text for word in ("better or worse", "by patient, and", "Brier", "linear model"))


def test_what_stage_1_reached_is_a_table(run: Path) -> None:
    report = gather(run)
    assert report.stage1 is not None and report.stage1.by_fold.keys() == {"fold-0"}
    found = report.stage1.by_fold["fold-0"]
    page = read_page(write_report(run, examples=0))
    row = next(row for row in page.rows if row[0] == "fold-0" and len(row) == 9)
    assert row[1:4] == [str(found.patches), f"{found.distilled.r2:.2f}", f"{found.start.r2:.2f}"]
    assert row[-1] == f"{found.target_rank:.1f}"
    written = json.loads((run / "report.json").read_text())
    assert written["stage1"]["by_fold"]["fold-0"] == written["figures"]["stage1"]["by_fold"]["fold-0"]


@pytest.mark.parametrize(("r2", "said"), [(0.3, True), (0.8, False)])
def test_a_stage_1_that_fell_short_is_said(run: Path, r2: float, said: bool) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    figures["stage1"]["distilled"]["r2"], figures["stage1"]["start"]["r2"] = r2, 0.1
    atomic.write_json(run / "metrics.json", figures)
    report = gather(run)
    assert ("R2 of 0.30" in report.stage1_shortfall) == said
    assert ("fell short" in read_page(write_report(run, examples=0)).text) == said


def test_a_run_of_an_earlier_version_has_no_figures_of_stage_1(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    del figures["stage1"]
    atomic.write_json(run / "metrics.json", figures)
    assert "What stage 1 reached" not in read_page(write_report(run, examples=0)).text
    assert gather(run).stage1 is None


def test_a_plan_of_an_earlier_version_belongs_to_its_model(run: Path) -> None:
    """Its settings, as they were written, are those that the model states, though this version reads them otherwise."""
    plan = tomllib.loads((run / "plan.toml").read_text())
    fit = plan["settings"]["stage1"]["fit"]
    del fit["steps"], fit["interval"], fit["ema"]
    fit["epochs"] = 8
    (run / "plan.toml").write_text(tomli_w.dumps(plan))
    with pytest.raises(FormatError, match="a model trained with the settings"):
        write_report(run, examples=0)
    bundle = json.loads((run / "model/bundle.json").read_text())
    bundle["training"]["settings_sha256"] = hashing.sha256_of(plan["settings"])
    atomic.write_json(run / "model/bundle.json", bundle)
    assert write_report(run, examples=0).is_file()


def test_an_interval_without_width_is_explained(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    for arm in ARM_NAMES:
        figures[arm] |= {"auroc": 1.0, "auroc_ci": [0.9, 1.0]}  # which no linear head exceeds
    figures["lr_student"]["auroc_ci"] = [1.0, 1.0]
    atomic.write_json(run / "metrics.json", figures)
    assert ["no width" in remark for remark in gather(run).remarks] == [True]


def test_a_slide_that_is_gone_or_another_is_said_in_its_place(run: Path, tmp_path: Path, finished: Path) -> None:
    slides = Path(shutil.copytree(finished.parent / "cohort/slides", tmp_path / "slides"))
    plan = (run / "plan.toml").read_text().replace(str(finished.parent / "cohort/slides"), str(slides))
    (run / "plan.toml").write_text(plan)
    gone, other, *_ = gather(run).slides
    (slides / f"{gone.slide_id}.ome.tif").unlink()
    shutil.copy(slides / "demo-000.ome.tif", slides / f"{other.slide_id}.ome.tif")
    page = read_page(write_report(run, examples=4))
    assert len(page.overlays()) == 3 * 2
    assert page.text.count("No picture:") == 2
    assert re.search(rf"No picture: [^:]*{other.slide_id}\.ome\.tif", page.text)


@pytest.mark.parametrize("relative", [False, True])
def test_slides_that_are_not_found_are_named_with_where_was_looked(
    run: Path, tmp_path: Path, relative: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """On the terminal, not on the page: that one names no folder."""
    place = tmp_path / "my place"
    place.mkdir()
    monkeypatch.chdir(place)
    change_plan(run, slides="in/slides" if relative else str(tmp_path / "my place/in/slides"))
    page = write_report(run, examples=2).read_text(encoding="utf-8")
    assert page.count("No picture:") == 2 and "my place" not in page
    (record,) = caplog.records
    assert str(place / "in/slides") in record.message and "demo-" in record.message
    assert ("folder in which the run was trained" in record.message) == relative


def test_a_relative_path_of_an_earlier_plan_is_relative_to_the_current_folder(
    run: Path, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(finished.parent / "cohort/slides", tmp_path / "in/slides")
    change_plan(run, slides="in/slides", labels="labels.csv")
    monkeypatch.chdir(tmp_path)
    assert len(read_page(write_report(run, examples=1)).overlays()) == 3 and not caplog.records


def test_the_target_of_a_linked_folder_is_not_told(run: Path, finished: Path, tmp_path: Path) -> None:
    target = Path(shutil.copytree(finished.parent / "cohort/slides", tmp_path / "Dr Jane Doe/slides"))
    (tmp_path / "link").symlink_to(target)
    change_plan(run, slides=str(tmp_path / "link"))
    for slide in target.iterdir():
        slide.write_bytes(b"This is no slide.")
    page = write_report(run, examples=2).read_text(encoding="utf-8")
    assert page.count("No picture:") == 2 and ".ome.tif" in page and "Jane" not in page


def change_plan(run: Path, **paths: str) -> None:
    document = tomllib.loads((run / "plan.toml").read_text())
    (run / "plan.toml").write_text(tomli_w.dumps({**document, **paths}))


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match=r"plan\.toml"):
        write_report(tmp_path)


@pytest.mark.parametrize("missing", ["metrics.json", "model/bundle.json", "predictions.csv"])
def test_an_unfinished_run_is_refused(run: Path, missing: str) -> None:
    (run / missing).unlink()
    with pytest.raises(FormatError, match=missing):
        write_report(run)
    assert not list(run.glob("report.*"))


def test_a_run_whose_settings_changed_since_its_model_is_refused(run: Path) -> None:
    plan = (run / "plan.toml").read_text()
    (run / "plan.toml").write_text(plan.replace("seed = 0", "seed = 1"))
    with pytest.raises(FormatError, match=r"settings of plan\.toml"):
        write_report(run)


def test_negative_examples_are_refused(run: Path) -> None:
    with pytest.raises(ConfigError, match="-1"):
        write_report(run, examples=-1)


def test_unreadable_patches_are_counted(run: Path) -> None:
    path = run / "shared/hr/demo-003.zarr/zarr.json"
    card = json.loads(path.read_text())
    card["attributes"] |= {"failed": 2, "total": 57}
    path.write_text(json.dumps(card))
    page = read_page(write_report(run, examples=0))
    assert ["demo-003", "HR", "2", "57"] in page.rows


def result(name: str, label: str, positive: float) -> SlideResult:
    said = {arm: [1 - positive, positive] for arm in ARM_NAMES}
    predicted = dict.fromkeys(ARM_NAMES, "yes" if positive > 0.5 else "no")
    return SlideResult(
        name, name, "fold-0", label, said, predicted, dict.fromkeys(("lr_student", "lr_undistilled"), 0.5), 0.5, ""
    )


def test_examples_are_wrong_ones_first_surest_first_then_correct_ones_of_both_classes() -> None:
    wrong = [result("w0", "no", 0.6), result("w1", "no", 0.9), result("w2", "yes", 0.3)]
    correct = [result("c0", "no", 0.1), result("c1", "no", 0.1), result("c2", "yes", 0.9)]
    names = [chosen.slide_id for chosen in choose_examples([*correct, *wrong], 5)]
    assert names == ["w1", "w2", "w0", "c0", "c2"]
    assert [chosen.slide_id for chosen in choose_examples([*correct, *wrong], 3)] == ["w1", "w2", "c0"]
    assert len(choose_examples(wrong, 3)) == 3
    assert len(choose_examples(correct, 6)) == 3
    assert choose_examples(correct, 0) == []


def test_several_folds_and_classes_have_their_tables_and_curves(run: Path) -> None:
    report = gather(run)
    classes = ["a", "b", "c"]
    slides = [
        replace(
            slide,
            label=classes[place % 3],
            probabilities={arm: [0.2, 0.7, 0.1] for arm in ARM_NAMES},
            predicted=dict.fromkeys(ARM_NAMES, "b"),
        )
        for place, slide in enumerate(report.slides)
    ]
    by_fold = {"auroc_by_fold": {"fold-0": 0.625, "fold-1": None}}
    arms = {arm: {**of, **by_fold} for arm, of in arms_of(classes, report.figures).items()}
    points = report.roc["positive"]
    several = replace(
        report,
        figures={**report.figures, **arms, "classes": classes},
        slides=slides,
        roc=dict.fromkeys(classes, points),
    )
    page = Page(render(several, [], {}))
    assert ["LR student", "0.625", "not defined"] in [row[:3] for row in page.rows]
    for name in classes:
        assert f"{name} against the rest" in page.text
    assert [row[4] for row in page.rows if row[0] in {slide.slide_id for slide in slides}] == [
        "b 0.700 wrong",
        "b 0.700 wrong",
        "b 0.700 wrong",
        "b 0.700",
    ], "errors come first"


CHOICES = {
    "fold-0": {
        "head": "mean",
        "inner_folds": 2,
        "reason": "2 inner folds in place of 4",
        "losses": {
            "abmil": {"hr_teacher": 0.5, "lr_undistilled": 0.7},
            "mean": {"hr_teacher": 0.4, "lr_undistilled": 0.6},
        },
    },
    "fold-1": {"head": "abmil", "inner_folds": 0, "reason": "inner_folds is 0", "losses": {}},
}


@pytest.mark.parametrize("folds", [["fold-0"], ["fold-1"], ["fold-0", "fold-1"], ["fold-1", "fold-0"]], ids=str)
def test_which_head_each_fold_has_is_a_table_whether_or_not_heads_were_compared(run: Path, folds: list[str]) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    atomic.write_json(run / "metrics.json", {**figures, "head": {name: CHOICES[name] for name in folds}})
    page = read_page(write_report(run, examples=0))
    compared = "fold-0" in folds
    losses = {"fold-0": ["0.600", "0.500"], "fold-1": ["not compared"] * 2 if compared else []}
    for name in folds:
        choice = CHOICES[name]
        expected = [name, choice["head"], *losses[name], str(choice["inner_folds"]), choice["reason"]]
        assert expected in page.rows
    assert "Which MIL head each fold has" in page.text


def test_why_there_is_no_linear_model_is_told(run: Path) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    assert all(figures[arm]["linear_head_reason"] == "" for arm in ARM_NAMES)
    assert "There is no linear model" not in read_page(write_report(run, examples=0)).text
    for arm in ARM_NAMES:
        figures[arm] |= {"linear_head": None, "linear_head_reason": "in fold-1, there is no slide of a to learn from"}
    atomic.write_json(run / "metrics.json", figures)
    page = read_page(write_report(run, examples=0))
    assert "There is no linear model: in fold-1, there is no slide of a to learn from." in page.text
    assert "linear model, by slide" not in page.text


@pytest.mark.parametrize("tested", [{}, {"fold-0": ["demo-012"]}], ids=["none", "one"])
def test_what_the_start_has_seen_is_told_at_the_top_if_it_was_tested(run: Path, tested: dict[str, list[str]]) -> None:
    figures = json.loads((run / "metrics.json").read_text())
    start = {"slides": 9, "seen": 1, "tested": tested}
    atomic.write_json(run / "metrics.json", {**figures, "student_start": start})
    report, page = gather(run), read_page(write_report(run, examples=0))
    assert (report.start_remark in report.remarks) == bool(tested)
    assert page.text.count(report.start_remark) == 1 and "student started from" in report.start_remark
    assert ("no encoder, saw a test slide" in page.text) == (not tested)
    assert ("the student started from did" in page.text) == bool(tested)


def test_what_is_compared_is_said_as_the_settings_were(run: Path) -> None:
    page = read_page(write_report(run, examples=0))
    assert "what distillation adds. LR student" in page.text and "linear regression with which stage 1" in page.text
