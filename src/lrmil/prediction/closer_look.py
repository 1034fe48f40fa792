"""Escalation: for an uncertain slide, the teacher looks at the HR patches of the regions that the student attends to.

Only a model that keeps its teacher can do this (`lrmil.models.kept_teacher`). Of the slide, nothing else is read again
but the tissue.
"""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from typing import Never, cast

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import ConfigError, SlideChangedError, TissueError
from lrmil.features.encoding import Encoded, concatenate, encode_patches
from lrmil.features.regions import in_most_attended, teacher_bag
from lrmil.features.slide_features import require_readable, unreadable_note
from lrmil.geometry import parent_of, resolution_ratio
from lrmil.models.bundle import Bundle
from lrmil.models.bundle_weights import Networks
from lrmil.models.card import ModelTraits
from lrmil.models.devices import on_device, pick_device
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.heads.head import predict_bag
from lrmil.models.kept_teacher import TeacherCard
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import Given, tissue_of
from lrmil.prediction.escalation import Escalation
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.prediction import Prediction
from lrmil.slides.failures import failure_of
from lrmil.slides.identity import unchanged
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay
from lrmil.tasks.answers import Answer
from lrmil.tasks.decision import about_classes

COULD_NOT = "The teacher could not look closer:"
ANSWER = ("label", "probabilities", "threshold", "reasons", "plausible")  # of a Prediction, and of an Escalation


def why_not_closer(model: ModelTraits, prediction: Prediction) -> str:
    """Return why the teacher of a model cannot look closer at a slide, as a sentence; "" if it can.

    Parameters
    ----------
    model
        The model, or its card.
    prediction
        Its answer for the slide.
    """
    if model.teacher is None:
        return "The model does not keep its teacher. Train it with --with-teacher."
    if prediction.escalation is not None:
        return "The teacher has looked at this slide."
    if prediction.status != "uncertain":
        return "The answer is not uncertain."
    if not about_classes(prediction.reasons):
        return "The slide is unlike those that the model learned from, so its teacher does not know it either."
    return ""


def require_teacher(bundle: Bundle) -> None:
    """Require a model that keeps its teacher, and was loaded with it.

    Raises
    ------
    ConfigError
        If it does not, or was not.
    """
    if bundle.teacher is None:
        raise ConfigError(
            "Expected a model that keeps its teacher, to look closer at uncertain slides. Got one that does not: train "
            "it with --with-teacher, or leave out --escalate."
        )
    if bundle.teacher_networks is None:
        raise ConfigError("Expected a model that was loaded with its teacher. Got one without; load it again.")


def look_closer_steps(
    slide: Slide,
    bundle: Bundle,
    prediction: Prediction,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Given | None = None,
) -> Iterator[Step[Prediction]]:
    """Ask the teacher about the regions of a slide that an uncertain answer attends to most.

    Parameters
    ----------
    slide
        The open slide.
    bundle
        The model, with the networks of its teacher.
    prediction
        Its answer for the slide.
    options
        Device, batch size, threads and `uncertain_below`.
    tissue
        The mask of the answer, and the regions that limit it, if they were given.

    Yields
    ------
    Step
        One per batch of HR patches; the last carries the Prediction, "escalated" or still "uncertain".

    Raises
    ------
    ConfigError
        If the model has no teacher, a closer look cannot settle the answer (`why_not_closer`), or the answer is of
        another model or of another um/px than the slide was opened with.
    SlideError, ResolutionError, TissueError
        If the slide is another one, has no such resolution, or too many patches cannot be read.
    """
    teacher, networks = _teacher_for(slide, bundle, prediction)
    start, bytes_before = time.perf_counter(), slide.bytes_read
    with unchanged(slide):
        index, encoded = yield from _encode(slide, bundle, prediction, options, tissue)
    children = resolution_ratio(bundle.mpp, teacher.mpp)
    bag = teacher_bag(teacher.kind, index[encoded.positions], encoded.embeddings, children)
    logits = predict_bag(on_device(networks.mil, pick_device("cpu")), bag).logits
    looked = Escalation(
        **{name: getattr(prediction, name) for name in ANSWER},
        regions=len(np.unique(parent_of(index, children)[0], axis=0)),
        mpp=teacher.mpp,
        patches=len(encoded.positions),
        failed_patches=len(encoded.failed),
        bytes_read=None if slide.bytes_read is None else slide.bytes_read - (bytes_before or 0),
        seconds=time.perf_counter() - start,
    )
    values = bundle.task.calibrated(logits, teacher.calibration)
    answer = teacher_answer(bundle, values, uncertain_below=options.uncertain_below)
    result = _escalated(prediction, bundle, looked, answer)
    yield Step((slide.slide_id,), len(index), len(index), "HR patches", result)


