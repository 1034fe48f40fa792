"""The audit of a run: sound runs pass, and whatever is changed in one is found and named."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lrmil.cohorts.splits import read_splits
from lrmil.errors import FormatError, RunError
from lrmil.io import hashing
from lrmil.io.documents import read_csv_rows
from lrmil.io.tensors import load_tensors, save_tensors
from lrmil.patches.kept import keep_patches, read_patches
from lrmil.runs.audit import audit_run
from lrmil.runs.control import run_lock
from lrmil.runs.fold_outputs import read_outputs
from lrmil.runs.plan_file import settings_hashes
from lrmil.runs.train import Run, train, train_steps
from lrmil.summary import summarise
from support.runs import TinyRun, tiny_config

pytestmark = pytest.mark.long

Row = dict[str, str]


def change_rows(path: Path, change: Callable[[list[Row]], object]) -> None:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    change(rows)
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def change_json(path: Path, change: Callable[[Any], object]) -> None:
    document = json.loads(path.read_text())
    change(document)
    path.write_text(json.dumps(document))


def change_inputs(folder: Path, change: Callable[[Any], object], *, with_key: bool) -> None:
    """Edit the inputs of an artefact, and its key to match if asked to."""

    def edit(document: Any) -> None:
        change(document["inputs"])
        if with_key:
            document["key"] = hashing.sha256_of(document["inputs"])

    change_json(folder / "artefact.json", edit)


def rehash(folder: Path) -> None:
    """State the hashes of the files as they are now, as someone would who knows of them."""

    def edit(document: Any) -> None:
        document["sha256"] = {name: hashing.sha256_file(folder / name) for name in document["sha256"]}

    change_json(folder / "artefact.json", edit)


def first_tested(run: Path) -> str:
    return read_splits(run / "splits.csv")[0].test[0]


def move_slide(run: Path) -> None:
    slide = read_splits(run / "splits.csv")[0].train[0]
    change_rows(
        run / "splits.csv",
        lambda rows: [row.update(part="test") for row in rows if (row["fold"], row["slide_id"]) == ("fold-0", slide)],
    )


def move_validation_slide(run: Path) -> None:
    slide = read_splits(run / "splits.csv")[0].val[0]
    change_rows(
        run / "splits.csv",
        lambda rows: [row.update(part="test") for row in rows if (row["fold"], row["slide_id"]) == ("fold-0", slide)],
    )


def learn_from_test_slide(run: Path) -> None:
    slide = first_tested(run)
    change_rows(
        run / "splits.csv",
        lambda rows: [row.update(part="train") for row in rows if (row["fold"], row["slide_id"]) == ("fold-0", slide)],
    )


def repeat_split(run: Path) -> None:
    change_rows(run / "splits.csv", lambda rows: rows.append(rows[0]))


def measure_twice(run: Path) -> None:
    slide = first_tested(run)
    change_rows(
        run / "splits.csv",
        lambda rows: [row.update(part="test") for row in rows if (row["fold"], row["slide_id"]) == ("fold-1", slide)],
    )


def leave_out_test_slide(run: Path) -> None:
    slide = first_tested(run)
    for name in ("splits.csv", "predictions.csv"):
        change_rows(
            run / name,
            lambda rows: rows.__setitem__(slice(None), [row for row in rows if row["slide_id"] != slide]),
        )


def rename_case(run: Path) -> None:
    """Of one slide in every table, so that they agree."""
    slide = first_tested(run)
    for name in ("splits.csv", "predictions.csv"):
        change_rows(run / name, lambda rows: [row.update(case_id="other") for row in rows if row["slide_id"] == slide])


def join_cases(run: Path) -> None:
    """Give a test slide the case of a training slide of the same fold."""
    (fold, *_) = read_splits(run / "splits.csv")

    def edit(rows: list[Row]) -> None:
        (case,) = {row["case_id"] for row in rows if row["slide_id"] == fold.train[0]}
        for row in rows:
            if row["slide_id"] == fold.test[0]:
                row["case_id"] = case

    change_rows(run / "splits.csv", edit)


def swap_label(row: Row) -> None:
    row["label"] = {"negative": "positive", "positive": "negative"}[row["label"]]


def change_label(run: Path) -> None:
    change_rows(run / "predictions.csv", lambda rows: swap_label(rows[0]))


def change_label_everywhere(run: Path) -> None:
    slide = first_tested(run)
    for name in ("splits.csv", "predictions.csv"):
        change_rows(run / name, lambda rows: [swap_label(row) for row in rows if row["slide_id"] == slide])


def change_probability(run: Path) -> None:
    change_rows(run / "predictions.csv", lambda rows: rows[0].update(prob_negative="0.990000"))


def change_output(run: Path) -> None:
    """Of one slide in the outputs and in the table, with the hash to match."""
    path, slide = run / "fold-0/outputs/probabilities.json", first_tested(run)
    change_json(path, lambda found: found["lr_student"].update({slide: [0.99, 0.01]}))
    rehash(path.parent)

    def edit(rows: list[Row]) -> None:
        for row in rows:
            if (row["slide_id"], row["arm"]) == (slide, "lr_student"):
                row.update(prob_negative="0.990000", prob_positive="0.010000")

    change_rows(run / "predictions.csv", edit)


def repeat_row(run: Path) -> None:
    change_rows(run / "predictions.csv", lambda rows: rows.append(rows[0]))


def drop_row(run: Path) -> None:
    change_rows(run / "predictions.csv", lambda rows: rows.pop())


def change_header(run: Path, before: str, after: str) -> None:
    path = run / "predictions.csv"
    path.write_text(path.read_text().replace(before, after, 1))


def swap_columns(run: Path) -> None:
    """By their names alone: each probability is then that of the other class."""
    change_header(run, "prob_negative,prob_positive", "prob_positive,prob_negative")


def rename_column(run: Path) -> None:
    change_header(run, "case_id", "patient")


def repeat_column(run: Path) -> None:
    change_header(run, "prob_negative", "prob_positive")


def change_figure(run: Path) -> None:
    change_json(run / "metrics.json", lambda figures: figures["lr_student"].update(auroc=0.9999))


def drop_figure(run: Path) -> None:
    change_json(run / "metrics.json", lambda figures: figures.pop("calibration"))


def change_figure_everywhere(run: Path) -> None:
    for path, place in ((run / "metrics.json", ()), (run / "model/bundle.json", ("metrics",))):

        def edit(document: Any, place: tuple[str, ...] = place) -> None:
            for name in place:
                document = document[name]
            document["student_minus"]["hr_teacher"]["difference"] = 0.5

        change_json(path, edit)


def in_both(run: Path, change: Callable[[Any], object]) -> None:
    """In metrics.json and in the model, which repeats it."""
    for path in (run / "metrics.json", run / "model/bundle.json"):
        change_json(path, lambda document: change(document.get("metrics", document)))


def drop_calibration(run: Path) -> None:
    """As if the run were of a version that had none, so that another may be shipped."""
    in_both(run, lambda figures: figures.pop("calibration"))
    other = {"slopes": [3.0, 3.0], "offsets": [-1.0, 1.0], "slides": 12}
    change_json(run / "model/bundle.json", lambda document: document.update(format="lrmil.bundle/2", calibration=other))


def drop_calibration_artefact(run: Path) -> None:
    in_both(run, lambda figures: figures.pop("calibration"))
    for path in run.glob("*/calibration"):
        shutil.rmtree(path)


def state_no_rule(run: Path) -> None:
    """As versions that averaged the probabilities of a case."""

    def as_earlier(figures: Any) -> None:
        del figures["case_rule"]
        for arm in ("hr_teacher", "lr_undistilled", "lr_student"):
            del figures[arm]["within_folds"]
            tested = [row for row in read_csv_rows(run / "predictions.csv") if row["arm"] == arm]
            classes = figures["classes"]
            values = {fold: read_outputs(run / fold)[arm] for fold in ("fold-0", "fold-1")}
            figures[arm] |= summarise(
                [classes.index(row["label"]) for row in tested],
                [values[row["fold"]][row["slide_id"]].values for row in tested],
                [row["case_id"] for row in tested],
                classes,
            )

    def in_model(document: Any) -> None:
        del document["case_rule"]
        as_earlier(document["metrics"])

    change_json(run / "metrics.json", as_earlier)
    change_json(run / "model/bundle.json", in_model)


def drop_fold(run: Path) -> None:
    in_both(run, lambda figures: figures["lr_student"]["auroc_by_fold"].pop("fold-1"))


def forget_learned_from(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document.pop("learned_from"))


def drop_hash(run: Path) -> None:
    change_json(run / "fold-0/teacher/artefact.json", lambda document: document["sha256"].pop("history.json"))
    change_history(run)


def drop_hashes(run: Path) -> None:
    change_json(run / "fold-0/teacher/artefact.json", lambda document: document.update(sha256={}))
    change_history(run)


def swap_weights(run: Path) -> None:
    one, other = (run / fold / "lr_undistilled/mil.safetensors" for fold in ("fold-0", "fold-1"))
    content = one.read_bytes()
    shutil.copyfile(other, one)
    other.write_bytes(content)


def swap_encoders(run: Path) -> None:
    """With the hashes to match."""
    one, other = (run / fold / "lr_encoder/encoder.safetensors" for fold in ("fold-0", "fold-1"))
    content = one.read_bytes()
    shutil.copyfile(other, one)
    other.write_bytes(content)
    for path in (one, other):
        rehash(path.parent)


def swap_teachers(run: Path) -> None:
    """The whole artefacts."""
    one, other = (run / fold / "teacher" for fold in ("fold-0", "fold-1"))
    one.rename(run / "aside")
    other.rename(one)
    (run / "aside").rename(other)


def hide_slide(run: Path) -> None:
    change_inputs(run / "fold-0/lr_encoder", lambda inputs: inputs["train"].popitem(), with_key=False)


def teach_test_slide(run: Path) -> None:
    """To stage 1, whose key no other artefact names."""
    slide = first_tested(run)
    change_inputs(
        run / "fold-0/lr_encoder",
        lambda inputs: inputs["train"].update({slide: next(iter(inputs["train"].values()))}),
        with_key=True,
    )


def teach_teacher(run: Path) -> None:
    change_inputs(run / "fold-0/teacher.inner-0", lambda inputs: inputs.update(seed=1), with_key=True)


def select_on_test_slide(run: Path) -> None:
    slide = first_tested(run)
    change_inputs(run / "fold-1/lr_student", lambda inputs: inputs["val"].update({slide: [0, "0"]}), with_key=True)
    change_inputs(run / "fold-0/lr_student", lambda inputs: inputs["val"].update({slide: [0, "0"]}), with_key=True)


def fit_head_to_test_slide(run: Path) -> None:
    slide = first_tested(run)
    change_inputs(run / "fold-0/linear_heads", lambda inputs: inputs["train"].update({slide: 0}), with_key=True)


def hold_out_test_slide(run: Path) -> None:
    slide = first_tested(run)
    change_inputs(run / "fold-0/evidence", lambda inputs: inputs["inner_folds"][0][0].append(slide), with_key=True)


def straddle_inner_folds(run: Path) -> None:
    """Two slides of one case in two of the folds for the calibration."""

    def edit(inputs: Any) -> None:
        first, second, *_ = inputs["held_out"][0]
        first[0], second[0] = second[0], first[0]

    change_inputs(run / "final/calibration", edit, with_key=True)


def hold_out_less(run: Path) -> None:
    change_inputs(run / "final/calibration", lambda inputs: inputs["held_out"][0][0].pop(), with_key=True)


def rename_class_of_model(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document.update(classes=["negative", "other"]))


def change_answers(run: Path) -> None:
    path = run / "final/calibration/answers.json"
    change_json(path, lambda found: found["logits"].update({slide: [9.0, -9.0] for slide in found["logits"]}))


def change_answers_with_hash(run: Path) -> None:
    path = run / "final/calibration/answers.json"
    change_json(path, lambda found: found["logits"].popitem())
    rehash(path.parent)


def change_model_figure(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document["metrics"].update(gap_recovered=0.5))


def change_model_rule(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document.update(case_rule="max"))


def change_rule(run: Path) -> None:
    change_json(run / "metrics.json", lambda figures: figures["case_rule"]["final"].update(rule="max"))


def change_figure_by_case(run: Path) -> None:
    change_json(run / "metrics.json", lambda figures: figures["hr_teacher"]["by_case"].update(brier=0.987))


def change_resolution(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document.update(mpp=1.5))


def replace_model(run: Path) -> None:
    """By another network of the same layers, with the hashes to match."""
    path = run / "model/mil.safetensors"
    tensors = {name: value + 0.01 * torch.ones_like(value) for name, value in load_tensors(path).items()}
    save_tensors(path, tensors)
    change_json(
        run / "model/bundle.json",
        lambda document: document["sha256"].update({"mil.safetensors": hashing.sha256_file(path)}),
    )


def ship_another_fold(run: Path) -> None:
    path = run / "model/encoder/model.safetensors"
    shutil.copyfile(run / "fold-0/lr_encoder/encoder.safetensors", path)
    change_json(
        run / "model/bundle.json",
        lambda document: document["sha256"].update({"encoder/model.safetensors": hashing.sha256_file(path)}),
    )


def forget_slide(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document["learned_from"]["slides"].pop())


def change_settings(run: Path) -> None:
    path = run / "plan.toml"
    path.write_text(path.read_text().replace("seed = 0", "seed = 1"))


def change_settings_of_model(run: Path) -> None:
    """In plan.toml, with the hash in the model to match."""
    path = run / "plan.toml"
    path.write_text(path.read_text().replace("hidden_dim = 128", "hidden_dim = 64"))
    (sha256,) = settings_hashes(run)
    change_json(run / "model/bundle.json", lambda document: document["training"].update(settings_sha256=sha256))


def change_seed_everywhere(run: Path) -> None:
    change_settings(run)
    (sha256,) = settings_hashes(run)

    def edit(document: Any) -> None:
        document["training"].update(settings_sha256=sha256)
        document["training"]["settings"].update(seed=1)

    change_json(run / "model/bundle.json", edit)


def change_stage_1(run: Path) -> None:
    """In an artefact, whose key no other names."""
    change_inputs(run / "fold-0/lr_encoder", lambda inputs: inputs["stage1"].update(weighting="uniform"), with_key=True)


def change_inner_seeds(run: Path) -> None:
    change_inputs(run / "fold-0/teacher.inner-0", lambda inputs: inputs["mil"].update(seeds=9), with_key=True)


def change_losses(run: Path) -> None:
    change_inputs(run / "final/lr_student", lambda inputs: inputs["stage2"].update(lambda_bag=7.0), with_key=True)


def change_held_out_losses(run: Path) -> None:
    change_inputs(
        run / "final/lr_student.held-0", lambda inputs: inputs["stage2"].update(warm_start=True), with_key=True
    )


def swap_classes_of_plan(run: Path) -> None:
    path = run / "plan.toml"
    path.write_text(path.read_text().replace('"negative",\n    "positive"', '"positive",\n    "negative"'))


def tell_other_settings(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document["training"]["settings"].update(seed=99))


def tell_no_counts(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document["training"].pop("cases"))


def tell_other_mil(run: Path) -> None:
    change_json(run / "model/bundle.json", lambda document: document["mil"].update(dropout=0.1))


def change_history(run: Path) -> None:
    change_json(run / "fold-0/teacher/history.json", lambda epochs: epochs.pop())


def add_file(run: Path) -> None:
    (run / "fold-0/teacher/notes.txt").write_text("better")


def replace_features(run: Path) -> None:
    """Of a test slide by those of another fold's encoder."""
    slide = first_tested(run)
    shutil.rmtree(run / f"fold-0/lr/{slide}.zarr")
    shutil.copytree(run / f"fold-1/lr/{slide}.zarr", run / f"fold-0/lr/{slide}.zarr")


