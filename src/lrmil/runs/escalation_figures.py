"""What a closer look at uncertain slides brings, and what it costs: the curve over the number of regions."""

from collections.abc import Mapping, Sequence

from lrmil.features.store import read_card
from lrmil.runs.calibrated_figures import ShippedAnswers
from lrmil.runs.escalation import TESTED, numbers_of, read_closer_answers, read_teacher_calibration
from lrmil.runs.fold_task import FoldTask
from lrmil.tasks.abstention import abstention_figures
from lrmil.tasks.answers import Answer
from lrmil.tasks.decision import about_classes
from lrmil.tasks.escalation_curve import ESCALATION, Point


def escalation_figures(tasks: Sequence[FoldTask], shipped: Mapping[str, ShippedAnswers]) -> dict[str, object]:
    """Return the member "escalation" of metrics.json; {} unless the model is to keep its teacher.

    Parameters
    ----------
    tasks
        Every trained fold.
    shipped
        Name of each fold with test slides -> the answers of its student.

    Returns
    -------
    dict
        JSON-ready, in one member: "regions", the number that the model looks into; "by_fold", calibration and decision
        of each fold's teacher for that number, or why it has none; and "curve", a `Point` for each number of regions.
        The curve is None if a fold with test slides has no such calibration.

    Raises
    ------
    FormatError
        If what the teachers said, or the features of a slide, are damaged.
    """
    if not tasks[0].config.decision.with_teacher:
        return {}
    regions = tasks[0].config.decision.regions
    by_fold = {task.fold.name: read_teacher_calibration(task, regions).to_dict() for task in tasks}
    own = [task for task in tasks if task.fold.name in shipped]
    numbers = [0, *numbers_of(tasks[0].config)]
    has_all = all(
        read_teacher_calibration(task, number).calibration and shipped[task.fold.name].calibrated
        for task in own
        for number in numbers[1:]
    )
    curve = [_point(own, shipped, number) for number in numbers] if has_all else None
    return {ESCALATION: {"regions": regions, "by_fold": by_fold, "curve": curve}}


def _point(tasks: Sequence[FoldTask], shipped: Mapping[str, ShippedAnswers], regions: int) -> Point:
    targets, answers, lr, hr, looked = [], [], 0, 0, []
    for task in tasks:
        closer = _closer_answers(task, regions) if regions else {}
        for slide_id, first in shipped[task.fold.name].answers.items():
            targets.append(task.labels[slide_id])
            second = closer.get(slide_id) if about_classes(first.reasons) else None
            answers.append(first if second is None else second[0])
            looked += [] if second is None else [second[1]]
            lr, hr = (
                total + read_card(task.encoded(arm, slide_id)).total
                for total, arm in ((lr, "lr_student"), (hr, "hr_teacher"))
            )
    counts = abstention_figures(tasks[0].predicts, targets, answers)
    return {
        "regions": regions,
        "slides": counts["slides"],
        "looked_at": len(looked),
        "uncertain": counts["uncertain"],
        "wrong_answered": counts["wrong_answered"],
        "patches_per_slide": (lr + sum(looked)) / len(answers),
        "share_of_hr": (lr + sum(looked)) / hr,
    }


def _closer_answers(task: FoldTask, regions: int) -> dict[str, tuple[Answer, int]]:
    """Return test slide id -> what the teacher of a fold answers, and how many HR patches it looks at."""
    found, fitted = read_closer_answers(task, TESTED), read_teacher_calibration(task, regions)
    place = found.regions.index(regions)
    return {
        slide_id: (
            task.predicts.answer(task.predicts.calibrated(logits, fitted.calibration), fitted.decision),
            found.patches[slide_id][place],
        )
        for slide_id, logits in found.of(regions).items()
    }
