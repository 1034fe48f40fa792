"""The closer look of a fold: what its teacher says of the few regions that its student attends to most.

It is asked as a model asks it later: the student tells which LR patches, the teacher sees their HR patches alone.
Answers for the calibration are of slides that neither the student's MIL nor the teacher's has seen. All features are
there already; no slide is read.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, Never

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import ConfigDict, FiniteFloat, TypeAdapter
from pydantic.dataclasses import dataclass

from lrmil.configs import TrainConfig
from lrmil.errors import FormatError
from lrmil.features.regions import in_most_attended, teacher_bag
from lrmil.features.store import read_card, read_features
from lrmil.io import atomic
from lrmil.io.documents import held_out_name
from lrmil.models.heads.head import MILHead, predict_bag
from lrmil.runs.artefacts import committing, damaged, key_of, read_document
from lrmil.runs.calibration import FoldCalibration, fit_to_answers, folds_to_hold_out
from lrmil.runs.fold_outputs import load_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import inner_folder
from lrmil.runs.inner_mils import inner_folds_of
from lrmil.runs.stages import Artefact, is_stale
from lrmil.steps import Step

HELD_OUT, TESTED = "escalation", "escalation_test"  # artefacts of the slides that are held out in turn, and of the test
ANSWERS = "answers.json"
JOB = "escalation"
NUMBERS = (1, 2, 4, 8, 16, 32)  # of regions, for the curve of cost and risk


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class CloserAnswers:
    """What a teacher said of the most attended regions of slides."""

    regions: list[int]
    """Numbers of regions that it was asked with."""
    logits: dict[str, list[list[FiniteFloat]]]
    """Slide id -> (numbers, outputs)."""
    patches: dict[str, list[int]]
    """Slide id -> (numbers,) of HR patches in those regions."""
    reason: str = ""
    """Why nothing was asked."""

    def of(self, regions: int) -> dict[str, NDArray[np.float32]]:
        """Return slide id -> logits (outputs,) with a number of regions."""
        place = self.regions.index(regions)
        return {slide_id: np.array(values[place], np.float32) for slide_id, values in self.logits.items()}


class CloserLook(NamedTuple):
    """What a teacher says of a slide with each of several numbers of regions."""

    logits: list[list[float]]
    """(numbers, outputs)"""
    patches: list[int]
    """(numbers,) of HR patches in those regions."""


def numbers_of(config: TrainConfig) -> list[int]:
    """Return the numbers of regions that a teacher is asked with; that of the model is among them."""
    return sorted({*NUMBERS, config.decision.regions})


def make_closer_answers(task: FoldTask) -> Iterator[Step[Never]]:
    """Write what the teacher says of the most attended regions: of slides held out in turn, and of the test slides.

    Parameters
    ----------
    task
        The fold, with the answers for its calibration. Nothing is written unless the model is to keep its teacher.

    Yields
    ------
    Step
        One per slide.
    """
    if task.config.decision.with_teacher:
        yield from _make_held_out(task)
        yield from _make_tested(task)


def read_closer_answers(task: FoldTask, name: str = HELD_OUT) -> CloserAnswers:
    """Read what `make_closer_answers` wrote.

    Parameters
    ----------
    task
        The fold.
    name
        `HELD_OUT` or `TESTED`.

    Raises
    ------
    FormatError
        If it is absent or damaged.
    """
    path, what = task.folder / name / ANSWERS, "what the teacher says of the most attended regions"
    found = read_document(path, TypeAdapter(CloserAnswers), what)
    shape, outputs = len(found.regions), task.predicts.outputs
    fits = all(len(rows) == shape and {*map(len, rows)} == {outputs} for rows in found.logits.values())
    counted = found.patches.keys() == found.logits.keys() and {*map(len, found.patches.values())} <= {shape}
    if found.regions != numbers_of(task.config) or not fits or not counted or not found.logits.keys() <= {*task.labels}:
        raise FormatError(damaged(path, what))
    return found


def read_teacher_calibration(task: FoldTask, regions: int) -> FoldCalibration:
    """Fit the calibration of a teacher that is asked with a number of regions to its answers on held-out slides.

    Parameters
    ----------
    task
        The fold.
    regions
        One of `numbers_of`.

    Raises
    ------
    FormatError
        As `read_closer_answers`.
    """
    found = read_closer_answers(task)
    own = found.of(regions)
    logits = np.stack([*own.values()]) if own else np.zeros((0, task.predicts.outputs), np.float32)
    folds = task.config.stage2.inner_folds if own else 0
    return fit_to_answers(task, [*own], logits, folds=folds, reason=found.reason)


def held_out_pairs(task: FoldTask) -> tuple[dict[str, tuple[int, int]], str]:
    """Return the slides that both MILs can answer unseen, or why there are none.

    Parameters
    ----------
    task
        The fold.

    Returns
    -------
    dict, str
        Slide id -> number of the fold for the calibration, and of the inner fold, that leave it out; and "".
    """
    students, teachers = folds_to_hold_out(task), inner_folds_of(task)
    if not (students.held_out and teachers.held_out):
        return {}, students.reason or teachers.reason
    of_teacher = {slide_id: number for number, fold in enumerate(teachers.held_out) for slide_id in fold}
    of_student = {slide_id: number for number, fold in enumerate(students.held_out) for slide_id in fold}
    return {slide_id: (number, of_teacher[slide_id]) for slide_id, number in of_student.items()}, ""


def closer_look(task: FoldTask, student: MILHead, teacher: MILHead, slide_id: str) -> CloserLook | None:
    """Ask a teacher about the most attended regions of a slide, with each of several numbers of them.

    Parameters
    ----------
    task
        The fold, with the features of the slide.
    student, teacher
        Who attends, and who answers.
    slide_id
        The slide.

    Returns
    -------
    CloserLook or None
        None if no LR patch of the slide has an HR patch.
    """
    lr, hr = (read_features(task.encoded(arm, slide_id)) for arm in ("lr_student", "hr_teacher"))
    attention, children = predict_bag(student, torch.from_numpy(lr.embeddings)).attention, task.plan.children
    logits, patches = [], []
    for regions in numbers_of(task.config):
        inside = in_most_attended(lr.index, attention, hr.index, children=children, regions=regions)
        if not inside.any():
            return None
        seen = teacher_bag(task.config.teacher, hr.index[inside], hr.embeddings[inside], children)
        logits.append(predict_bag(teacher, seen).logits.astype(float).tolist())
        patches.append(int(inside.sum()))
    return CloserLook(logits, patches)


def closer_looks(task: FoldTask, name: str) -> Iterator[tuple[str, CloserLook | None]]:
    """Ask the networks of a fold about its slides.

    Parameters
    ----------
    task
        The fold.
    name
        `HELD_OUT` for slides that are held out in turn, `TESTED` for the test slides.

    Yields
    ------
    str, CloserLook or None
        Slide id, and what `closer_look` returns.
    """
    if name == TESTED:
        student, teacher = (load_mil(folder, task.config.mil) for folder in _tested_networks(task))
        for slide_id in task.fold.test:
            yield slide_id, closer_look(task, student, teacher, slide_id)
        return
    pairs, _ = held_out_pairs(task)
    students, teachers = (
        [load_mil(folder, task.config.mil) for folder in folders] for folders in _held_out_networks(task, pairs)
    )
    for slide_id, (first, second) in pairs.items():
        yield slide_id, closer_look(task, students[first], teachers[second], slide_id)


def _tested_networks(task: FoldTask) -> list[Path]:
    return [task.mil(arm) for arm in ("lr_student", "hr_teacher")]


def _held_out_networks(task: FoldTask, pairs: Mapping[str, tuple[int, int]]) -> tuple[list[Path], list[Path]]:
    """Return the folders of the students and of the teachers, by the numbers in pairs."""
    numbers = [sorted({pair[place] for pair in pairs.values()}) for place in (0, 1)]
    students = [task.folder / held_out_name(number) for number in numbers[0]]
    return students, [inner_folder(task, "hr_teacher", number) for number in numbers[1]]


def _make_held_out(task: FoldTask) -> Iterator[Step[Never]]:
    pairs, reason = held_out_pairs(task)
    students, teachers = _held_out_networks(task, pairs)
    inputs = {
        "students": [*map(key_of, students)],
        "teachers": [*map(key_of, teachers)],
        "pairs": {slide_id: list(pair) for slide_id, pair in pairs.items()},
    }
    yield from _make(task, HELD_OUT, [*pairs], inputs, reason)


def _make_tested(task: FoldTask) -> Iterator[Step[Never]]:
    reason = read_closer_answers(task).reason
    inputs: dict[str, object] = {"models": [*map(key_of, _tested_networks(task))]}
    yield from _make(task, TESTED, [] if reason else task.fold.test, inputs, reason)


def _make(
    task: FoldTask, name: str, slide_ids: Sequence[str], inputs: Mapping[str, object], reason: str
) -> Iterator[Step[Never]]:
    """Write the answers for slides as an artefact, unless it is current."""
    inputs = {
        "what": name,
        **inputs,
        "regions": numbers_of(task.config),
        "slides": {i: [read_card(task.encoded(arm, i)).key for arm in ("lr_student", "hr_teacher")] for i in slide_ids},
        "reason": reason,
    }
    if not (yield from is_stale(task, Artefact(name, JOB, inputs))):
        return
    if reason and name == HELD_OUT:
        yield Step((task.fold.name, JOB), 0, message=f"{reason}: the model does not keep its teacher")
    looks: dict[str, CloserLook] = {}
    for done, (slide_id, look) in enumerate(closer_looks(task, name) if slide_ids else (), start=1):
        if look is not None:
            looks[slide_id] = look
        yield Step((task.fold.name, JOB), done, len(slide_ids), "slides")
    found = CloserAnswers(
        regions=numbers_of(task.config),
        logits={slide_id: look.logits for slide_id, look in looks.items()},
        patches={slide_id: look.patches for slide_id, look in looks.items()},
        reason=reason,
    )
    with committing(task.folder / name, inputs) as temporary:
        atomic.write_json(temporary / ANSWERS, asdict(found))