def rename_features(run: Path) -> None:
    (fold, *_) = read_splits(run / "splits.csv")
    shutil.rmtree(run / f"shared/hr/{fold.test[0]}.zarr")
    shutil.copytree(run / f"shared/hr/{fold.train[0]}.zarr", run / f"shared/hr/{fold.test[0]}.zarr")


def double_slide(run: Path) -> None:
    """A test slide is the same file as a training slide, as all its features say."""
    (fold, *_) = read_splits(run / "splits.csv")
    one = json.loads((run / f"shared/lr/{fold.train[0]}.zarr/zarr.json").read_text())
    for path in run.rglob(f"{fold.test[0]}.zarr/zarr.json"):
        change_json(
            path,
            lambda group: group["attributes"].update(slide_fingerprint=one["attributes"]["slide_fingerprint"]),
        )


def link_features(run: Path) -> None:
    path = run / f"shared/hr/{first_tested(run)}.zarr"
    shutil.move(path, run.parent / "away")
    path.symlink_to(run.parent / "away")


def link_embeddings(run: Path) -> None:
    path = run / f"shared/hr/{first_tested(run)}.zarr/features"
    shutil.move(path, run.parent / "away")
    path.symlink_to(run.parent / "away")


def change_card(run: Path, name: str, **values: object) -> None:
    path = run / name / f"{first_tested(run)}.zarr/zarr.json"
    change_json(path, lambda group: group["attributes"].update(values))


