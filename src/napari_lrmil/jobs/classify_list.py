"""Classify the slides of a list: a slide that fails is a failed entry, and the others are classified."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lrmil.errors import TissueError
from lrmil.slides.failures import Failure
from lrmil.steps import Step
from napari_lrmil.layers.averaged import first_look_steps
from napari_lrmil.layers.build import LayerData, SlideFile, slide_layer, tissue_layer
from napari_lrmil.state.answers import answer_folder, answers_of, case_folder, mask_folder, table_file
from napari_lrmil.state.messages import REWORDING
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.state.worklist import JOB, Entry, failed, failed_by, row_of_entry, with_new_results, with_prediction
from napari_lrmil.state.worklist_memory import Failures, list_file, read_memory

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle
    from lrmil.patches.tissue import GivenMask
    from lrmil.prediction.batch_outputs import BatchOutcome, BatchOutputs
    from lrmil.raster import Raster
    from lrmil.slides.slide import Slide


class Opened(NamedTuple):
    """A slide of the list, ready to be shown."""

    layers: list[LayerData]
    """The slide, and its tissue mask where one was painted."""
    shown: ShownPrediction | None
    """Its saved prediction, None without one by the model in use."""
    note: str
    """Why there is no prediction, "" when there is one."""


def classify_list(
    chosen: Sequence[Entry],
    entries: Sequence[Entry],
    bundle: "Bundle",
    folder: Path,
    results: Path,
    *,
    device: str,
    uncertain_below: float = 0.0,
) -> Iterator[Step[list[Entry]]]:
    """Classify slides of a list, each into its own results folder; skip those that this model has classified already.

    The answers of other models stay, and so do their tables: see `napari_lrmil.state.answers`.

    Parameters
    ----------
    chosen, entries
        The slides to classify, and all slides of the list, whose rows go into the table of results.
    bundle
        The model.
    folder, results
        Folder of the slides, and of all results.
    device, uncertain_below
        As in `lrmil.prediction.options.PredictOptions`.

    Yields
    ------
    Step
        After each batch and each slide, with the changed entry. Once a slide has been computed, the metrics
        ``slides_per_min`` and ``seconds_left`` are there.

    Raises
    ------
    OverwriteError
        If the results folder lies in a slide, or another file has the name of a file of the list.
    OutputError, RunError
        If the results cannot be written, or the list is being classified with this model in another window.
    """
    from lrmil.io.ownership import is_worklist, require_free
    from lrmil.prediction.batch import predict_batch
    from lrmil.prediction.options import PredictOptions
    from lrmil.slides.inputs import Inputs

    path = list_file(results, folder, ".json")
    require_free(path, is_worklist)
    known = {one.path: one for one in with_new_results(entries, results, bundle.sha256, read_memory(path))}
    todo = [known.get(entry.path, entry) for entry in chosen if not entry.duplicate_name]
    run = _Run(todo)
    steps = predict_batch(
        [entry.source for entry in todo],
        bundle,
        _outputs(list(known.values()), folder, results, bundle.sha256),
        PredictOptions(device=device, uncertain_below=uncertain_below, saved_masks=True),
        tissue=_painted_before(todo, results, bundle.sha256),
        inputs=Inputs(entry.source for entry in entries),
        rewording=REWORDING,
    )
    with closing(steps):
        yield from _follow(steps, run, results, Failures(path, bundle.sha256), bundle.sha256)
    yield Step(JOB, len(todo), len(todo), "slides", run.answers)


def open_entry(entry: Entry, results: Path, bundle_sha256: str) -> Iterator[Step[Opened]]:
    """Open a slide of the list and read its saved prediction.

    Parameters
    ----------
    entry
        The slide.
    results, bundle_sha256
        Folder of all results, and hash of the model whose answers are listed.

    Yields
    ------
    Step
        For each part of a slide without coarse levels; the last Step has the slide.

    Raises
    ------
    SlideError
        If it cannot be opened.
    """
    from lrmil.slides.opening import open_slide

    slide = open_slide(entry.path, mpp=entry.mpp)
    layers, note = [slide_layer(slide)], ""
    if layers[0][1]["multiscale"]:
        yield from (step.without_result() for step in first_look_steps(layers[0][0]))
    shown, mask = read_shown(entry, results, bundle_sha256) if entry.done else (None, None)
    if shown is None:
        note = entry.message or f"{entry.slide_id} has not been classified with this model yet."
    elif shown.prediction.slide_fingerprint != slide.fingerprint:
        note, shown = f"{entry.path.name} was changed after it was classified. Classify it again.", None
    elif mask is not None:
        of = SlideFile(entry.slide_id, entry.path, slide.fingerprint)
        layer = tissue_layer(mask, shown.prediction.mpp, of=of)
        layer[1]["metadata"]["lrmil"]["sha256"] = ""  # a painted mask must not pass for the automatic one
        layers.append(layer)
    yield Step(("open",), 1, 1, result=Opened(layers, shown, note))


def read_shown(entry: Entry, results: Path, bundle_sha256: str) -> tuple[ShownPrediction | None, "Raster | None"]:
    """Read what a model said of a slide, and the tissue mask that was painted for it; None for what there is not.

    Parameters
    ----------
    entry
        The slide.
    results, bundle_sha256
        Folder of all results, and hash of the model.
    """
    from lrmil.prediction.files import read_prediction, read_tissue

    out = answers_of(results, entry.slide_id, entry.path).get(bundle_sha256)
    prediction = None if out is None else read_prediction(out, entry.slide_id)
    if out is None or prediction is None:
        return None, None
    mask = read_tissue(out, entry.slide_id) if prediction.tissue_source == "given" else None
    return ShownPrediction(prediction, entry.source, out, "" if mask is None else mask.sha256), mask


def _outputs(entries: Sequence[Entry], folder: Path, results: Path, bundle_sha256: str) -> "BatchOutputs":
    from lrmil.prediction.batch_outputs import BatchOutputs

    return BatchOutputs(
        results,
        table_file(results, folder, bundle_sha256),
        {entry.path: answer_folder(results, entry.slide_id, entry.path, bundle_sha256) for entry in entries},
        [row_of_entry(entry) for entry in entries],
    )


def _painted_before(todo: Sequence[Entry], results: Path, bundle_sha256: str) -> "dict[str, GivenMask]":
    """Return the masks that were painted for answers of other models, for slides that this one has not answered to."""
    places = ((one, mask_folder(results, one.slide_id, one.path, bundle_sha256)) for one in todo)
    return {one.slide_id: _mask_in(place, one.slide_id) for one, place in places if place is not None}


def _mask_in(place: Path, slide_id: str) -> "GivenMask":
    from lrmil.patches.tissue import GivenMask

    def read(_slide: "Slide") -> "Raster":
        from lrmil.prediction.files import read_tissue

        mask = read_tissue(place, slide_id)
        if mask is None:
            raise TissueError(f"The tissue mask in {place.name} was removed. Classify the slide again.")
        return mask

    return GivenMask(read, "The tissue mask is that of another model's answer.")


def _follow(
    steps: "Iterator[Step[BatchOutcome]]", run: "_Run", results: Path, failures: Failures, bundle_sha256: str
) -> Iterator[Step[list[Entry]]]:
    """Turn the Steps of the slides into Steps of the list, and remember which slides failed."""
    try:
        for step in steps:
            outcome = step.result
            if outcome is None:
                yield from run.start_next()
            elif outcome.row is None:
                yield run.read(step, outcome)
            else:
                answer = _answer(run.current, outcome, bundle_sha256)
                why = Failure(answer.reason, answer.message) if answer.status == "failed" else None
                failures.note(case_folder(results, answer.slide_id, answer.path).name, answer.path, why)
                yield run.finish(answer)
                yield from run.start_next()
    finally:
        failures.write()


def _answer(entry: Entry, outcome: "BatchOutcome", bundle_sha256: str) -> Entry:
    if outcome.prediction is not None:
        return with_prediction(entry, outcome.prediction, bundle_sha256)
    if outcome.error is not None:
        return failed_by(entry, outcome.error)
    row = outcome.row
    return failed(entry, Failure(row.reason, row.message)) if row else entry


class _Run:
    """Counts the slides of a run, and the time of those that are computed, not skipped."""

    def __init__(self, todo: Sequence[Entry]) -> None:
        self.answers: list[Entry] = []
        self._todo = todo
        self._left = sum(not entry.done for entry in todo)  # the others are skipped
        self._computed, self._seconds = 0, 0.0
        self._begun = time.monotonic()
        self._computes = False

    @property
    def current(self) -> Entry:
        """The slide that is being read, as it was before."""
        return self._todo[len(self.answers)]

    def start_next(self) -> Iterator[Step[list[Entry]]]:
        """Report the next slide, if there is one."""
        if len(self.answers) < len(self._todo):
            yield self._step(replace(self.current, status="running", part=0.0))

    def read(self, step: Step["BatchOutcome"], outcome: "BatchOutcome") -> Step[list[Entry]]:
        """Report how far the slide is read."""
        self._computes |= outcome.prediction is None  # a skipped slide has its prediction in its only Step
        part = step.done / step.total if step.total else 0.0
        return self._step(replace(self.current, status="running", part=part))

    def finish(self, answer: Entry) -> Step[list[Entry]]:
        """Report a slide that is finished."""
        now = time.monotonic()
        if self._computes:
            self._computed, self._seconds = self._computed + 1, self._seconds + now - self._begun
        self._left -= not self.current.done
        self._begun, self._computes = now, False
        self.answers.append(answer)
        return self._step(answer)

    def _step(self, entry: Entry) -> Step[list[Entry]]:
        return Step(JOB, len(self.answers), len(self._todo), "slides", [entry], metrics=self._pace())

    def _pace(self) -> dict[str, float]:
        if not self._computed:
            return {}
        each = self._seconds / self._computed
        return {"slides_per_min": 60 / each, "seconds_left": each * self._left}
