"""Classify the slides of a list in a thread: one bad slide is a failed entry, and the rest goes on."""

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lrmil.errors import LrmilError
from lrmil.slides.resolution import REMEDY
from lrmil.steps import Step
from napari_lrmil.layers.build import LayerData, slide_layer, tissue_layer
from napari_lrmil.state.messages import explain
from napari_lrmil.state.shown import Shown, case_folder
from napari_lrmil.state.worklist import (
    JOB,
    Entry,
    Memory,
    answered,
    failed,
    list_file,
    read_memory,
    stamp_of,
    write_memory,
)

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle
    from lrmil.prediction.prediction import Prediction
    from lrmil.prediction.table import Row
    from lrmil.slides.inputs import Inputs


REMEDY_HERE = "Open it, type it into 'um/px of level 0' of Classify slide, and classify it there."


class Opened(NamedTuple):
    """A slide of the list, ready to be shown."""

    layers: list[LayerData]
    """The slide, and its tissue mask where one was painted."""
    shown: Shown | None
    """What is saved of it, None when there is nothing of the model in use."""
    note: str
    """Why there is nothing, "" otherwise."""


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
    """Classify slides of a list, each into its own results folder; what is there already is passed over.

    Parameters
    ----------
    chosen, entries
        The slides to classify, and all of the list, whose rows go into the table beside.
    folder, results
        Folder of the list, and of all results.
    device, uncertain_below
        As in `lrmil.prediction.batch.predict_one`.

    Yields
    ------
    Step
        Per batch and per slide, with the entry as it is now. Its metrics are ``slides_per_min`` and ``seconds_left``,
        once a slide has been computed.

    Raises
    ------
    OverwriteError
        If the results folder lies in a slide, or another file has the name of the list's own.
    """
    from lrmil.io.ownership import is_worklist, require_free
    from lrmil.models.devices import pick_device
    from lrmil.prediction.table import keep_other_models, write_rows
    from lrmil.slides.failures import CONCERNS_THE_RUN, Failure, reason_of, without_folder
    from lrmil.slides.inputs import Inputs

    device = str(pick_device(device))  # a wrong name concerns no slide
    require_free(list_file(results, folder, ".json"), is_worklist)
    keep_other_models(list_file(results, folder, ".csv"), bundle.sha256)
    read = Inputs(entry.source for entry in entries)
    read.require_clear([results])
    todo = [entry for entry in chosen if not entry.twin]
    known = {entry.path: entry for entry in entries}
    run = _Run(todo)
    for entry in todo:
        yield run.step(replace(entry, status="running", part=0.0))
        try:
            answer = yield from _classify_one(entry, bundle, results, device, uncertain_below, run, read)
        except CONCERNS_THE_RUN:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one slide does, the others go on
            said = LrmilError(explain(error).replace(REMEDY, REMEDY_HERE))
            answer = failed(entry, Failure(reason_of(error), without_folder(said, entry.path)))
        known[entry.path] = answer
        _remember(answer, folder, results, bundle)
        write_rows(list_file(results, folder, ".csv"), list(map(_row, known.values())), bundle.classes)
        yield run.finish(answer)
    yield Step(JOB, len(todo), len(todo), "slides", [known[entry.path] for entry in todo])


def open_entry(entry: Entry, results: Path, bundle_sha256: str) -> Iterator[Step[Opened]]:
    """Open a slide of the list and read what is saved of it.

    Raises
    ------
    SlideError
        If it cannot be opened.
    """
    from lrmil.prediction.files import read_prediction, read_tissue
    from lrmil.slides.slide import open_slide

    slide, out = open_slide(entry.path, mpp=entry.mpp), case_folder(results, entry.slide_id, entry.path)
    layers, note, shown = [slide_layer(slide)], "", None
    prediction = read_prediction(out, entry.slide_id) if entry.done else None
    if prediction is None or prediction.bundle_sha256 != bundle_sha256:
        note = entry.message or f"{entry.slide_id} has not been classified with this model yet."
    elif prediction.slide_fingerprint != slide.fingerprint:
        note = f"{entry.path.name} was changed after it was classified; classify it again."
    else:
        shown = Shown(prediction, entry.source, out)
        if prediction.tissue_source == "given" and (mask := read_tissue(out, entry.slide_id)) is not None:
            layer = tissue_layer(mask, prediction.mpp, slide_id=entry.slide_id)
            layer[1]["metadata"]["lrmil"]["sha256"] = ""  # painted: never to be taken for the one found automatically
            layers.append(layer)
    yield Step("open", 1, 1, result=Opened(layers, shown, note))