def replace_file(run: Path) -> None:
    """Of a slide, between the two resolutions."""
    change_card(run, "shared/hr", slide_fingerprint="0" * 64)


def sharpen(run: Path) -> None:
    change_card(run, "shared/hr", mpp=0.25)


def sharpen_low_resolution(run: Path) -> None:
    change_card(run, "fold-0/lr", mpp=1.0)


def shrink_patches(run: Path) -> None:
    change_card(run, "shared/lr", size=32)


def invent_a_failed_slide(run: Path) -> None:
    """To hide that a case was renamed: the slide that it names did not fail."""
    rename_case(run)
    problem = {"slide_id": first_tested(run), "row": None, "column": None, "severity": "error"}
    (run / "problems.json").write_text(json.dumps([{**problem, "message": "damaged", "hint": "Left out."}]))


def start_from_seen(run: Path) -> None:
    found = {"slides": 12, "seen": 12, "tested": {"fold-0": [first_tested(run)]}}
    for path in (run / "metrics.json", run / "model/bundle.json"):
        change_json(path, lambda one: one.get("metrics", one).update(student_start=found))


def patches_in(run: Path) -> Path:
    return run / "shared/patches/demo-001.safetensors"


def edit_patches(run: Path) -> None:
    content = patches_in(run).read_bytes()
    patches_in(run).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


