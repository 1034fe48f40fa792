"""The MILs of a fold: those of the three arms, of inner folds, and of the calibration (method.md section 3).

The inputs of each name its slides. No test slide of the fold is among them.
"""

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Never, TypeVar

from torch import Tensor, nn

from lrmil.configs import MILConfig, Stage2Config
from lrmil.features.store import read_card
from lrmil.io.documents import held_out_name, inner_name
from lrmil.io.tensors import load_tensors
from lrmil.models.heads.head import MILHead
from lrmil.runs.arms import ARM_NAMES
from lrmil.runs.artefacts import key_of
from lrmil.runs.fold_outputs import WEIGHTS, read_evidence, read_teacher_outputs, save_mil
from lrmil.runs.fold_task import FoldTask
from lrmil.runs.stage1_figures import read_fidelity
from lrmil.runs.stages import Artefact, train_artefact
from lrmil.steps import Step
from lrmil.tasks.choice import stated_name
from lrmil.training.bags import Bag, student_bag
from lrmil.training.loop import Fit, FitRun
from lrmil.training.slide_stage import budget_of, resolve_balance, train_mil

T = TypeVar("T")
INNER_JOB = "inner folds"
CALIBRATION_JOB = "calibration"
INNER_SEEDS = 3  # members of an ensemble of an inner fold; each slide has the outputs of one ensemble alone


def train_on_labels(task: FoldTask, arm: str) -> Iterator[Step[Never]]:
    """Train the MIL of an arm that learns from labels alone.

    Parameters
    ----------
    task
        The fold.
    arm
        hr_teacher or lr_undistilled.

    Yields
    ------
    Step
        Of the training.
    """
    yield from _train_mil(task, _arm_mil(task, arm), partial(_labelled_bag, task, arm))


def train_inner(task: FoldTask, arm: str, number: int, held_out: Sequence[str]) -> Generator[Step[Never], None, None]:
    """Train the MIL of an arm on the slides that an inner fold does not hold out, from labels alone.

    Parameters
    ----------
    task
        The fold.
    arm
        hr_teacher or lr_undistilled.
    number
        Number of the inner fold, from 0.
    held_out
        Its slides, which this MIL does not see.

    Yields
    ------
    Step
        Of the training.
    """
    seeds = min(task.config.mil.seeds, INNER_SEEDS)
    mil = _MIL(
        inner_folder(task, arm, number).name,
        INNER_JOB,
        train=_left(task, held_out),
        config=replace(task.config.mil, seeds=seeds),
        seed=task.seed(f"mil inner {number}"),
        says=f"{ARM_NAMES[arm]}, head {task.head}: trained once without each inner fold",
    )
    yield from _train_mil(task, mil, partial(_labelled_bag, task, arm))


def inner_steps(task: FoldTask, held_out: Sequence[str]) -> int:
    """Return the number of optimisation steps of `train_inner`.

    Parameters
    ----------
    task, held_out
        As there.
    """
    return budget_of(task.config.mil, len(_left(task, held_out))).steps


def inner_folder(task: FoldTask, arm: str, number: int) -> Path:
    """Return the folder of the MIL that `train_inner` trains.

    Parameters
    ----------
    task, arm, number
        As there.
    """
    return task.folder / inner_name(task.mil(arm).name, task.head, number)


def train_held_out(task: FoldTask, number: int, held_out: Sequence[str]) -> Iterator[Step[Never]]:
    """Train the MIL of the student as stage 2 does, on the slides that a fold for the calibration does not hold out.

    Parameters
    ----------
    task
        The fold, with the features of its student.
    number, held_out
        Number of the fold for the calibration, from 0, and its slides.

    Yields
    ------
    Step
        Of the training.
    """
    mil = _MIL(
        held_out_name(number),
        CALIBRATION_JOB,
        train=_left(task, held_out),
        config=replace(task.config.mil, seeds=min(task.config.mil.seeds, INNER_SEEDS)),
        seed=task.seed(f"mil held out {number}"),
        says="trained once without each fold",
    )
    terms = replace(student_terms(task), warm_start=False)  # the teacher's weights know the labels of all slides
    yield from _train_mil(task, mil, student_bags(task), stage2=terms)


def _left(task: FoldTask, held_out: Sequence[str]) -> tuple[str, ...]:
    """Return the training and validation slides that an inner fold does not hold out."""
    return tuple(sorted({*task.fold.train, *task.fold.val} - {*held_out}))


def train_slide_stage(task: FoldTask) -> Iterator[Step[Never]]:
    """Train the MIL of the student, stage 2: from labels, and from the teacher's outputs if they are of use."""
    stage2 = student_terms(task)
    if task.config.stage2.warm_start and not stage2.warm_start and read_evidence(task.folder).used:
        yield Step((task.fold.name, "lr_student"), 0, message=_cold(task))
    start = load_tensors(task.mil("hr_teacher") / WEIGHTS) if stage2.warm_start else None
    yield from _train_mil(task, _arm_mil(task, "lr_student"), student_bags(task), start=start, stage2=stage2)


def student_bags(task: FoldTask) -> Callable[[str], Bag]:
    """Return what makes the bag of a slide for the student, by its id."""
    outputs = read_teacher_outputs(task.folder)

    def bag(slide_id: str) -> Bag:
        lr, attended = (task.features(arm, slide_id) for arm in ("lr_student", "hr_teacher"))
        made = student_bag(slide_id, lr, attended, task.labels[slide_id], outputs[slide_id], children=task.attended)
        return replace(made, stratum=task.strata[slide_id])

    return bag