def settle_steps(
    slide: Slide,
    bundle: Bundle,
    prediction: Prediction,
    options: PredictOptions,
    *,
    tissue: Given | None = None,
) -> Iterator[Step[Prediction]]:
    """Look closer at a slide if the options ask for it and that may settle its answer.

    Where its finer pixels cannot be used, or memory is too small, the answer stays uncertain; a note says why.

    Parameters
    ----------
    slide, bundle, prediction, options, tissue
        As for `look_closer_steps`.

    Yields
    ------
    Step
        One per batch of HR patches; the last carries the answer of the teacher, or that of the student.

    Raises
    ------
    SlideChangedError
        If the slide changed.
    """
    found = prediction
    if options.escalate and not why_not_closer(bundle, prediction):
        try:
            found = yield from relay(look_closer_steps(slide, bundle, prediction, options, tissue=tissue))
        except SlideChangedError:
            raise
        except (OSError, ConfigError, MemoryError) as error:  # the student's answer is as good as before
            why = failure_of(error, SlideSource(slide.slide_id, slide.path)).message
            found = replace(prediction, notes=(*_without_failure(prediction.notes), f"{COULD_NOT} {why}"))
    total = len(found.patches) + found.failed_patches
    yield Step((slide.slide_id,), total, total, "patches", found)


def teacher_answer(bundle: Bundle, values: NDArray[np.float64], *, uncertain_below: float) -> Answer:
    """Return what a teacher answers, with the status "escalated" unless it is uncertain, too.

    Parameters
    ----------
    bundle
        A model that keeps its teacher.
    values
        (names,) calibrated.
    uncertain_below
        As in `PredictOptions`.
    """
    decision = bundle.decision_of(teacher=True)
    answer = bundle.task.answer(values, decision, uncertain_below=uncertain_below)
    return answer if answer.reasons else answer._replace(status="escalated")


def _teacher_for(slide: Slide, bundle: Bundle, prediction: Prediction) -> tuple[TeacherCard, Networks]:
    """Return the teacher that can look closer at a slide, or raise as `look_closer_steps`."""
    require_teacher(bundle)
    if problem := why_not_closer(bundle, prediction):
        raise ConfigError(problem)
    if prediction.bundle_sha256 != bundle.sha256:
        raise ConfigError(f"The answer for {slide.slide_id} is of another model. Classify it again.")
    if prediction.mpp != slide.mpp:
        raise ConfigError(
            f"Expected {slide.slide_id} at the {prediction.mpp:g} um/px that it was classified with. "
            f"Got {slide.mpp:g}; open it with the same mpp, or classify it again."
        )
    if slide.fingerprint != prediction.slide_fingerprint:
        raise SlideChangedError(f"{slide.slide_id} changed since it was classified. Classify it again.")
    return cast(TeacherCard, bundle.teacher), cast(Networks, bundle.teacher_networks)


def _encode(
    slide: Slide,
    bundle: Bundle,
    prediction: Prediction,
    options: PredictOptions,
    tissue: Given | None,
) -> Generator[Step[Never], None, tuple[NDArray[np.int32], Encoded]]:
    """Read and encode the HR patches of the most attended regions; return their index (m, 2), too."""
    teacher, networks = _teacher_for(slide, bundle, prediction)
    slide.require_mpp(teacher.mpp)
    children = resolution_ratio(bundle.mpp, teacher.mpp)
    plan = PatchPlan(bundle.mpp, bundle.patch_size, children, bundle.min_tissue, teacher.min_tissue, bundle.max_failed)
    patches = patches_of(slide, plan, tissue_of(slide, tissue))
    covered = patches.children_covered
    index, level0_yx = patches.children_index[covered], patches.children_level0_yx[covered]
    inside = in_most_attended(
        prediction.patches.index, prediction.patch_attention, index, children=children, regions=teacher.regions
    )
    if not inside.any():
        raise TissueError(f"No patch at {teacher.mpp:g} um/px in the regions that were attended to has enough tissue.")
    encoder = PatchEncoder(networks.encoder, pick_device(options.device), batch_size=options.batch_size)
    parts: list[Encoded] = []
    total = int(inside.sum())
    for part in encode_patches(slide, level0_yx[inside], patches.children_grid, encoder, threads=options.threads):
        parts.append(part)
        read = sum(len(one.positions) + len(one.failed) for one in parts)
        yield Step((slide.slide_id,), read, total, "HR patches")
    encoded = concatenate(parts)
    require_readable(len(encoded.failed), total, bundle.max_failed)
    return index[inside], encoded


def _escalated(prediction: Prediction, bundle: Bundle, looked: Escalation, answer: Answer) -> Prediction:
    """Return the answer of a teacher, with what its closer look cost."""
    of_slide, total = prediction.bytes_read, looked.patches + looked.failed_patches
    seconds = {"closer": looked.seconds, "total": prediction.timings["total"] + looked.seconds}
    return replace(
        prediction,
        label=answer.label,
        probabilities=answer.values,
        status=answer.status,
        threshold=bundle.decision_of(teacher=True).threshold,
        reasons=answer.reasons,
        plausible=answer.plausible,
        timings={**prediction.timings, **seconds},
        bytes_read=None if of_slide is None or looked.bytes_read is None else of_slide + looked.bytes_read,
        notes=(
            *_without_failure(prediction.notes),
            looked.sentence,
            *unreadable_note(looked.failed_patches, total),
        ),
        escalation=looked,
    )


def _without_failure(notes: Sequence[str]) -> tuple[str, ...]:
    """Return notes without those on a closer look that was not possible before."""
    return tuple(note for note in notes if not note.startswith(COULD_NOT))
