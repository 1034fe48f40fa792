"""What a model said of a slide, and the folder that it is kept in."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lrmil.io import hashing
from lrmil.raster import Raster
from lrmil.slides.source import SlideSource
from lrmil.steps import Step

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle
    from lrmil.prediction.prediction import Prediction


@dataclass(frozen=True, slots=True)
class ShownPrediction:
    """A prediction and where it belongs.

    Attributes
    ----------
    prediction
        What the model says; partial while the slide is read.
    source
        The slide's id, path and, when it was given by hand, its um/px.
    out
        Folder that the prediction is kept in.
    """

    prediction: "Prediction"
    source: SlideSource
    out: Path

    @property
    def complete(self) -> bool:
        """Whether the slide has been read to its end."""
        return self.prediction.status != "partial"


def case_folder(results: Path, slide_id: str, path: Path) -> Path:
    """Folder for one slide's prediction: slides of one name in two folders do not overwrite each other."""
    real = os.path.realpath(path)  # unlike Path.resolve, no error where links lead in a circle
    return results / f"{slide_id}-{hashing.sha256_of(real)[:8]}"


def shown_steps(
    source: SlideSource, bundle: "Bundle", results: Path, device: str, mask: Raster | None, below: float
) -> "Iterator[Step[ShownPrediction]]":
    """Classify one slide into its folder, or read the answer that is there; each Step carries what is known by then."""
    from lrmil.prediction.one import predict_one
    from lrmil.prediction.options import PredictOptions

    options = PredictOptions(device=device, uncertain_below=below, live=True)
    out = case_folder(results, source.slide_id, source.path)
    for step in predict_one(source, bundle, out, options, tissue=mask):
        result = None if step.result is None else ShownPrediction(step.result, source, out)
        yield Step(step.job, step.done, step.total, step.unit, result, step.message, step.metrics)