def tell_fewer_patches(run: Path) -> None:
    """As someone would who knows of their hash."""
    found = read_patches(patches_in(run))
    fewer = replace(found.patches, index=found.patches.index[1:], children_covered=found.patches.children_covered[1:])
    keep_patches(found._replace(patches=fewer, is_kept=False))


def tell_fewer_covered(run: Path) -> None:
    found = read_patches(patches_in(run))
    covered = found.patches.children_covered.copy()
    covered[0] = False
    keep_patches(found._replace(patches=replace(found.patches, children_covered=covered), is_kept=False))


def swap_patches(run: Path) -> None:
    shutil.copy(patches_in(run).with_stem("demo-002"), patches_in(run))


CHANGES: dict[Callable[[Path], None], str] = {  # what is changed -> where a finding must point, and to what
    move_slide: "fold-0/teacher: Test slides of the fold are among its train slides",
    move_validation_slide: "fold-0/teacher: Test slides",
    learn_from_test_slide: "splits.csv: Case",
    repeat_split: "splits.csv: Slide demo-002 is named 2 times in fold-0",
    measure_twice: "splits.csv: Slides are tested in several folds: demo-001",
    leave_out_test_slide: "fold-0/outputs: The slides that",
    rename_case: "splits.csv: The slides, labels or cases",
    join_cases: "fold-0/teacher: Cases of test slides",
    change_label: "predictions.csv: The row of slide",
    change_label_everywhere: "fold-1/teacher: Its input 'train'",
    change_probability: "predictions.csv: The row of slide",
    change_output: "fold-0/outputs: The values of lr_student",
    repeat_row: "predictions.csv: Rows are repeated",
    drop_row: "predictions.csv: The row of slide",
    swap_columns: "predictions.csv: Expected the columns",
    rename_column: "predictions.csv: Expected the columns",
    repeat_column: "predictions.csv: Expected the columns",
    change_figure: "metrics.json: The figure lr_student.auroc",
    drop_figure: "model/bundle.json: Its figures",
    change_figure_everywhere: "metrics.json: The figure student_minus.hr_teacher.difference",
    drop_calibration: "metrics.json: The figure calibration",
    drop_calibration_artefact: "fold-0/calibration: The artefact is missing",
    drop_fold: "metrics.json: The figure lr_student.auroc_by_fold.fold-1",
    forget_learned_from: "model/bundle.json: It names other slides",
    drop_hash: "fold-0/teacher: artefact.json has no hash of history.json",
    drop_hashes: "fold-0/teacher: artefact.json has no hash of head.json, history.json",
    swap_weights: "fold-1/lr_undistilled/mil.safetensors: The file was changed",
    swap_encoders: "fold-0/lr: The features are not those of the fold's encoder",
    swap_teachers: "fold-0/outputs: Its input 'models'",
    hide_slide: "fold-0/lr_encoder: Its key",
    teach_test_slide: "fold-0/lr_encoder: Test slides of the fold are among its train slides",
    teach_teacher: "fold-0/evidence: Its input 'models'",
    select_on_test_slide: "fold-0/lr_student: Test slides of the fold are among its val slides",
    fit_head_to_test_slide: "fold-0/linear_heads: Test slides of the fold are among its train slides",
    hold_out_test_slide: "fold-0/evidence: Test slides of the fold are among its inner_folds slides",
    straddle_inner_folds: "final/calibration: Case",
    hold_out_less: "final/calibration: The folds held out in turn are not",
    rename_class_of_model: "model/bundle.json: It predicts something else",
    replace_file: "final/lr, fold-0/lr, fold-1/lr, shared/hr, shared/lr: The features of slide demo-001 were made",
    change_answers: "final/calibration/answers.json: The file was changed",
    change_answers_with_hash: "final/calibration/answers.json: ",
    change_model_figure: "model/bundle.json: Its figures",
    change_model_rule: "model/bundle.json: Its rule for cases",
    change_rule: "metrics.json: The figure case_rule.final.rule",
    change_figure_by_case: "metrics.json: The figure hr_teacher.by_case.brier",
    change_resolution: "model/bundle.json: It reads other patches",
    replace_model: "model/mil.safetensors: The weights are not those",
    ship_another_fold: "model/encoder/model.safetensors: The weights are not those",
    forget_slide: "model/bundle.json: It names other slides",
    change_settings: "model/bundle.json: It was trained with other settings",
    change_settings_of_model: "final/teacher: Its settings of 'mil'",
    change_seed_everywhere: "final/lr_student.held-1: Its seed",
    change_stage_1: "fold-0/lr_encoder: Its settings of 'stage1'",
    change_inner_seeds: "fold-0/teacher.inner-0: Its settings of 'mil'",
    change_losses: "final/lr_student: Its settings of 'stage2'",
    change_held_out_losses: "final/lr_student.held-0: Its settings of 'stage2'",
    swap_classes_of_plan: "plan.toml: It predicts something else",
    tell_other_settings: "model/bundle.json: The settings that it states",
    tell_no_counts: "model/bundle.json: It was trained on another number of cases",
    tell_other_mil: "model/bundle.json: Its MIL has other settings",
    link_features: "shared/hr/demo-001.zarr: It contains files",
    link_embeddings: "shared/hr/demo-001.zarr: It contains files",
    sharpen: "shared/hr/demo-001.zarr: The features are of patches",
    sharpen_low_resolution: "fold-0/lr/demo-001.zarr: The features are of patches",
    shrink_patches: "shared/lr/demo-001.zarr: The features are of patches",
    invent_a_failed_slide: "splits.csv: The slides, labels or cases",
    change_history: "fold-0/teacher/history.json: The file was changed",
    add_file: "fold-0/teacher: It contains files",
    replace_features: "fold-0/lr: The features are not those",
    rename_features: "shared/hr/",
    double_slide: "fold-0: Test slide",
    edit_patches: "shared/patches/demo-001.safetensors: It was edited",
    tell_fewer_patches: "shared/patches/demo-001.safetensors: The patches are not those",
    tell_fewer_covered: "shared/patches/demo-001.safetensors: The patches are not those",
    swap_patches: "shared/patches/demo-001.safetensors: The patches are not those",
    start_from_seen: "metrics.json: The encoder that the student started from",
    lambda run: shutil.rmtree(run / "fold-1"): "fold-1/teacher: The artefact is missing",
    lambda run: shutil.rmtree(run / "final/lr_student.held-1"): "final/lr_student.held-1: The artefact is missing",
    lambda run: shutil.rmtree(run / "model"): "model: ",
    lambda run: (run / "predictions.csv").unlink(): "metrics.json: The results cannot be computed",
}


