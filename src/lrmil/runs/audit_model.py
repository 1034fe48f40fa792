"""Audit the shipped model, which is that of its fold, and the figures, computed again from the files of the folds."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from lrmil.errors import LrmilError
from lrmil.io import hashing
from lrmil.io.documents import read_json_document
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.encoders.loading import encoder_hash
from lrmil.models.heads.choice import kind_of
from lrmil.models.kept_teacher import FOLDER as TEACHER
from lrmil.runs.arms import ARMS, CALIBRATION, FINISH, FINISHED, answering, lr_folder, mil_folder
from lrmil.runs.audit_answers import audit_answers
from lrmil.runs.audit_files import METRICS, Finding, Note, RunFiles, some
from lrmil.runs.audit_results import differences, known_to
from lrmil.runs.audit_splits import SPLITS
from lrmil.runs.calibration import read_calibration
from lrmil.runs.case_rules import NAME as CASE_RULE
from lrmil.runs.case_rules import case_rule_of
from lrmil.runs.chosen_heads import NAME as HEAD
from lrmil.runs.distilled_start import START
from lrmil.runs.escalation import HELD_OUT
from lrmil.runs.familiarity import learn_from_fold
from lrmil.runs.fold_outputs import WEIGHTS, load_mil
from lrmil.runs.fold_task import FoldTask, fold_tasks, load_lr_encoder
from lrmil.runs.frozen import plan_of
from lrmil.runs.head_choice import with_chosen_head
from lrmil.runs.plan_file import settings_hashes, settings_of
from lrmil.runs.results import WITHIN_FOLDS, figures_of
from lrmil.runs.shipping import learned_from, origins_of, public_settings, teacher_card
from lrmil.runs.slide_encoding import Computing
from lrmil.runs.tested import TESTED, measurement_of
from lrmil.tasks.by_site import BY_SITE

MODEL = "model"


def audit_model(files: RunFiles, *, answers: bool) -> Iterator[Finding | Note]:
    """Yield what is wrong with the model, and with what can be computed with its network alone, or was not compared.

    Parameters
    ----------
    files
        The run.
    answers
        Whether the networks of each fold are asked again.
    """
    yield from _weights(files)
    try:
        bundle = load_bundle(files.run / MODEL, teacher=True)
    except LrmilError as error:
        yield Finding(MODEL, str(error))
        return
    tasks = _tasks(files, bundle)
    yield from _origin(files, bundle)
    for task in tasks:
        yield from _encoder(files, task)
        if answers:
            yield from audit_answers(files, task)
    final = tasks[files.folds.index(files.final)]
    if files.is_recent or CALIBRATION in files.figures:  # else the figures of the arms are compared alone
        yield from _figures(files, tasks)
        yield from _calibration(final, bundle)
        yield from _teacher(files, final, bundle)
    if CASE_RULE in files.figures:
        yield from _case_rule(final, bundle)
    yield from _head(files, final, bundle)
    yield from _learned_from(files, final, bundle)


def _tasks(files: RunFiles, bundle: Bundle) -> list[FoldTask]:
    """Return the folds as their training knows them; the encoder of the model has the layers of each fold's."""
    plan, config, here = plan_of(files.config), files.config, Computing(torch.device("cpu"))
    return fold_tasks(files.run, files.folds, files.cohort, {}, bundle.encoder, plan, config, here)


def _weights(files: RunFiles) -> Iterator[Finding]:
    """Yield weights of the model that are not, byte for byte, those of its fold."""
    fold, finished = files.final.name, files.config.finishes
    mil = mil_folder(files.run, fold, answering("lr_student", finished=finished))
    encoder = files.run / fold / (FINISH if finished else "lr_encoder")
    pairs = {"mil.safetensors": mil / WEIGHTS, "encoder/model.safetensors": encoder / "encoder.safetensors"}
    for name, path in pairs.items():
        if not _are_equal(files.run / MODEL / name, path):
            origin = path.relative_to(files.run).as_posix()
            yield Finding(f"{MODEL}/{name}", f"The weights are not those of the fold, {origin}.")


def _are_equal(one: Path, other: Path) -> bool:
    """Return whether two files are there and have the same bytes."""
    try:
        return hashing.sha256_file(one) == hashing.sha256_file(other)
    except OSError:
        return False