def student_terms(task: FoldTask) -> Stage2Config:
    """Return the settings of the student's losses: those against the labels alone where the evidence is of no use.

    There is no warm start where stage 1 falls short of `stage2.warm_start_r2`: the teacher's weights fit its own
    embeddings (method.md section 7).
    """
    stage2 = task.config.stage2
    if not read_evidence(task.folder).used:
        return replace(stage2, lambda_bag=0.0, lambda_soft=0.0, lambda_hard=0.0, warm_start=False)
    return replace(stage2, warm_start=stage2.warm_start and _reached(task) >= stage2.warm_start_r2)


def stated_terms(stage2: Stage2Config) -> dict[str, object]:
    """Return settings of the student's losses as inputs of an artefact: what came of them, not the limit of the R2."""
    return {name: value for name, value in asdict(stage2).items() if name != "warm_start_r2"}


def _reached(task: FoldTask) -> float:
    """Return the R2 of stage 1; minus infinity if it is not defined."""
    found = read_fidelity(task.folder).distilled.r2
    return -math.inf if found is None else found


def _cold(task: FoldTask) -> str:
    limit = task.config.stage2.warm_start_r2
    return f"stage 1 reaches an R2 of {_reached(task):.2f}, below {limit:.2f}: no warm start from the teacher's weights"


def mil_parts(task: FoldTask) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the slides that a MIL learns from, and those that select its epoch: none under a fixed schedule."""
    fold = task.fold
    return (fold.train, fold.val) if task.schedule == "selected" else (fold.train + fold.val, ())


@dataclass(frozen=True, slots=True)
class _MIL:
    """A MIL to train: name of its artefact and of its job, the slides it sees, its settings and its seed."""

    name: str
    job: str
    train: tuple[str, ...]
    config: MILConfig
    seed: int
    val: tuple[str, ...] = ()
    """Slides that select the epoch; if there are none, the MIL is trained for all epochs."""
    says: str = ""
    """What the job says when it begins; "" for `describe_parts`."""


def describe_parts(train: Sequence[str], val: Sequence[str]) -> str:
    """Say how many slides are learned from, and whether others select the epoch.

    Parameters
    ----------
    train, val
        Their ids.
    """
    how = f"the epoch is selected on {len(val)} validation slides" if val else "for all epochs"
    return f"trained on {len(train)} slides; {how}"


def _arm_mil(task: FoldTask, arm: str) -> _MIL:
    name = task.mil(arm).name
    train, val = mil_parts(task)
    return _MIL(name, name, train, task.config.mil, task.seed("mil"), val)


def _labelled_bag(task: FoldTask, arm: str, slide_id: str) -> Bag:
    features, nested = task.features(arm, slide_id), task.nested(arm, slide_id)
    return Bag(slide_id, features, task.labels[slide_id], stratum=task.strata[slide_id], nested=nested)


def _train_mil(
    task: FoldTask,
    mil: _MIL,
    bag_of: Callable[[str], Bag],
    *,
    start: dict[str, Tensor] | None = None,
    stage2: Stage2Config | None = None,
) -> Iterator[Step[Never]]:
    bags = {slide_id: bag_of(slide_id) for slide_id in (*mil.train, *mil.val)}
    config = replace(mil.config, balance=resolve_balance(mil.config.balance, [bags[i] for i in mil.train]))
    inputs: dict[str, object] = {
        "what": mil.name,
        "mil": asdict(config),
        "seed": mil.seed,
        "schedule": "selected" if mil.val else "fixed",
        **by_part(mil.train, mil.val, lambda i: [bags[i].target, read_card(bags[i].features).key]),
    }
    if stated_name(task.predicts):
        inputs |= {"task": task.predicts.to_dict()}
    if any(bag.nested for bag in bags.values()):  # the key of regions is that of their HR patches, however weighed
        inputs |= {"within_regions": "attention"}
    if stage2 is not None:
        inputs |= {"stage2": stated_terms(stage2), "evidence": key_of(task.folder / "evidence")}
    job = task.fold.name, mil.job

    def fit(run: FitRun) -> Iterator[Step[Fit]]:
        yield Step(job, 0, message=mil.says or describe_parts(mil.train, mil.val))
        train, val = ([bags[slide_id] for slide_id in part] for part in (mil.train, mil.val))
        yield from train_mil(job, train, val, run, task=task.predicts, config=config, stage2=stage2, start=start)

    yield from train_artefact(task, Artefact(mil.name, mil.job, inputs), mil.seed, fit, _save_mil)


def by_part(train: Sequence[str], val: Sequence[str], of: Callable[[str], T]) -> Mapping[str, dict[str, T]]:
    """Return something of each slide to train and to validate on, as inputs of an artefact.

    Parameters
    ----------
    train, val
        Ids of the slides.
    of
        Slide id -> what of it, JSON-ready.
    """
    parts = {"train": train, "val": val}
    return {part: {slide_id: of(slide_id) for slide_id in slide_ids} for part, slide_ids in parts.items()}


def _save_mil(folder: Path, module: nn.Module) -> None:
    if not isinstance(module, MILHead):
        raise TypeError(f"Expected a MIL from the slide stage. Got {type(module).__name__}.")
    save_mil(folder, module)