def found_in(run: Path) -> list[str]:
    return [f"{where}: {message}" for where, message in audit_run(run).findings]


@pytest.fixture
def changed(crossed: Run, tmp_path: Path) -> Path:
    """A copy of the cross-validated run to change."""
    return Path(shutil.copytree(crossed.folder, tmp_path / "run"))


class TestSound:
    def test_a_run_passes(self, tiny_run: TinyRun) -> None:
        found = audit_run(tiny_run.folder)
        assert found.ok and not found.notes and (found.folds, found.slides) == (1, 4)

    def test_a_cross_validated_run_passes(self, crossed: Run) -> None:
        found = audit_run(crossed.folder)
        assert found.ok and not found.notes and (found.folds, found.slides) == (3, 12)
        assert found.artefacts == len(list(crossed.folder.glob("*/*/artefact.json")))

    def test_a_stopped_and_resumed_run_passes(self, tiny_run: TinyRun, tmp_path: Path) -> None:
        run = tmp_path / "run"
        shutil.copytree(tiny_run.folder / "shared", run / "shared")
        steps = train_steps(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
        next(step for step in steps if step.job[-1] == "lr_student")
        steps.close()  # type: ignore[attr-defined]
        with pytest.raises(FormatError, match=r"not finished"):
            audit_run(run)
        train(tiny_run.slides, tiny_run.labels, run, tiny_config(), device="cpu")
        assert found_in(run) == []

    def test_a_run_of_an_earlier_version_passes_with_a_note(self, changed: Path) -> None:
        for path in changed.glob("*/*/artefact.json"):
            change_json(path, lambda document: document.pop("sha256"))
        found = audit_run(changed)
        assert found.ok and len(found.notes) == 1
        drop_calibration_artefact(changed)
        state_no_rule(changed)
        forget_learned_from(changed)
        path = changed / "model/bundle.json"
        change_json(
            path,
            lambda document: (
                document.pop("calibration"),
                document.pop("decision"),
                document.update(format="lrmil.bundle/1"),
            ),
        )
        found = audit_run(changed)
        assert found.ok and len(found.notes) == 1
        shutil.copyfile(*(changed / fold / "lr_encoder/encoder.safetensors" for fold in ("fold-1", "fold-0")))
        assert any(line.startswith("fold-0/lr: ") for line in found_in(changed))

    def test_a_run_that_states_no_rule_for_cases_passes(self, changed: Path) -> None:
        state_no_rule(changed)
        assert found_in(changed) == []
        change_json(changed / "metrics.json", lambda figures: figures["lr_student"]["linear_head"].update(ece=0.987))
        assert any("lr_student.linear_head.ece" in line for line in found_in(changed))

    def test_figures_that_an_earlier_version_did_not_state_are_no_finding(self, changed: Path) -> None:
        """Wherever a figure may stand: of an arm, by case, of the linear head, calibrated."""

        def without(document: Any) -> Any:
            if not isinstance(document, dict):
                return document
            return {name: without(value) for name, value in document.items() if name != "nll"}

        documents = {
            path: json.loads(path.read_text()) for path in (changed / "metrics.json", changed / "model/bundle.json")
        }
        for path, document in documents.items():
            path.write_text(json.dumps(without(document)))
        assert found_in(changed) == []
        change_json(changed / "metrics.json", lambda document: document["lr_student"].pop("brier"))
        assert any("Its figures are not those of" in line for line in found_in(changed))

    def test_figures_that_an_earlier_version_did_not_compute_are_noted(self, changed: Path) -> None:
        def drop(figures: Any) -> None:
            figures["lr_student"].pop("accuracy")
            figures.pop("stage1")

        in_both(changed, drop)
        found = audit_run(changed)
        assert found.ok and len(found.notes) == 1
        assert "lr_student.accuracy" in found.notes[0] and "stage1" in found.notes[0]

    def test_some_artefacts_of_an_earlier_version_are_named(self, changed: Path) -> None:
        change_json(changed / "fold-0/teacher/artefact.json", lambda document: document.pop("sha256"))
        (note,) = audit_run(changed).notes
        assert "fold-0/teacher" in note

    def test_leftovers_that_nothing_rests_on_do_not_matter(self, changed: Path) -> None:
        shutil.copytree(changed / "fold-0", changed / "fold-7")
        shutil.copytree(changed / "final/teacher", changed / "final/teacher.inner-9")
        assert found_in(changed) == []


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_a_change_is_found(changed: Path, change: Callable[[Path], None]) -> None:
    change(changed)
    found = found_in(changed)
    assert any(line.startswith(CHANGES[change]) for line in found), found


def swap_mils(run: Path, name: str) -> None:
    """Between two folds, with the hashes to match."""
    one, other = (run / fold / name / "mil.safetensors" for fold in ("fold-0", "fold-1"))
    content = one.read_bytes()
    shutil.copyfile(other, one)
    other.write_bytes(content)
    for path in (one, other):
        rehash(path.parent)


class TestAnswers:
    def test_sound_runs_answer_as_before(self, tiny_run: TinyRun, crossed: Run) -> None:
        for run in (tiny_run.folder, crossed.folder):
            assert audit_run(run, answers=True).findings == ()

    @pytest.mark.parametrize(
        ("name", "where"),
        [
            ("lr_undistilled", "outputs"),
            ("teacher", "outputs"),
            ("lr_student", "outputs"),
            ("teacher.inner-1", "evidence"),
        ],
    )
    def test_weights_that_were_swapped_with_their_hashes(self, changed: Path, name: str, where: str) -> None:
        swap_mils(changed, name)
        assert audit_run(changed).ok
        found = {one.where for one in audit_run(changed, answers=True).findings}
        assert found == {f"fold-0/{where}", f"fold-1/{where}"}

    def test_answers_of_another_student(self, changed: Path) -> None:
        """Swapped within the final fold, whose calibration is shipped."""
        one, other = (changed / f"final/lr_student.held-{number}" for number in (0, 1))
        content = (one / "mil.safetensors").read_bytes()
        shutil.copyfile(other / "mil.safetensors", one / "mil.safetensors")
        (other / "mil.safetensors").write_bytes(content)
        for folder in (one, other):
            rehash(folder)
        assert {one.where for one in audit_run(changed, answers=True).findings} == {"final/calibration"}

    def test_values_of_another_linear_head(self, changed: Path) -> None:
        path = changed / "fold-0/linear_heads/values.json"
        change_json(path, lambda found: found.update(lr_student=found["hr_teacher"]))
        rehash(path.parent)
        assert "fold-0/linear_heads" in {one.where for one in audit_run(changed, answers=True).findings}

    def test_features_of_another_slide_under_its_card(self, changed: Path) -> None:
        (fold, *_) = read_splits(changed / "splits.csv")
        own, other = (changed / f"fold-0/lr/{slide_id}.zarr" for slide_id in fold.test[:2])
        card = (own / "zarr.json").read_bytes()
        shutil.rmtree(own)
        shutil.copytree(other, own)
        (own / "zarr.json").write_bytes(card)
        assert audit_run(changed).ok
        assert "fold-0/outputs" in {one.where for one in audit_run(changed, answers=True).findings}


def test_an_artefact_of_another_run_is_found(tiny_run: TinyRun, tmp_path: Path) -> None:
    """Trained on the same slides with another seed; each artefact of it in turn, in a sound run."""
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "other/shared")
    train(tiny_run.slides, tiny_run.labels, tmp_path / "other", tiny_config(seed=5), device="cpu")
    run = Path(shutil.copytree(tiny_run.folder, tmp_path / "run"))
    for name in ("teacher", "evidence", "lr_encoder", "lr_student", "lr_undistilled", "outputs"):
        shutil.move(run / "fold-0" / name, tmp_path / "aside")
        shutil.copytree(tmp_path / "other/fold-0" / name, run / "fold-0" / name)
        assert found_in(run), name
        shutil.rmtree(run / "fold-0" / name)
        shutil.move(tmp_path / "aside", run / "fold-0" / name)
    assert found_in(run) == []


def test_a_running_training_is_not_audited(changed: Path) -> None:
    with run_lock(changed), pytest.raises(RunError, match="running"):
        audit_run(changed)