def _origin(files: RunFiles, bundle: Bundle) -> Iterator[Finding | Note]:
    """Yield what the model says of its task, settings, training or figures that is not so in the run."""
    where, config, fold = f"{MODEL}/bundle.json", files.config, files.final
    if [*differences(bundle.metrics, {name: one for name, one in files.figures.items() if name != BY_SITE})]:
        yield Finding(where, f"Its figures are not those of {METRICS}.")
    if bundle.task.to_dict() != files.cohort.task.to_dict():
        yield Finding(where, "It predicts something else than the run.")
    stated = (bundle.mpp, bundle.patch_size, bundle.min_tissue, bundle.max_failed)
    if stated != (config.mpp_lr, config.patch_size, config.min_tissue, config.max_failed):
        yield Finding(where, "It reads other patches than the settings of the run say.")
    settings = settings_of(files.run)
    if bundle.training.get("settings_sha256") not in settings_hashes(files.run):
        yield Finding(where, "It was trained with other settings than those of plan.toml.")
    told = bundle.training.get("settings")
    if _must_state(files, bundle, "settings") and all([*differences(told, public_settings(one))] for one in settings):
        yield Finding(where, "The settings that it states are not those of plan.toml.")
    counts = {
        "slides": len(fold.train),
        "cases": len({files.case_of(slide_id) for slide_id in fold.train}),
        "validation_slides": len(fold.val),
    }
    if wrong := [
        name
        for name, count in counts.items()
        if _must_state(files, bundle, name) and bundle.training.get(name) != count
    ]:
        yield Finding(where, f"It was trained on another number of {' and '.join(wrong)} than splits.csv says.")
    if TESTED in bundle.training and bundle.training[TESTED] != _tested(files):
        yield Finding(where, "It was not tested as it says.")
    slides = [[slide.slide_id, slide.label, slide.case_id] for slide in files.cohort.slides]
    if bundle.training.get("cohort") == hashing.sha256_of(slides):
        return
    if _left_out(files):
        yield Note(
            "Slides of the table failed, as problems.json says, so that the table as the model states it could not be "
            f"compared with {SPLITS}."
        )
    else:
        yield Finding(SPLITS, "The slides, labels or cases are not those that the model was trained with.")


def _must_state(files: RunFiles, bundle: Bundle, name: str) -> bool:
    """Return whether a model states something of its training, or is of a version that does."""
    return files.is_recent or name in bundle.training


def _tested(files: RunFiles) -> dict[str, object] | None:
    found = measurement_of({}, files.figures, files.cohort.task)
    return asdict(found) if found else None


def _left_out(files: RunFiles) -> bool:
    """Return whether slides of the table failed, so that splits.csv does not name them."""
    try:
        problems = read_json_document(files.run / "problems.json")
        return any(one["slide_id"] is not None and one["slide_id"] not in files.cohort.by_id for one in problems)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _head(files: RunFiles, task: FoldTask, bundle: Bundle) -> Iterator[Finding]:
    """Yield that the model states another MIL than that of its fold; earlier versions had other settings."""
    try:
        expected = asdict(with_chosen_head(task).config.mil)
    except LrmilError as error:
        yield Finding(f"{task.fold.name}/{HEAD}", str(error))
        return
    if files.is_recent and [*differences(asdict(bundle.mil_config), expected)]:
        yield Finding(f"{MODEL}/bundle.json", "Its MIL has other settings than that of its fold.")
    teacher = bundle.teacher_networks and bundle.teacher_networks.mil
    for arm, mil in ((task.answering("lr_student"), bundle.mil), ("hr_teacher", teacher)):
        try:
            if mil and kind_of(mil) != kind_of(load_mil(task.mil(arm), task.config.mil)):
                yield Finding(f"{MODEL}/bundle.json", f"The head of its MIL is not that of {task.mil(arm).name}.")
        except (LrmilError, OSError) as error:
            yield Finding(task.fold.name, str(error))


def _encoder(files: RunFiles, task: FoldTask) -> Iterator[Finding]:
    """Yield LR features of a fold that are not those of its encoder."""
    kinds: Sequence[tuple[str, Sequence[str]]] = [("lr_student", task.slide_ids)]
    if files.config.finishes:
        kinds = [*kinds, (FINISHED, task.fold.test)]
    for arm, slide_ids in kinds:
        try:
            expected = encoder_hash(load_lr_encoder(task, finished=arm == FINISHED))
        except LrmilError as error:
            yield Finding(task.fold.name, str(error))
            continue
        folder = lr_folder(files.run, task.fold.name, arm)
        cards = {slide_id: files.card(folder / f"{slide_id}.zarr") for slide_id in slide_ids}
        if wrong := {slide_id for slide_id, card in cards.items() if card and card.encoder_hash != expected}:
            where = folder.relative_to(files.run).as_posix()
            yield Finding(where, f"The features are not those of the fold's encoder: {some(wrong)}.")


