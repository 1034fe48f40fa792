"""Models that keep their teacher."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch

from lrmil.configs import Teacher
from lrmil.models.bundle import Bundle
from lrmil.models.bundle_weights import Networks
from lrmil.models.heads.choice import make_mil
from lrmil.models.kept_teacher import TeacherCard
from lrmil.operating_point import choose_operating_point
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.decision import Decision, PredictionSets
from support.runs import tiny_bundle, tiny_encoder

CALIBRATION = Calibration(slopes=(1.0, 1.0), offsets=(0.0, 0.0), slides=40)


def decision_of(limits: Sequence[float], threshold: float = 0.5) -> Decision:
    """With these limits of its sets: of 0 both classes are plausible always, of 1 none nearly ever."""
    point = replace(choose_operating_point("youden", [0.2, 0.8], [False, True]), threshold=threshold)
    sets = PredictionSets(coverage=0.9, limits=tuple(limits), by_class=True, slides=(20, 20))
    return Decision(operating_point=point, sets=sets)


def card_of_teacher(
    kind: str = "region", *, limits: Sequence[float] = (0.5, 0.5), regions: int = 2, mpp: float = 1.0
) -> TeacherCard:
    """A teacher that is sure by default: one class is always at least as probable as the limits ask for."""
    return TeacherCard(
        kind=cast(Teacher, kind),
        mpp=mpp,
        min_tissue=0.25,
        regions=regions,
        calibration=CALIBRATION,
        decision=decision_of(limits),
    )


def teaching(
    *,
    kind: str = "region",
    student: Sequence[float] = (0.0, 0.0),
    teacher: Sequence[float] = (0.5, 0.5),
    regions: int = 2,
    mpp: float = 1.0,
) -> Bundle:
    """A tiny model that keeps its teacher, with the limits of the sets of both; the student is uncertain by default."""
    torch.manual_seed(0)
    plain = tiny_bundle()
    encoder = tiny_encoder("test_resnet")
    mil = make_mil(encoder.dim, 2, plain.mil_config, within_regions=kind == "region_attention").eval()
    return replace(
        plain,
        calibration=CALIBRATION,
        decision=decision_of(student),
        teacher=card_of_teacher(kind, limits=teacher, regions=regions, mpp=mpp),
        teacher_networks=Networks(encoder, mil),
    )
