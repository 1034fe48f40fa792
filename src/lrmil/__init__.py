"""LRMIL: whole-slide classification from low-resolution pixels (arXiv 2606.06864).

Public names are loaded when they are first used, so that ``import lrmil`` stays quick and needs no torch.
"""

import importlib
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOME = {
    "ABMIL": "models.heads.abmil",
    "Bundle": "models.bundle",
    "CohortReport": "cohorts.cohort",
    "LrmilError": "errors",
    "MILOutput": "models.heads.head",
    "Prediction": "prediction.prediction",
    "Raster": "raster",
    "Regions": "patches.drawn_regions",
    "Run": "runs.train",
    "Slide": "slides.slide",
    "Step": "steps",
    "TrainConfig": "configs",
    "labels_from_reviews": "cohorts.reviewed_labels",
    "last": "steps",
    "load_bundle": "models.bundle",
    "load_encoder": "models.encoders.loading",
    "make_patches": "patches.layout",
    "open_slide": "slides.opening",
    "predict": "prediction.inference",
    "predict_steps": "prediction.inference",
    "reader_agreement": "reviews.agreement",
    "segment_tissue": "patches.tissue",
    "train": "runs.train",
    "train_steps": "runs.train",
    "validate_cohort": "cohorts.cohort",
}
_MODULES = ("configs", "errors", "geometry", "losses", "metrics", "targets")

__all__ = ["__version__", *sorted(_HOME), *_MODULES]

if TYPE_CHECKING:
    from lrmil import configs, errors, geometry, losses, metrics, targets
    from lrmil.cohorts.cohort import CohortReport, validate_cohort
    from lrmil.cohorts.reviewed_labels import labels_from_reviews
    from lrmil.configs import TrainConfig
    from lrmil.errors import LrmilError
    from lrmil.models.bundle import Bundle, load_bundle
    from lrmil.models.encoders.loading import load_encoder
    from lrmil.models.heads.abmil import ABMIL
    from lrmil.models.heads.head import MILOutput
    from lrmil.patches.drawn_regions import Regions
    from lrmil.patches.layout import make_patches
    from lrmil.patches.tissue import segment_tissue
    from lrmil.prediction.inference import predict, predict_steps
    from lrmil.prediction.prediction import Prediction
    from lrmil.raster import Raster
    from lrmil.reviews.agreement import reader_agreement
    from lrmil.runs.train import Run, train, train_steps
    from lrmil.slides.opening import open_slide
    from lrmil.slides.slide import Slide
    from lrmil.steps import Step, last


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"lrmil.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"lrmil.{name}")
    raise AttributeError(f"module 'lrmil' has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