def _figures(files: RunFiles, tasks: Sequence[FoldTask]) -> Iterator[Finding | Note]:
    """Yield figures of metrics.json that the files of the folds do not give."""
    try:
        expected = json.loads(json.dumps(figures_of(files.run, files.cohort, files.tested, tasks)))
    except (LrmilError, OSError, KeyError, ValueError) as error:
        yield Finding(METRICS, f"The figures cannot be computed again: {error}")
        return
    stated = {name: value for name, value in files.figures.items() if name != START}
    if CASE_RULE not in files.figures:  # an earlier version, which had another rule
        stated, expected = (_without(value, (CASE_RULE, WITHIN_FOLDS, "by_case")) for value in (stated, expected))
    known = known_to(stated, expected, {CALIBRATION, *ARMS, *(task.fold.name for task in tasks)})
    if new := {*differences(known, expected)}:
        yield Note(f"{METRICS} lacks figures that this version computes: {some(new)}.")
    arms = tuple(f"{arm}." for arm in ARMS)
    for name in differences(stated, known):
        what = "outputs" if name.startswith(arms) else "folds' files"
        yield Finding(METRICS, f"The figure {name} is not that of the {what}.")


def _without(values: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Return JSON-ready values without the members of some names, at any depth."""
    kept = {name: inner for name, inner in values.items() if name not in names}
    return {name: _without(inner, names) if isinstance(inner, Mapping) else inner for name, inner in kept.items()}


def _learned_from(files: RunFiles, task: FoldTask, bundle: Bundle) -> Iterator[Finding]:
    """Yield that the model names other slides, cases, sites or scanners than its fold; earlier versions name none."""
    if bundle.learned_from is None and not files.is_recent:
        return
    try:
        if bundle.learned_from != learned_from(task):
            yield Finding(f"{MODEL}/bundle.json", "It names other slides or cases than its fold learned from.")
        sites = {slide.slide_id: slide.site for slide in files.cohort.slides}
        if bundle.origins not in (None, origins_of(task, sites)):
            yield Finding(f"{MODEL}/bundle.json", "It names other sites or scanners than those of its fold's slides.")
    except LrmilError as error:
        yield Finding(MODEL, str(error))


def _case_rule(task: FoldTask, bundle: Bundle) -> Iterator[Finding]:
    try:
        if bundle.case_rule != case_rule_of(task).rule:
            yield Finding(f"{MODEL}/bundle.json", "Its rule for cases is not that of its fold.")
    except LrmilError as error:
        yield Finding(f"{task.fold.name}/{CALIBRATION}", str(error))


def _teacher(files: RunFiles, task: FoldTask, bundle: Bundle) -> Iterator[Finding]:
    """Yield that the model keeps another teacher than that of its fold, or none although it should."""
    try:
        expected = teacher_card(task)
    except LrmilError as error:
        yield Finding(f"{task.fold.name}/{HELD_OUT}", str(error))
        return
    if [*differences(bundle.teacher and bundle.teacher.to_dict(), expected and expected.to_dict())]:
        yield Finding(f"{MODEL}/bundle.json", "The teacher that it keeps answers otherwise than that of its fold.")
    if bundle.teacher_networks is None:
        return
    folder = f"{MODEL}/{TEACHER}"
    if not _are_equal(files.run / folder / WEIGHTS, task.mil("hr_teacher") / WEIGHTS):
        yield Finding(folder, f"The weights of its MIL are not those of {task.fold.name}.")
    cards = {slide_id: files.card(task.encoded("hr_teacher", slide_id)) for slide_id in task.slide_ids}
    sha256 = encoder_hash(bundle.teacher_networks.encoder)
    if other := {slide_id for slide_id, card in cards.items() if card and card.encoder_hash != sha256}:
        yield Finding(folder, f"The encoder is not that of the HR features: {some(other)}.")


def _calibration(task: FoldTask, bundle: Bundle) -> Iterator[Finding]:
    try:
        fitted, familiarity = read_calibration(task), learn_from_fold(task)
    except LrmilError as error:
        yield Finding(f"{task.fold.name}/{CALIBRATION}", str(error))
        return
    for what, stated, expected in (
        ("calibration", bundle.calibration, fitted.calibration),
        ("decision", bundle.decision, fitted.decision),
        ("familiarity", bundle.familiarity, familiarity),
    ):
        if [*differences(stated and stated.to_dict(), expected and expected.to_dict())]:
            yield Finding(f"{MODEL}/bundle.json", f"Its {what} is not that of the slides of its fold.")
