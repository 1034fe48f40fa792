"""Write the model to ship: the student of the final fold, with its provenance."""

import datetime
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from lrmil import __version__
from lrmil.cohorts.cohort import Cohort
from lrmil.configs import AUTO, TrainConfig, stated
from lrmil.features.store import FeaturesCard, read_card
from lrmil.io import hashing
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.bundle_weights import Networks
from lrmil.models.encoders.folder import FOLDER, HUB
from lrmil.models.kept_teacher import TeacherCard
from lrmil.models.learned_from import LearnedFrom, keep_hashes
from lrmil.models.origins import Origins, keep_origins
from lrmil.models.synthetic import SYNTHETIC
from lrmil.runs.calibration import read_calibration
from lrmil.runs.case_rules import case_rule_of
from lrmil.runs.chosen_heads import NAME as HEAD_CHOICES
from lrmil.runs.chosen_heads import read_choice
from lrmil.runs.earlier import write_model
from lrmil.runs.escalation import read_teacher_calibration
from lrmil.runs.familiarity import learn_from_fold
from lrmil.runs.fold_outputs import load_mil
from lrmil.runs.fold_task import FoldTask, load_lr_encoder
from lrmil.runs.head_choice import with_chosen_head
from lrmil.runs.plan_file import settings_hash
from lrmil.runs.start_encoders import StartEncoders
from lrmil.runs.tested import TESTED, measurement_of
from lrmil.slides.readers.synthetic import is_synthetic
from lrmil.tasks.by_site import BY_SITE


def write_bundle(
    out: Path,
    task: FoldTask,
    cohort: Cohort,
    figures: dict[str, object],
    encoders: StartEncoders,
    *,
    replace: bool = False,
) -> None:
    """Write the student of the final fold as the model to ship, with its provenance, and load it as a check.

    Parameters
    ----------
    out
        Run folder.
    task, cohort
        The final fold, and the slides of the run.
    figures
        Content of metrics.json.
    encoders
        What the run started from. The model keeps the teacher's if the settings ask for it and its MIL is calibrated.
    replace
        Whether an earlier model may be deleted.

    Raises
    ------
    FormatError, ModelError
        If an artefact of the fold is damaged, or the written model cannot be loaded.
    OverwriteError, OutputError
        If the model cannot be written.
    """
    config, calibrated, kept = task.config, read_calibration(task), teacher_card(task)
    write_model(
        out,
        figures,
        Bundle(
            task=cohort.task,
            mpp=config.mpp_lr,
            patch_size=config.patch_size,
            min_tissue=config.min_tissue,
            max_failed=config.max_failed,
            encoder=load_lr_encoder(task, finished=config.finishes),
            mil=load_mil(task.mil(task.answering("lr_student")), config.mil),
            mil_config=with_chosen_head(task).config.mil,
            training=_provenance(task, cohort, config, figures),
            metrics={name: one for name, one in figures.items() if name != BY_SITE},  # it names sites
            terms={role: one.to_dict() for role, one in encoders.terms.items()},
            calibration=calibrated.calibration,
            decision=calibrated.decision,
            familiarity=learn_from_fold(task),
            learned_from=learned_from(task),
            case_rule=case_rule_of(task).rule,
            origins=origins_of(task, {slide.slide_id: slide.site for slide in cohort.slides}),
            teacher=kept,
            teacher_networks=Networks(encoders.teacher, load_mil(task.mil("hr_teacher"), config.mil)) if kept else None,
        ),
        replace=replace,
    )
    load_bundle(out / "model", teacher=True)  # a run is not finished if its model cannot be loaded


