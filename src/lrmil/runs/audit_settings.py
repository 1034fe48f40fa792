"""Audit the settings of a run: what plan.toml states is what each artefact and the model were made with.

The rules are written here once more, apart from the code that trains, so that a fault of that code is found too.
"""

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from typing import Any

from lrmil.cohorts.splits import Fold
from lrmil.configs import AUTO
from lrmil.io import hashing
from lrmil.runs.arms import FINISH
from lrmil.runs.audit_files import Finding, Record, RunFiles
from lrmil.runs.audit_inputs import HELD, INNER, MILS, expected_artefacts
from lrmil.runs.audit_results import differences, known_to
from lrmil.runs.fold_outputs import read_evidence
from lrmil.runs.fold_training import INNER_SEEDS
from lrmil.runs.plan_file import read_classes
from lrmil.runs.stage1_figures import read_fidelity

PLAN = "plan.toml"
LABELS_ALONE = {"lambda_bag": 0.0, "lambda_soft": 0.0, "lambda_hard": 0.0, "warm_start": False}


def audit_settings(files: RunFiles) -> Iterator[Finding]:
    """Yield which settings of the artefacts are not those of plan.toml, of artefacts that this version wrote.

    Parameters
    ----------
    files
        The run.
    """
    classes = read_classes(files.run)
    if classes and classes != files.cohort.task.names:
        yield Finding(PLAN, "It predicts something else than the run.")
    for fold in files.folds:
        for name in expected_artefacts(files, fold):
            record = files.records[fold.name].get(name)
            if record is not None and record.sha256 is not None:  # earlier versions had other settings and seeds
                yield from _of_artefact(files, fold, name, record)


def _of_artefact(files: RunFiles, fold: Fold, name: str, record: Record) -> Iterator[Finding]:
    where, purpose = f"{fold.name}/{name}", _purpose(name)
    if purpose:
        seed = int(hashing.sha256_of([files.config.seed, fold.name, purpose])[:8], 16)
        if record.inputs.get("seed") != seed:
            yield Finding(where, f"Its seed does not follow from that of {PLAN}.")
    for member, expected in _expected(files, fold, name).items():
        stated = record.inputs.get(member)
        if not isinstance(stated, Mapping) or [*differences(known_to(expected, stated), known_to(stated, expected))]:
            yield Finding(where, f"Its settings of '{member}' are not those of {PLAN}.")


def _purpose(name: str) -> str:
    """Return what the seed of an artefact is drawn for; "" if it has none."""
    if inner := INNER.fullmatch(name):
        return f"mil inner {inner[2]}"
    if held := HELD.fullmatch(name):
        return f"mil held out {held[1]}"
    return {"lr_encoder": "stage1", FINISH: FINISH, **dict.fromkeys(MILS, "mil")}.get(name, "")


def _expected(files: RunFiles, fold: Fold, name: str) -> dict[str, dict[str, Any]]:
    """Return the settings that an artefact must state, by member of its inputs."""
    config = files.config
    if name == "lr_encoder":
        return {"stage1": asdict(config.stage1)}
    if name == FINISH:
        return {"finish": asdict(config.finish), "stage2": _terms(files, fold)}
    held = HELD.fullmatch(name)
    if not (held or name in MILS or INNER.fullmatch(name)):
        return {}
    mil = asdict(config.mil)
    if held or name not in MILS:
        mil["seeds"] = min(config.mil.seeds, INNER_SEEDS)
    for member, chosen in (("head", AUTO), ("balance", "auto")):
        if mil[member] == chosen:  # the artefact states what came of it
            del mil[member]
    if held:
        return {"mil": mil, "stage2": {**_terms(files, fold), "warm_start": False}}
    return {"mil": mil, **({"stage2": _terms(files, fold)} if name == "lr_student" else {})}


def _terms(files: RunFiles, fold: Fold) -> dict[str, Any]:
    """Return the settings of the student's losses.

    They are against labels alone where the evidence is not used, and with a warm start only where stage 1 allows it.
    """
    folder = files.run / fold.name
    stage2 = asdict(files.config.stage2)
    limit = stage2.pop("warm_start_r2")
    if not read_evidence(folder).used:
        return {**stage2, **LABELS_ALONE}
    if stage2["warm_start"]:
        r2 = read_fidelity(folder).distilled.r2
        stage2["warm_start"] = r2 is not None and r2 >= limit
    return stage2
