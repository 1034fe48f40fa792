"""What the inputs of each artefact of a fold must state.

It follows from splits.csv, the settings, and the artefacts and features that are there now.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from lrmil.cohorts.splits import Fold
from lrmil.configs import AUTO
from lrmil.errors import FormatError
from lrmil.io.documents import held_out_name, inner_name
from lrmil.runs.arms import ARMS, CALIBRATION, FINISH, answering, encoded_of, features_of, mil_folder, start_of
from lrmil.runs.audit_files import RunFiles
from lrmil.runs.chosen_heads import NAME as HEAD
from lrmil.runs.chosen_heads import read_choice
from lrmil.runs.escalation import HELD_OUT, TESTED
from lrmil.runs.inner_mils import COMPARED
from lrmil.runs.linear_heads import FOLDER as LINEAR_HEADS
from lrmil.runs.linear_heads import LINEAR_HEAD

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
INNER = re.compile(r"(teacher|lr_undistilled)\.(?:\w+\.)?inner-(\d+)")
HELD = re.compile(r"lr_student\.held-(\d+)")
MILS = {"teacher": "hr_teacher", "lr_undistilled": "lr_undistilled", "lr_student": "lr_student"}  # folder -> arm


def held_out_of(inputs: Mapping[str, Any], member: str) -> list[list[str]]:
    """Return the slides that are held out in turn, as "inner_folds" or "held_out" of an artefact states them."""
    found = inputs.get(member)
    held = found[0] if isinstance(found, list) and found else []
    return [list(map(str, slides)) for slides in held] if isinstance(held, list) else []


def expected_artefacts(files: RunFiles, fold: Fold) -> list[str]:
    """Return the names of the artefacts that the results of a fold rest on.

    Parameters
    ----------
    files, fold
        The run and one of its folds.
    """
    names = ["teacher", "evidence", "lr_encoder", "lr_student", "lr_undistilled", "outputs"]
    names += [FINISH] if files.config.finishes else []
    names += [HEAD] if files.config.mil.head == AUTO else []
    has_linear = files.is_recent or LINEAR_HEAD in files.figures.get("lr_student", {})
    names += [LINEAR_HEADS] if fold.test and has_linear else []
    names += [CALIBRATION] if files.is_recent or CALIBRATION in files.figures else []
    names += [HELD_OUT, TESTED] if files.config.decision.with_teacher else []
    inputs = {name: one.inputs for name, one in files.records[fold.name].items()}
    names += [held_out_name(number) for number, _ in enumerate(held_out_of(inputs.get(CALIBRATION, {}), "held_out"))]
    heads = dict.fromkeys([*_candidates(inputs.get(HEAD, {})), *_head(files, fold)])
    for name, of_heads in ((HEAD, heads), ("evidence", _head(files, fold))):
        for number, _ in enumerate(held_out_of(inputs.get(name, {}), "inner_folds")):
            names += [
                inner_name(mil_folder(files.run, fold.name, arm).name, head, number)
                for head in of_heads
                for arm in COMPARED
            ]
    return list(dict.fromkeys(names))


def expected_members(files: RunFiles, fold: Fold, name: str) -> dict[str, object]:
    """Return what members of an artefact's inputs must state: slides with labels and features, other artefacts.

    Parameters
    ----------
    files, fold
        The run and one of its folds.
    name
        Name of the artefact.

    Raises
    ------
    KeyError, TypeError, ValueError, AttributeError, IndexError
        If another artefact, which it depends on, is absent or was edited.
    """
    return _Expected(files, fold).of(name)


class _Expected:
    """What the artefacts of a fold must state."""

    def __init__(self, files: RunFiles, fold: Fold) -> None:
        self.files, self.fold = files, fold
        self.records = files.records[fold.name]
        self.own = (*fold.train, *fold.val)

    def of(self, name: str) -> dict[str, object]:
        inputs = self.records[name].inputs
        if inner := INNER.fullmatch(name):
            return self._mil(MILS[inner[1]], self._without(self._inner_folds(), int(inner[2])))
        if held := HELD.fullmatch(name):
            folds = held_out_of(self.records[CALIBRATION].inputs, "held_out")
            return {**self._mil("lr_student", self._without(folds, int(held[1]))), "evidence": self.key("evidence")}
        if name in MILS:
            stated = {"evidence": self.key("evidence")} if name == "lr_student" else {}
            return {**self._arm(MILS[name], inputs), **stated}
        others: Mapping[str, Callable[[Mapping[str, Any]], dict[str, object]]] = {
            "lr_encoder": self._encoder,
            "evidence": self._evidence,
            "outputs": self._outputs,
            FINISH: self._finish,
            HEAD: self._head,
            LINEAR_HEADS: self._linear_heads,
            CALIBRATION: self._calibration,
            HELD_OUT: self._closer_held_out,
            TESTED: self._closer_tested,
        }
        return {"what": name, **others[name](inputs)}

    def key(self, name: str) -> str:
        return self.records[name].key

    def features(self, arm: str, slide_id: str) -> str | None:
        run, teacher = self.files.run, self.files.config.teacher
        card = self.files.card(features_of(run, self.fold.name, slide_id, arm, teacher=teacher))
        return None if card is None else card.key

    def _without(self, held_out: Sequence[Sequence[str]], number: int) -> list[str]:
        return sorted({*self.own} - {*held_out[number]})

    def _inner_folds(self) -> list[list[str]]:
        evidence = held_out_of(self.records["evidence"].inputs, "inner_folds")
        return evidence or held_out_of(self.records[HEAD].inputs, "inner_folds")

    def _mil(self, arm: str, train: Iterable[str], val: Iterable[str] = ()) -> dict[str, object]:
        targets = self.files.targets
        return {
            part: {slide_id: [targets[slide_id], self.features(arm, slide_id)] for slide_id in slide_ids}
            for part, slide_ids in (("train", train), ("val", val))
        }

    def _arm(self, arm: str, inputs: Mapping[str, Any]) -> dict[str, object]:
        """Return the slides of a MIL of all training slides; validation slides select, or are learned from too."""
        selected = inputs.get("schedule") == "selected" or ("schedule" not in inputs and bool(inputs["val"]))
        return self._mil(arm, self.fold.train, self.fold.val) if selected else self._mil(arm, self.own)

    def _encoder(self, inputs: Mapping[str, Any]) -> dict[str, object]:  # noqa: ARG002 - as the others
        config = self.files.config

        def keys(slide_id: str) -> list[str | None]:
            paths = [encoded_of(self.files.run, None, slide_id, arm) for arm in ("lr_undistilled", "hr_teacher")]
            if config.stage1.lambda_keep:
                paths.append(start_of(self.files.run, slide_id, own=config.has_own_start))
            cards = map(self.files.card, paths)
            return [None if card is None else card.key for card in cards]

        parts = (("train", self.fold.train), ("val", self.fold.val))
        attended = config.stage1.weighting == "teacher_attention"
        return {
            **{part: {slide_id: keys(slide_id) for slide_id in slide_ids} for part, slide_ids in parts},
            "evidence": self.key("evidence") if attended else None,
        }

    def _evidence(self, inputs: Mapping[str, Any]) -> dict[str, object]:
        held = held_out_of(inputs, "inner_folds")
        (head,) = _head(self.files, self.fold) or (None,)
        return {
            "teacher": None if held else self.key("teacher"),
            "models": self._inner_keys(head, len(held)),
            "slides": self._known(COMPARED if held else COMPARED[:1]),
        }

    def _head(self, inputs: Mapping[str, Any]) -> dict[str, object]:
        held, candidates = held_out_of(inputs, "inner_folds"), _candidates(inputs)
        return {
            "models": {head: self._inner_keys(head, len(held)) for head in candidates},
            "slides": self._known(COMPARED) if candidates else {},
        }

    def _outputs(self, inputs: Mapping[str, Any]) -> dict[str, object]:  # noqa: ARG002 - as the others
        names = {arm: answering(arm, finished=self.files.config.finishes) for arm in ARMS}
        folder = {arm: mil_folder(self.files.run, self.fold.name, name).name for arm, name in names.items()}
        return {
            "models": {arm: self.key(name) for arm, name in folder.items()},
            "slides": {arm: {i: self.features(name, i) for i in self.fold.test} for arm, name in names.items()},
        }

    def _finish(self, inputs: Mapping[str, Any]) -> dict[str, object]:
        return {
            **self._arm("lr_student", inputs),
            **{name: self.key(name) for name in ("lr_encoder", "lr_student", "evidence")},
        }

    def _linear_heads(self, inputs: Mapping[str, Any]) -> dict[str, object]:  # noqa: ARG002 - as the others
        slide_ids = (*self.own, *self.fold.test)
        return {
            "train": {slide_id: self.files.targets[slide_id] for slide_id in self.own},
            "slides": [list(self.fold.test), {arm: {i: self.features(arm, i) for i in slide_ids} for arm in ARMS}],
        }

    def _calibration(self, inputs: Mapping[str, Any]) -> dict[str, object]:
        held = held_out_of(inputs, "held_out")
        return {
            "models": [self.key(held_out_name(number)) for number, _ in enumerate(held)],
            "slides": {i: self.features("lr_student", i) for slide_ids in held for i in slide_ids},
        }

    def _closer_held_out(self, inputs: Mapping[str, Any]) -> dict[str, object]:
        students = held_out_of(self.records[CALIBRATION].inputs, "held_out")
        teachers = held_out_of(self.records["evidence"].inputs, "inner_folds")
        (head,) = _head(self.files, self.fold) or (None,)
        of_student, of_teacher = (
            {slide_id: number for number, slides in enumerate(folds) for slide_id in slides}
            for folds in (students, teachers)
        )
        both = of_student if teachers else {}
        return {
            "students": [self.key(held_out_name(number)) for number, _ in enumerate(students if both else [])],
            "teachers": self._inner_keys(head, len(teachers) if both else 0)[COMPARED[0]],
            "pairs": {slide_id: [number, of_teacher[slide_id]] for slide_id, number in both.items()},
            "slides": self._closer(both),
            "reason": inputs["reason"] if not both else "",
        }

    def _closer_tested(self, inputs: Mapping[str, Any]) -> dict[str, object]:
        asked = self.fold.test if not inputs["reason"] else ()
        return {
            "models": [self.key("lr_student"), self.key("teacher")],
            "slides": self._closer(asked),
            "reason": self.records[HELD_OUT].inputs["reason"],
        }

    def _closer(self, slide_ids: Iterable[str]) -> dict[str, object]:
        paths = {
            i: [encoded_of(self.files.run, self.fold.name, i, arm) for arm in ("lr_student", "hr_teacher")]
            for i in slide_ids
        }
        cards = {slide_id: map(self.files.card, both) for slide_id, both in paths.items()}
        return {slide_id: [card and card.key for card in both] for slide_id, both in cards.items()}

    def _inner_keys(self, head: str | None, count: int) -> dict[str, list[str]]:
        mils = {arm: mil_folder(self.files.run, self.fold.name, arm).name for arm in COMPARED}
        return {arm: [self.key(inner_name(mil, str(head), n)) for n in range(count)] for arm, mil in mils.items()}

    def _known(self, arms: Sequence[str]) -> dict[str, object]:
        return {i: [self.files.targets[i], *(self.features(arm, i) for arm in arms)] for i in self.own}


def _head(files: RunFiles, fold: Fold) -> tuple[str, ...]:
    """Return the name of the head of a fold; none if its choice cannot be read."""
    if files.config.mil.head != AUTO:
        return (files.config.mil.head,)
    try:
        return (read_choice(files.run / fold.name).head,)
    except FormatError:
        return ()


def _candidates(inputs: Mapping[str, Any]) -> list[str]:
    found = inputs.get("candidates", [])
    return list(map(str, found)) if isinstance(found, list) else []
