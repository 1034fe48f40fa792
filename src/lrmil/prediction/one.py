"""Classify one slide into a folder, or read the answer that is stored there."""

import time
from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np

from lrmil.features.slide_features import EXTRACTION_VERSION
from lrmil.io import hashing
from lrmil.models.bundle import Bundle
from lrmil.models.familiarity import unfamiliar
from lrmil.patches.drawn_regions import Regions
from lrmil.patches.tissue import Given, GivenMask, Within, regions_of
from lrmil.prediction.closer_look import settle_steps, teacher_answer, why_not_closer
from lrmil.prediction.escalation import Escalation
from lrmil.prediction.files import (
    FORMAT,
    is_mask_edited,
    read_prediction,
    read_tissue,
    require_free_outputs,
    write_prediction,
)
from lrmil.prediction.inference import classify_steps
from lrmil.prediction.options import DEFAULTS, PredictOptions
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.slides.failures import require_short_name
from lrmil.slides.inputs import Inputs
from lrmil.slides.opening import open_source
from lrmil.slides.parts import changed_at
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, relay_all
from lrmil.tasks.decision import about_classes


def predict_one(
    source: SlideSource,
    bundle: Bundle,
    out: Path,
    options: PredictOptions = DEFAULTS,
    *,
    tissue: Given | None = None,
    inputs: Inputs | None = None,
) -> Generator[Step[Prediction], None, None]:
    """Classify one slide into a folder, or read the stored answer of the same slide, mask, regions and model.

    Parameters
    ----------
    source, bundle, options
        The slide, the model, and how it is classified.
    out
        Folder of the files, created if absent; they are named after the slide's id.
    tissue
        As in `classify_steps`.
    inputs
        All that is read, if it is more than the slide.

    Yields
    ------
    Step
        As `predict_steps`; only the last if the stored answer is current.

    Raises
    ------
    OverwriteError
        If a file that lrmil did not write, or an input, has the name of an output.
    SlideError, ResolutionError, TissueError
        As `predict_steps`.
    """
    start, name, job = time.perf_counter(), source.slide_id, ("predict", source.slide_id)
    require_short_name(name)
    with open_source(source) as slide:
        slide.require_mpp(bundle.mpp)  # a slide that is refused now must not keep its earlier answer
        given, regions = regions_of(slide, tissue)
        saved = read_tissue(out, name) if options.saved_masks else None
        given = given if saved is None else saved
        mask = given.read(slide) if isinstance(given, GivenMask) else given
        key, key_if_damaged = _keys(source, slide, bundle, options, mask, regions)
        as_saved = saved is not None and not is_mask_edited(out, name)
        # A mask that was stored and read is equal only up to rounding, so its key differs.
        keys = () if as_saved else (key, key_if_damaged)
        stored = read_prediction(out, name, keys=keys, task=bundle.task)
        if stored and not _counts(stored, source, slide, bundle, options, regions, with_saved_mask=as_saved):
            stored = None
        prediction = stored
        if prediction is None or (options.escalate and not why_not_closer(bundle, prediction)):
            require_free_outputs(out, name, mask, inputs or Inputs([source]))
            steps = _answer(slide, bundle, options, stored, tissue=_as_read(given, mask, regions), start=start)
            prediction = yield from relay_all(steps, job=job)
            if stored is None or prediction.notes != stored.notes:  # a closer look adds a note, also if it failed
                used = key_if_damaged if prediction.failed_patches or slide.damaged else key
                bounds = {"subtract_bounds": options.subtract_bounds}
                prediction = write_prediction(out, name, prediction, slide, key=used, tissue=mask, **bounds)
        total = len(prediction.patches) + prediction.failed_patches
        yield Step(job, total, total, "patches", prediction)


def _as_read(tissue: Raster | GivenMask | None, mask: Raster | None, regions: Regions | None) -> Given | None:
    """Return what was given, not to be read again, with the note on the origin of the mask."""
    read = GivenMask(lambda _: mask, tissue.note) if mask and isinstance(tissue, GivenMask) else mask
    return read if regions is None else Within(read, regions)