def teacher_card(task: FoldTask) -> TeacherCard | None:
    """Return how the teacher of a fold answers if the model keeps it; None if it is not to, or has no calibration.

    Parameters
    ----------
    task
        The fold.

    Raises
    ------
    FormatError
        If what its teacher said is damaged.
    """
    how = task.config.decision
    if not how.with_teacher or read_calibration(task).calibration is None:
        return None
    fitted = read_teacher_calibration(task, how.regions)
    if fitted.calibration is None:
        return None
    return TeacherCard(
        kind=task.config.teacher,
        mpp=task.config.mpp_hr,
        min_tissue=task.config.min_tissue_hr,
        regions=how.regions,
        calibration=fitted.calibration,
        decision=fitted.decision,
    )


def learned_from(task: FoldTask) -> LearnedFrom | None:
    """Return keyed hashes of what a fold learned from, was selected on and calibrated by.

    Parameters
    ----------
    task
        The fold. All these slides are its training and validation slides.

    Raises
    ------
    FormatError
        If the features of a slide are damaged.
    """
    slides = _learned_slides(task)
    return keep_hashes(slides.fingerprints, slides.cases, slides.origin)


def origins_of(task: FoldTask, sites: Mapping[str, str | None]) -> Origins | None:
    """Return the sites and scanners of what a fold learned from, was selected on and calibrated by.

    Parameters
    ----------
    task
        The fold.
    sites
        Slide id -> site.

    Raises
    ------
    FormatError
        If the features of a slide are damaged.
    """
    slides = _learned_slides(task)
    own = [sites.get(card.slide_id) for card in slides.cards]
    return keep_origins(own, [card.scanner for card in slides.cards], slides.origin)


class _LearnedSlides(NamedTuple):
    """The training and validation slides of a fold, sorted by slide id."""

    cards: list[FeaturesCard]
    fingerprints: list[str]
    cases: list[str]
    origin: list[object]
    """What the keys of their hashes follow from."""


def _learned_slides(task: FoldTask) -> _LearnedSlides:
    slide_ids = sorted(task.fold.train + task.fold.val)
    cards = [read_card(task.encoded("lr_undistilled", slide_id)) for slide_id in slide_ids]
    fingerprints = [card.slide_fingerprint for card in cards]
    cases = [task.cases[slide_id] for slide_id in slide_ids]
    return _LearnedSlides(cards, fingerprints, cases, [fingerprints, cases, task.config.seed])


def _provenance(task: FoldTask, cohort: Cohort, config: TrainConfig, figures: dict[str, object]) -> dict[str, object]:
    """Return what a model says of its training."""
    tested = measurement_of({}, figures, cohort.task)
    chosen = {HEAD_CHOICES: read_choice(task.folder).to_dict()} if config.mil.head == AUTO else {}
    return {
        "cohort": hashing.sha256_of([[slide.slide_id, slide.label, slide.case_id] for slide in cohort.slides]),
        "slides": len(task.fold.train),
        "cases": len({cohort.by_id[slide_id].case_id for slide_id in task.fold.train}),
        "validation_slides": len(task.fold.val),
        "schedule": task.schedule,
        **({SYNTHETIC: True} if all(is_synthetic(slide.path) for slide in cohort.slides) else {}),
        **({TESTED: asdict(tested)} if tested else {}),
        **chosen,
        "settings": public_settings(stated(config)),
        "settings_sha256": settings_hash(config),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "version": __version__,
    }


def public_settings(settings: Mapping[str, object]) -> dict[str, object]:
    """Return settings as a model states them, with the public names of their encoders."""
    encoders = {name: settings[name] for name in ("encoder", "student_encoder") if name in settings}
    return {**settings, **{name: public_name(str(encoder)) for name, encoder in encoders.items()}}


def public_name(encoder: str) -> str:
    """Return the name of an encoder without its folder, which may name the machine or its user."""
    kind, _, place = encoder.partition(":")
    if kind.lower() == FOLDER:
        return f"{FOLDER}:{Path(place).name}"
    is_path = kind.lower() not in HUB and Path(encoder).name != encoder
    return f"{FOLDER}:{Path(encoder).name}" if is_path else encoder
