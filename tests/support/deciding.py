"""Models with a threshold, conformal sets and knowledge of their slides."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from lrmil.features.appearance import COLOURS, SKETCH
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.models.familiarity import Familiarity, View
from lrmil.operating_point import choose_operating_point
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.classification import Classification
from lrmil.tasks.decision import Decision, PredictionSets
from support.runs import tiny_bundle


def view(length: int, *, limit: float = 1e9) -> View:
    """Familiar slides around 0."""
    return View(mean=(0.0,) * length, precision=tuple(map(tuple, np.eye(length).tolist())), limit=limit)


def deciding(
    folder: Path,
    limits: Sequence[float],
    *,
    threshold: float,
    tissue: float = 1e9,
    classes: tuple[str, str] = ("no", "yes"),
) -> Bundle:
    """A tiny model that is saved with limits of its sets, a threshold, and how far familiar tissue may lie."""
    torch.manual_seed(0)  # the same weights whatever is decided
    plain = replace(tiny_bundle(), task=Classification(classes))
    point = replace(choose_operating_point("youden", [0.2, 0.8], [False, True]), threshold=threshold)
    sets = PredictionSets(coverage=0.9, limits=tuple(limits), by_class=True, slides=(20, 20))
    known = Familiarity(colours=view(COLOURS), tissue=view(SKETCH, limit=tissue), fewest_patches=1, slides=20)
    calibration = Calibration(slopes=(1.0, 1.0), offsets=(0.0, 0.0), slides=40)
    decision = Decision(operating_point=point, sets=sets)
    save_bundle(folder, replace(plain, calibration=calibration, decision=decision, familiarity=known))
    return load_bundle(folder)