def _answer(
    slide: Slide,
    bundle: Bundle,
    options: PredictOptions,
    stored: Prediction | None,
    *,
    tissue: Given | None,
    start: float,
) -> Iterator[Step[Prediction]]:
    """Classify a slide, or look closer at one whose answer is stored."""
    if stored is None:
        return classify_steps(slide, bundle, options, tissue=tissue, start=start)
    return settle_steps(slide, bundle, stored, options, tissue=tissue)


def _keys(
    source: SlideSource,
    slide: Slide,
    bundle: Bundle,
    options: PredictOptions,
    mask: Raster | None,
    regions: Regions | None,
) -> tuple[str, str]:
    """Hash what an answer is made from; the second hash, for a damaged slide, changes with the time of its file."""
    bounds = ["bounds subtracted"] if options.subtract_bounds else []
    made_from = [slide.fingerprint, source.mpp, bundle.sha256, options.uncertain_below, mask and mask.sha256, *bounds]
    key = hashing.sha256_of([FORMAT, EXTRACTION_VERSION, *made_from, *([regions.used.to_dict()] if regions else [])])
    return key, hashing.sha256_of([key, changed_at(source.path)])


def _counts(
    prediction: Prediction,
    source: SlideSource,
    slide: Slide,
    bundle: Bundle,
    options: PredictOptions,
    regions: Regions | None,
    *,
    with_saved_mask: bool,
) -> bool:
    """Return whether a stored answer is unedited, used a mask if one is stored, and was compared with the checksums."""
    return (
        _is_of(prediction, slide, bundle, options.uncertain_below)
        and prediction.regions == (regions and regions.used)
        and (not with_saved_mask or prediction.tissue_source == "given")
        and (not source.checksums or prediction.checksum == slide.checksum)
    )


def _is_of(prediction: Prediction, slide: Slide, bundle: Bundle, uncertain_below: float) -> bool:
    """Return whether a stored answer agrees with this slide and model; its key does, but the rest may be edited."""
    grid, failed = prediction.patches.grid, prediction.failed_patches
    total = len(prediction.patches) + failed
    unlike = unfamiliar(bundle.familiarity, prediction.appearance, patches=total, failed=failed)
    looked, names = prediction.escalation, bundle.task.names
    first: Prediction | Escalation = prediction if looked is None else looked
    values = np.array([first.probabilities[name] for name in names])
    answer = bundle.task.answer(values, bundle.decision, uncertain_below=uncertain_below).with_doubts(unlike)
    return (
        (prediction.slide_fingerprint, prediction.bundle_sha256) == (slide.fingerprint, bundle.sha256)
        and (prediction.mpp, grid.slide_mpp, grid.mpp, grid.size)
        == (slide.mpp, slide.mpp, bundle.mpp, bundle.patch_size)
        and failed <= bundle.max_failed * (len(prediction.patches) + failed)
        and (first.label, first.threshold, first.reasons) == (answer.label, bundle.decision.threshold, answer.reasons)
        and first.plausible == answer.plausible
        and (
            prediction.status == answer.status
            if looked is None
            else _is_of_teacher(prediction, bundle, uncertain_below)
        )
        and (bundle.familiarity is None or prediction.appearance is not None)
    )


def _is_of_teacher(prediction: Prediction, bundle: Bundle, uncertain_below: float) -> bool:
    """Return whether the answer after a closer look is what the teacher of a model says."""
    looked = prediction.escalation
    if bundle.teacher is None or looked is None or not about_classes(looked.reasons):
        return False
    values = np.array([prediction.probabilities[name] for name in bundle.task.names])
    answer = teacher_answer(bundle, values, uncertain_below=uncertain_below)
    return (prediction.label, prediction.status, prediction.reasons, prediction.plausible, prediction.threshold) == (
        answer.label,
        answer.status,
        answer.reasons,
        answer.plausible,
        bundle.teacher.decision.threshold,
    ) and (looked.mpp == bundle.teacher.mpp and 1 <= looked.regions <= bundle.teacher.regions)
