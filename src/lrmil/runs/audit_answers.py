"""Ask the networks of a run again: outputs, held-out answers and linear heads are those of its weights and features.

It finds what hashes cannot, such as weights that were exchanged together with their hashes.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import LrmilError
from lrmil.features.store import read_features
from lrmil.io.documents import held_out_name, read_json_document
from lrmil.runs.arms import ARMS, CALIBRATION
from lrmil.runs.audit_files import Finding, RunFiles, some
from lrmil.runs.audit_inputs import MALFORMED, held_out_of
from lrmil.runs.calibration import ANSWERS
from lrmil.runs.escalation import HELD_OUT, TESTED, closer_looks, read_closer_answers
from lrmil.runs.fold_outputs import load_mil, read_outputs, read_teacher_outputs
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import inner_folder
from lrmil.runs.head_choice import with_chosen_head
from lrmil.runs.inner_mils import answer
from lrmil.runs.linear_heads import FOLDER as LINEAR_HEADS
from lrmil.runs.linear_heads import read_linear_heads

ROUNDING = 1e-4  # absolute and relative, of logits: other processors and libraries differ less
CONVERGENCE = 1e-3  # the same of the values of linear heads, whose solver ends when a step is small

Answers = Mapping[str, NDArray[np.floating]]


def audit_answers(files: RunFiles, task: FoldTask) -> Iterator[Finding]:
    """Yield which stored answers of a fold its networks do not give.

    Parameters
    ----------
    files
        The run.
    task
        One of its folds. The features of its slides are read.
    """
    checks: list[Callable[[RunFiles, FoldTask], Iterator[Finding]]] = [_outputs, _evidence, _held_out, _linear, _closer]
    for check in checks:
        try:
            yield from check(files, with_chosen_head(task))
        except (LrmilError, OSError, *MALFORMED) as error:
            yield Finding(task.fold.name, f"The networks cannot be asked again: {error}")


def _outputs(_files: RunFiles, task: FoldTask) -> Iterator[Finding]:
    stored = read_outputs(task.folder)
    for arm in ARMS:
        logits = {slide_id: output.logits for slide_id, output in stored[arm].items()}
        given = _answers(task, task.mil(task.answering(arm)), task.answering(arm), task.fold.test)
        yield from _different(f"{task.fold.name}/outputs", f"its {arm}", logits, given)


def _evidence(files: RunFiles, task: FoldTask) -> Iterator[Finding]:
    held = held_out_of(files.records[task.fold.name]["evidence"].inputs, "inner_folds")
    stored = {slide_id: output.logits for slide_id, output in read_teacher_outputs(task.folder).items()}
    if held:
        for number, slide_ids in enumerate(held):
            given = _answers(task, inner_folder(task, "hr_teacher", number), "hr_teacher", slide_ids)
            own = {slide_id: stored[slide_id] for slide_id in slide_ids}
            yield from _different(f"{task.fold.name}/evidence", f"its teacher of inner fold {number}", own, given)
        return
    given = _answers(task, task.mil("hr_teacher"), "hr_teacher", stored)
    yield from _different(f"{task.fold.name}/evidence", "its teacher", stored, given)


def _held_out(files: RunFiles, task: FoldTask) -> Iterator[Finding]:
    if (record := files.records[task.fold.name].get(CALIBRATION)) is None:
        return
    logits = read_json_document(task.folder / CALIBRATION / ANSWERS)["logits"]
    for number, slide_ids in enumerate(held_out_of(record.inputs, "held_out")):
        given = _answers(task, task.folder / held_out_name(number), "lr_student", slide_ids)
        stored = {slide_id: np.array(logits[slide_id], np.float32) for slide_id in slide_ids}
        yield from _different(f"{task.fold.name}/{CALIBRATION}", f"the student of its fold {number}", stored, given)


def _linear(files: RunFiles, task: FoldTask) -> Iterator[Finding]:
    if LINEAR_HEADS not in files.records[task.fold.name]:
        return
    learned = task.fold.train + task.fold.val
    for arm, stored in read_linear_heads(task.folder, task.fold.test).items():
        if stored is not None:
            means = [
                read_features(task.features(arm, slide_id)).embeddings.mean(axis=0, dtype=np.float64)
                for slide_id in learned + task.fold.test
            ]
            targets = [task.labels[slide_id] for slide_id in learned]
            given = task.predicts.linear_values(
                np.stack(means[: len(learned)]), targets, np.stack(means[len(learned) :])
            )
            pairs = (dict(zip(task.fold.test, values, strict=True)) for values in (stored, given))
            yield from _different(
                f"{task.fold.name}/{LINEAR_HEADS}", f"a linear head of {arm}", *pairs, within=CONVERGENCE
            )


def _closer(files: RunFiles, task: FoldTask) -> Iterator[Finding]:
    """Yield what a teacher says otherwise of the most attended regions, with any number of them."""
    for name in (HELD_OUT, TESTED):
        if name not in files.records[task.fold.name]:
            continue
        found = read_closer_answers(task, name)
        if found.reason != files.records[task.fold.name][name].inputs["reason"]:
            yield Finding(f"{task.fold.name}/{name}", "Why nothing was asked is not what artefact.json says.")
        looks = dict(closer_looks(task, name)) if not found.reason else {}
        stored = {slide_id: np.array(values).ravel() for slide_id, values in found.logits.items()}
        given = {slide_id: np.array(look.logits).ravel() for slide_id, look in looks.items() if look}
        yield from _different(f"{task.fold.name}/{name}", "its teacher", stored, given)
        if found.patches != {slide_id: look.patches for slide_id, look in looks.items() if look}:
            yield Finding(f"{task.fold.name}/{name}", "Its counts of patches are not those of the features.")


def _answers(task: FoldTask, mil: Path, arm: str, slide_ids: Iterable[str]) -> Answers:
    """Return the logits of a MIL for slides."""
    network = load_mil(mil, task.config.mil)
    return {slide_id: answer(task, network, arm, slide_id).logits for slide_id in slide_ids}


def _different(
    where: str, what: str, stored: Answers, given: Answers, *, within: float = ROUNDING
) -> Iterator[Finding]:
    """Yield that stored answers are not those that a network gives."""
    wrong = {
        slide_id
        for slide_id in stored.keys() | given.keys()
        if slide_id not in stored
        or slide_id not in given
        or not np.allclose(stored[slide_id], given[slide_id], rtol=within, atol=within)
    }
    if wrong:
        yield Finding(where, f"What it says is not what {what} answers now: {some(wrong)}.")
