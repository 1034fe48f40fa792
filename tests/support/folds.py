"""A fold of a run without slides: its features are written, so that what is trained on them takes a moment."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any, Never, cast

import numpy as np
from numpy.typing import NDArray

from lrmil.cohorts.splits import Fold
from lrmil.configs import TrainConfig, with_settings
from lrmil.models.encoders.loading import Encoder
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import features_of
from lrmil.runs.evidence import make_evidence
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.fold_training import train_on_labels, train_slide_stage
from lrmil.runs.head_choice import choose_head
from lrmil.runs.slide_encoding import Computing
from lrmil.steps import Step
from lrmil.tasks.classification import Classification
from lrmil.training.fidelity_figures import FIDELITY, Fidelity, Match
from support.bags import CPU
from support.runs import write_bag

SETTINGS: dict[str, object] = {"mil.hidden_dim": 8, "mil.seeds": 2, "mil.fit.epochs": 15, "mil.fit.learning_rate": 0.02}
Values = Callable[[np.random.Generator, int, str], NDArray[np.float64]]


def make_fold(run: Path, values: Values, *, cases: int = 8, r2: float | None = 0.9, **settings: object) -> FoldTask:
    """A fold of two classes, a third of the cases with two slides; 4 cases are tested, 2 validated.

    `r2` is what its stage 1 states.

    `values` gives the embeddings (n, d) of a slide from its generator, its class and an arm; n is a square.
    """
    changed = {name.replace("__", "."): value for name, value in settings.items()}
    config = with_settings(TrainConfig(), {**SETTINGS, **changed})
    case_of = {
        f"s{number}{part}": f"p{number}" for number in range(2 * cases) for part in "ab"[: 1 + (number % 3 == 0)]
    }
    labels = {slide_id: int(case[1:]) % 2 for slide_id, case in case_of.items()}
    for place, (slide_id, label) in enumerate(labels.items()):
        rng = np.random.default_rng(place)
        for arm in ("hr_teacher", "lr_undistilled", "lr_student"):
            bag = values(rng, label, arm)
            index = np.argwhere(np.ones((round(len(bag) ** 0.5),) * 2, bool))
            write_bag(features_of(run, "fold-0", slide_id, arm, teacher=config.teacher), index, bag)
    match = Match(r2, 0.9, 4.0)
    (run / "fold-0/lr_encoder").mkdir()
    (run / "fold-0/lr_encoder" / FIDELITY).write_text(json.dumps(asdict(Fidelity(8, match, match, 4.0))))
    tested = {f"p{number}" for number in range(4)}
    validated = {f"p{number}" for number in range(4, 6)}
    parts = [
        tuple(i for i in case_of if (case_of[i] in tested, case_of[i] in validated) == where)
        for where in ((False, False), (False, True), (True, False))
    ]
    return FoldTask(
        run=run,
        fold=Fold("fold-0", *parts),
        sources={},
        labels=labels,
        cases=case_of,
        strata={slide_id: f"class {label}" for slide_id, label in labels.items()},
        predicts=Classification(("class 0", "class 1")),
        student_start=cast(Encoder, None),
        plan=PatchPlan(mpp=2.0, size=64, children=4, min_tissue=0.25, min_tissue_hr=0.25, max_failed=0.2),
        config=config,
        computing=Computing(CPU),
    )


def through_stage_2(task: FoldTask) -> Iterator[Step[Never]]:
    """Choose the head, then train the teacher, its evidence and the student."""
    task = yield from choose_head(task)
    yield from train_on_labels(task, "hr_teacher")
    yield from make_evidence(task)
    yield from train_slide_stage(task)


def inputs_of(folder: Path) -> dict[str, Any]:
    """Return what an artefact states that it was made from."""
    return dict(json.loads((folder / "artefact.json").read_text())["inputs"])
