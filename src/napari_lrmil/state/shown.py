"""The prediction that a window shows, and the folder that it is saved in."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.slides.source import SlideSource
from lrmil.steps import Step
from napari_lrmil.state.answers import IN_REGIONS, answer_folder
from napari_lrmil.state.drawn_on import DrawnOn, require_drawn_on
from napari_lrmil.state.painted_mask import PaintedMask, require_mask_of

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle
    from lrmil.patches.tissue import Given
    from lrmil.prediction.prediction import Prediction


@dataclass(frozen=True, slots=True)
class ShownPrediction:
    """A prediction of a slide, and where it belongs.

    Made by `shown_steps` and by `napari_lrmil.jobs.classify_list.open_entry`; a `Session` shows it.

    Attributes
    ----------
    prediction
        The output of the model; partial while the slide is being read.
    source
        The slide's id, its path and, if it was given by hand, its um/px.
    out
        Folder of the saved prediction.
    mask_sha256
        Hash of the tissue mask that a person painted for it, "" for the automatic one.
    drawn
        The regions in which it was classified; None for the whole slide.
    """

    prediction: "Prediction"
    source: SlideSource
    out: Path
    mask_sha256: str = ""
    drawn: DrawnOn | None = None

    @property
    def complete(self) -> bool:
        """Whether the slide has been read to its end."""
        return self.prediction.status != "partial"


def shown_steps(
    source: SlideSource,
    bundle: "Bundle",
    results: Path,
    device: str,
    painted: PaintedMask | None,
    below: float,
    *,
    drawn: DrawnOn | None = None,
    escalate: bool = False,
) -> "Iterator[Step[ShownPrediction]]":
    """Classify one slide into its folder, or read its saved prediction.

    Parameters
    ----------
    source
        The slide.
    bundle
        The model.
    results
        Folder of all results.
    device, below, escalate
        As ``device``, ``uncertain_below`` and ``escalate`` of `lrmil.prediction.options.PredictOptions`.
    painted
        Tissue mask that the user painted, None for the automatic one.
    drawn
        Regions in which alone tissue counts, None for the whole slide. Their answer has a folder of its own, so that
        it never stands for one of the whole slide.

    Yields
    ------
    Step
        After each batch of patches, with the prediction from all patches read by then.

    Raises
    ------
    TissueError
        If the mask or the regions are not of this slide.
    """
    from lrmil.patches.tissue import Within
    from lrmil.prediction.one import predict_one
    from lrmil.prediction.options import PredictOptions
    from lrmil.slides.opening import open_source

    if painted is not None or drawn is not None:
        with open_source(source) as slide:
            if painted is not None:
                require_mask_of(slide, painted)
            if drawn is not None:
                require_drawn_on(slide, drawn)
    given: Given | None = painted and painted.mask
    options = PredictOptions(device=device, uncertain_below=below, live=True, escalate=escalate)
    mask = "" if painted is None else painted.mask.sha256
    part = "" if drawn is None else IN_REGIONS
    out = answer_folder(results, source.slide_id, source.path, bundle.sha256, part=part)
    if drawn is not None:
        given = Within(painted and painted.mask, drawn.regions)
    for step in predict_one(source, bundle, out, options, tissue=given):
        result = None if step.result is None else ShownPrediction(step.result, source, out, mask, drawn)
        yield Step(step.job, step.done, step.total, step.unit, result, step.message, step.metrics)
