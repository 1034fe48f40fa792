"""Audit the results of a run: predictions and figures are those that the outputs of its folds give."""

import math
from collections.abc import Container, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from lrmil.errors import FormatError
from lrmil.io.documents import read_csv_rows, read_json_document
from lrmil.runs.arms import ARMS, CALIBRATION
from lrmil.runs.audit_files import METRICS, Finding, RunFiles, some
from lrmil.runs.calibration import ANSWERS
from lrmil.runs.case_rules import NAME as CASE_RULE
from lrmil.runs.distilled_start import START, start_remark, tested_slides
from lrmil.runs.fold_outputs import read_outputs, read_teacher_outputs
from lrmil.runs.results import prediction_rows

PREDICTIONS = "predictions.csv"
ADDED_LATER = frozenset({"nll"})  # figures that runs of earlier versions do not state
ROUNDING = 1e-6  # relative: the sums of other processors and libraries differ less


def audit_results(files: RunFiles) -> Iterator[Finding]:
    """Yield what is wrong with predictions.csv and metrics.json.

    Parameters
    ----------
    files
        The run.
    """
    start = files.figures.get(START)
    if isinstance(start, Mapping) and tested_slides(start):
        yield Finding(METRICS, start_remark(start))
    try:
        yield from _outputs(files)
        yield from _answers(files)
        yield from _predictions(files)
        yield from _scores(files)
    except (FormatError, OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        yield Finding(METRICS, f"The results cannot be computed again from the folds: {error}")


def differences(stated: object, expected: object, name: str = "") -> Iterator[str]:
    """Yield the names of values that differ by more than rounding, in JSON-ready values; dots separate members.

    Parameters
    ----------
    stated, expected
        The values. What is not stated and among `ADDED_LATER` does not differ.
    name
        Name of the value itself.
    """
    if isinstance(stated, Mapping) and isinstance(expected, Mapping):
        for member in sorted(stated.keys() | expected.keys(), key=str):
            inner = f"{name}.{member}".lstrip(".")
            if member not in stated and member in ADDED_LATER:
                continue
            if member not in stated or member not in expected:
                yield inner
            else:
                yield from differences(stated[member], expected[member], inner)
    elif isinstance(stated, list | tuple) and isinstance(expected, list | tuple) and len(stated) == len(expected):
        for one, other in zip(stated, expected, strict=True):
            yield from differences(one, other, name)
    elif isinstance(stated, float) and isinstance(expected, int | float) and not isinstance(expected, bool):
        if not math.isclose(stated, expected, rel_tol=ROUNDING, abs_tol=ROUNDING):
            yield name
    elif stated != expected or type(stated) is not type(expected):
        yield name


def known_to(stated: Mapping[str, Any], expected: Mapping[str, Any], always: Container[str] = ()) -> dict[str, object]:
    """Return expected values without those that are not stated, which other versions do not have.

    Parameters
    ----------
    stated, expected
        The values by name, JSON-ready.
    always
        Names that every version states.
    """
    found = {}
    for name, value in expected.items():
        if name in stated or name in always:
            nested = isinstance(value, Mapping) and isinstance(stated.get(name), Mapping)
            found[name] = known_to(stated[name], value, always) if nested else value
    return found


def _outputs(files: RunFiles) -> Iterator[Finding]:
    """Yield outputs of other slides than those tested, and values that are not those of their logits."""
    for fold in files.folds:
        where = f"{fold.name}/outputs"
        outputs = read_outputs(files.run / fold.name)
        if {*outputs} != {*ARMS}:
            yield Finding(where, f"Expected outputs of {', '.join(ARMS)}. Got {some(set(outputs))}.")
        for arm, slides in outputs.items():
            if different := {*slides} ^ {*fold.test}:
                yield Finding(where, f"The slides that {arm} answered for are not the test slides: {some(different)}.")
            task = files.cohort.task
            wrong = {i for i, one in slides.items() if not np.allclose(task.values(one.logits), one.values, atol=1e-5)}
            if wrong:
                yield Finding(where, f"The values of {arm} are not those of its logits: {some(wrong)}.")


def _answers(files: RunFiles) -> Iterator[Finding]:
    """Yield answers for the calibration and outputs of the teacher of other slides than their inputs name."""
    for fold in files.folds:
        records = files.records[fold.name]
        pairs: list[tuple[str, str, Iterable[str]]] = []
        if "evidence" in records:
            pairs.append(("evidence", "evidence.safetensors", read_teacher_outputs(files.run / fold.name)))
        if CALIBRATION in records:
            answers = read_json_document(files.run / fold.name / CALIBRATION / ANSWERS)
            pairs.append((CALIBRATION, ANSWERS, answers["logits"]))
        for name, file, slides in pairs:
            if different := {*slides} ^ {*records[name].inputs["slides"]}:
                where = f"{fold.name}/{name}/{file}"
                yield Finding(where, f"The slides in it are not those of its inputs: {some(different)}.")


def _predictions(files: RunFiles) -> Iterator[Finding]:
    header, *expected = prediction_rows(files.run, files.cohort, files.tested)
    table = read_csv_rows(files.run / PREDICTIONS)
    if table and [*table[0]] != header:
        yield Finding(PREDICTIONS, f"Expected the columns {', '.join(header)}. Got {', '.join(table[0])}.")
        return
    rows = [tuple(row.values()) for row in table]
    there = {(row[0], row[2], row[3]): row for row in rows}
    wanted = {(row[0], row[2], row[3]): tuple(row) for row in expected}
    for key in sorted(there.keys() | wanted.keys()):
        slide_id, fold, arm = key
        if key not in there:
            yield Finding(PREDICTIONS, f"The row of slide {slide_id} in {fold} under {arm} is missing.")
        elif key not in wanted:
            yield Finding(
                PREDICTIONS, f"There is a row of slide {slide_id} in {fold} under {arm}, where it was not tested."
            )
        elif there[key] != wanted[key]:
            names = [name for name, one, other in zip(header, there[key], wanted[key], strict=False) if one != other]
            yield Finding(
                PREDICTIONS, f"The row of slide {slide_id} in {fold} under {arm} has another {', '.join(names)}."
            )
    if len(rows) != len(there):
        yield Finding(PREDICTIONS, "Rows are repeated.")


def _scores(files: RunFiles) -> Iterator[Finding]:
    """Yield figures of the arms that the outputs do not give."""
    task, cohort = files.cohort.task, files.cohort
    tested = [(fold.name, slide_id) for fold in files.tested for slide_id in fold.test]
    outputs = {fold.name: read_outputs(files.run / fold.name) for fold in files.tested}
    targets = [cohort.targets[slide_id] for _, slide_id in tested]
    cases = [files.case_of(slide_id) for _, slide_id in tested]
    for arm in ARMS:
        values = np.stack([outputs[fold][arm][slide_id].values for fold, slide_id in tested])
        expected = dict(task.summarise(targets, values, cases))
        if CASE_RULE in files.figures:
            del expected["by_case"]  # `audit_model` computes it by the rule of each fold
        stated = files.figures.get(arm)
        stated = {name: stated.get(name) for name in expected if name in stated} if isinstance(stated, Mapping) else {}
        expected = {name: expected[name] for name in stated} if stated else expected
        for name in differences(stated, expected, arm):
            yield Finding(METRICS, f"The figure {name} is not that of the outputs.")
