"""Audit the artefacts of a fold: what each learned from, which artefacts it was made from, and its files.

The rules are written here once more, apart from the code that trains, so that a fault of that code is found too.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from lrmil.cohorts.splits import Fold
from lrmil.io import hashing
from lrmil.io.ownership import is_artefact
from lrmil.runs.audit_files import Finding, Record, RunFiles, some
from lrmil.runs.audit_inputs import MALFORMED, expected_artefacts, expected_members, held_out_of
from lrmil.runs.escalation import TESTED

ANSWERING = {"outputs", "linear_heads", TESTED}  # their inputs name test slides, which they answer for


def audit_learning(files: RunFiles, fold: Fold) -> Iterator[Finding]:
    """Yield what is wrong with the artefacts of a fold.

    Parameters
    ----------
    files
        The run.
    fold
        One of its folds.
    """
    records = files.records[fold.name]
    for name in expected_artefacts(files, fold):
        where = f"{fold.name}/{name}"
        record = records.get(name)
        if record is None:
            yield Finding(where, "The artefact is missing, or its artefact.json is damaged.")
            continue
        yield from _own_faults(files.run / where, where, record)
        yield from _leaks(files, fold, name, record)
        try:
            expected = expected_members(files, fold, name)
        except MALFORMED as error:
            yield Finding(where, f"Its inputs cannot be compared with the run: {error!r}.")
            continue
        for member, value in expected.items():
            if record.inputs.get(member) != value:
                yield Finding(where, _difference(member, record.inputs.get(member), value))


def _own_faults(folder: Path, where: str, record: Record) -> Iterator[Finding]:
    """Yield where an artefact does not agree with itself: its key, its files and their hashes."""
    if hashing.sha256_of(record.inputs) != record.key:
        yield Finding(where, "Its key is not that of its inputs: artefact.json was edited.")
    if not is_artefact(folder):
        yield Finding(where, "It contains files that do not belong to it, or links.")
    if record.sha256 is not None and (bare := _files_in(folder) - record.sha256.keys()):
        yield Finding(where, f"artefact.json has no hash of {some(bare)}.")
    for name, stated in (record.sha256 or {}).items():
        try:
            same = hashing.sha256_file(folder / name) == stated
        except OSError:
            yield Finding(f"{where}/{name}", "The file is missing, or cannot be read.")
            continue
        if not same:
            yield Finding(f"{where}/{name}", "The file was changed after it was written.")


def _files_in(folder: Path) -> set[str]:
    """Return the files of an artefact, as it names them, but for artefact.json."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in paths} - {"artefact.json"}


def _leaks(files: RunFiles, fold: Fold, name: str, record: Record) -> Iterator[Finding]:
    """Yield which test slides and cases of a fold an artefact learned from, or was chosen or calibrated by."""
    where, tested = f"{fold.name}/{name}", {*fold.test}
    cases = {files.case_of(slide_id) for slide_id in tested}
    try:
        parts = _slides_by_part(name, record.inputs)
    except MALFORMED:
        yield Finding(where, "Its inputs do not name its slides as this version expects.")
        return
    for part, slides in parts.items():
        if leaked := slides & tested:
            yield Finding(where, f"Test slides of the fold are among its {part} slides: {some(leaked)}.")
        if straddling := {files.case_of(slide_id) for slide_id in slides - tested} & cases:
            yield Finding(where, f"Cases of test slides of the fold are among its {part} slides: {some(straddling)}.")
    for member in ("inner_folds", "held_out"):
        held = held_out_of(record.inputs, member)
        found: dict[str, int] = {}
        for number, held_out in enumerate(held):
            for case in {files.case_of(slide_id) for slide_id in held_out}:
                if found.setdefault(case, number) != number:
                    yield Finding(where, f"Case {case} is in several of the folds that are held out in turn.")
        own = {*fold.train, *fold.val}
        if held and sorted(slide_id for held_out in held for slide_id in held_out) != sorted(own):
            yield Finding(where, "The folds held out in turn are not the training and validation slides, each once.")


def _slides_by_part(name: str, inputs: Mapping[str, Any]) -> dict[str, set[str]]:
    """Return the slides that an artefact learned from by what for; none of them may be tested."""
    parts = {part: set(inputs[part]) for part in ("train", "val") if part in inputs}
    if "slides" in inputs and name not in ANSWERING:
        parts["known"] = set(inputs["slides"])
    for member in ("inner_folds", "held_out"):
        parts[member] = {slide_id for slides in held_out_of(inputs, member) for slide_id in slides}
    return {part: slides for part, slides in parts.items() if slides}


def _difference(member: str, stated: object, expected: object) -> str:
    """Say how a member of an artefact's inputs differs from what the files of the run give."""
    if isinstance(stated, dict) and isinstance(expected, dict):
        names = {name for name in stated.keys() | expected.keys() if stated.get(name) != expected.get(name)}
        missing, added = names - stated.keys(), names - expected.keys()
        said = [
            f"{some(found)} {what}"
            for found, what in (
                (missing, "missing"),
                (added, "too many"),
                (names - missing - added, "with another label, features or artefact"),
            )
            if found
        ]
        return f"Its input '{member}' is not that of the run's files: {'; '.join(said)}."
    return f"Its input '{member}' is not that of the run's files."