def _classify_one(
    entry: Entry, bundle: "Bundle", results: Path, device: str, below: float, run: "_Run", read: "Inputs"
) -> Generator[Step[list[Entry]], None, Entry]:
    from lrmil.prediction.batch import predict_one
    from lrmil.prediction.files import read_tissue

    out = case_folder(results, entry.slide_id, entry.path)
    prediction = _by_painted_tissue(entry, out, bundle)
    if prediction is None:
        mask = read_tissue(out, entry.slide_id)
        for step in predict_one(
            entry.source, bundle, out, device=device, uncertain_below=below, tissue=mask, inputs=read
        ):
            prediction = step.result
            run.computes |= prediction is None  # what is passed over has its answer in its only Step
            part = step.done / step.total if step.total else 0.0
            yield run.step(replace(entry, status="running", part=part))
    if prediction is None:
        raise ValueError("Expected the last Step of a prediction to carry it. Got none.")
    return answered(entry, prediction, bundle.sha256)


def _by_painted_tissue(entry: Entry, out: Path, bundle: "Bundle") -> "Prediction | None":
    """Give the answer of a painted mask: read back, a mask is equal only up to rounding, so its key would differ."""
    from lrmil.prediction.files import is_mask_edited, read_prediction
    from lrmil.slides.slide import open_slide

    prediction = read_prediction(out, entry.slide_id)
    if prediction is None or prediction.tissue_source != "given" or prediction.bundle_sha256 != bundle.sha256:
        return None
    if is_mask_edited(out, entry.slide_id):
        return None
    with open_slide(entry.path, mpp=entry.mpp) as slide:
        return prediction if slide.fingerprint == prediction.slide_fingerprint else None


def _remember(entry: Entry, folder: Path, results: Path, bundle: "Bundle") -> None:
    path = list_file(results, folder, ".json")
    failures = dict(read_memory(path).failures)
    case = case_folder(results, entry.slide_id, entry.path).name
    failures.pop(case, None)
    if entry.status == "failed":
        stamp = stamp_of(entry.path)
        why = {"reason": entry.reason, "message": entry.message}
        failures[case] = {**why, "bundle_sha256": bundle.sha256, "stamp": stamp}
    write_memory(path, Memory(bundle.sha256, failures))


def _row(entry: Entry) -> "Row":
    from lrmil.prediction.table import Row

    if entry.row and entry.done:
        return entry.row
    return Row(entry.slide_id, entry.status, reason=entry.reason, message=entry.message)


class _Run:
    """Counts the slides of a run, and how fast those go that are computed, not passed over."""

    def __init__(self, todo: Sequence[Entry]) -> None:
        self._done, self._total = 0, len(todo)
        self._open = [not entry.done for entry in todo]  # the others are passed over
        self._computed, self._seconds = 0, 0.0
        self._begun = time.monotonic()
        self.computes = False

    def step(self, entry: Entry) -> Step[list[Entry]]:
        """Report a slide while it is read."""
        return Step(JOB, self._done, self._total, "slides", [entry], metrics=self._pace())

    def finish(self, entry: Entry) -> Step[list[Entry]]:
        """Report a slide that is finished."""
        now = time.monotonic()
        if self.computes:
            self._computed, self._seconds = self._computed + 1, self._seconds + now - self._begun
        self._begun, self.computes = now, False
        self._done += 1
        return self.step(entry)

    def _pace(self) -> dict[str, float]:
        if not self._computed:
            return {}
        each = self._seconds / self._computed
        return {"slides_per_min": 60 / each, "seconds_left": each * sum(self._open[self._done :])}
