"""Collect the content of a run's report from the run's folder."""

import datetime
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import tomli_w

from lrmil.cohorts.splits import read_splits
from lrmil.configs import stated
from lrmil.errors import FormatError
from lrmil.features.store import read_card
from lrmil.io import hashing
from lrmil.io.documents import read_json_document
from lrmil.io.redaction import redact_paths
from lrmil.reports.definitions import definitions_of
from lrmil.reports.figures import LossLine
from lrmil.reports.headline import headline
from lrmil.reports.run_notes import difference_note, stage1_note
from lrmil.reports.run_remarks import gap_in_words, remarks_on
from lrmil.reports.run_trust import RunTrust, find_calibrations, run_trust
from lrmil.reports.slide_results import SlideResult, slide_results
from lrmil.runs.arms import ARMS, FINISH, HR, LR, STAGE_NAMES
from lrmil.runs.changes import read_changes
from lrmil.runs.differences import find_differences, verdict
from lrmil.runs.distilled_start import START, start_remark, tested_slides
from lrmil.runs.fold_outputs import read_history
from lrmil.runs.plan_file import read_plan
from lrmil.runs.stage1_figures import Stage1Figures, find_stage1, shortfall
from lrmil.runs.tested import measurement_of
from lrmil.tasks.choice import task_in
from lrmil.tasks.task import Task
from lrmil.training.slide_stage import LABEL_TERM

FORMAT = "lrmil.report/1"


@dataclass(frozen=True, slots=True)
class Report:
    """Content of a report, JSON-ready; `figures` is metrics.json unchanged."""

    format: str
    written: str
    trained: str
    remarks: list[str]
    gap: str
    figures: dict[str, object]
    cost_ratios: dict[str, float | None]
    """HR teacher divided by LR student: seconds, bytes and patches per slide."""
    agreement: dict[str, float | None]
    """LR arm -> mean agreement with the teacher over the test slides."""
    roc: dict[str, dict[str, dict[str, list[float]]]]
    losses: dict[str, list[LossLine]]
    slides: list[SlideResult]
    problems: list[dict[str, object]]
    changes: list[dict[str, object]]
    """Changes between the calls of the run: date and sentences."""
    unreadable: list[dict[str, object]]
    splits: list[dict[str, object]]
    data: dict[str, str]
    settings: str
    """TOML that `lrmil train --config` reads."""
    environment: dict[str, object]
    bundle_sha256: str
    stage1: Stage1Figures | None = None
    """The fidelity of stage 1; None in runs of earlier versions."""
    stage1_shortfall: str = ""
    """Where stage 1 fell short, in a sentence."""
    differences: dict[str, str] = field(default_factory=dict)
    """Arm -> what the interval of the student less it tells, in a sentence; empty in runs of earlier versions."""
    start_remark: str = ""
    """What a distilled encoder that the student started from had seen, in a sentence; "" if there was none."""
    difference_note: str = ""
    """What the student's difference from the baseline is, as the end of a sentence."""
    tested: str = ""
    """Whether the figures are those of the model in RUN/model, in a sentence; "" where that is not certain."""
    stage1_note: str = ""
    """What of student and start is compared with the targets of stage 1, in sentences."""
    headline: str = ""
    """What the run found, in sentences; "" in reports of earlier versions."""
    trust: RunTrust | None = None
    """What the probabilities are worth; None in reports of earlier versions, or if the task has no such figures."""
    definitions: dict[str, str] = field(default_factory=dict)
    """Name of a member with figures -> what they are; {} in reports of earlier versions."""


def gather(run: Path) -> Report:
    """Read the content of a report from the folder of a finished run.

    Raises
    ------
    FormatError
        If a document is damaged.
    """
    config, slides, labels = read_plan(run)
    figures, environment, bundle = (
        read_json(run / name) for name in ("metrics.json", "environment.json", "model/bundle.json")
    )
    task, stage1 = task_in(figures), find_stage1(figures)
    results = slide_results(run, config, task, find_calibrations(figures))
    folds = read_splits(run / "splits.csv")
    hidden = hidden_folders(run, slides, labels)
    stages = [stage for stage in STAGE_NAMES if stage != FINISH or config.finishes]
    agreement = {arm: [result.agreement[arm] for result in results] for arm in ARMS[1:]}
    trust = run_trust(results, task)
    return Report(
        format=FORMAT,
        written=datetime.datetime.now(datetime.UTC).date().isoformat(),
        trained=str(bundle["training"]["date"]),
        remarks=[*_seen(figures), *remarks_on(figures, task, config)],
        gap=gap_in_words(figures, task),
        figures=figures,
        cost_ratios={
            name: _ratio(figures["hr_teacher"][name], figures["lr_student"][name])
            for name in ("seconds_per_slide", "bytes_per_slide", "patches_per_slide")
        },
        agreement={arm: _mean(values) for arm, values in agreement.items()},
        roc=_curves(results, task),
        losses={stage: [_losses(run, fold.name, stage) for fold in folds] for stage in stages},
        stage1=stage1,
        stage1_shortfall=shortfall(stage1) if stage1 else "",
        differences={arm: verdict(arm, found) for arm, found in find_differences(figures).items()},
        start_remark=start_remark(figures.get(START)),
        difference_note=difference_note(config),
        tested=found.sentence if (found := measurement_of(bundle["training"], figures, task)) else "",
        stage1_note=stage1_note(config),
        headline=headline(figures, task, results),
        trust=trust,
        definitions=definitions_of(figures, trust),
        slides=results,
        problems=[redact_paths(problem, hidden) for problem in read_json(run / "problems.json")],
        changes=[redact_paths(entry, hidden) for entry in read_changes(run)],
        unreadable=_unreadable(run),
        splits=[{"fold": f.name, "train": len(f.train), "val": len(f.val), "test": len(f.test)} for f in folds],
        data={"slides": PurePath(slides).name or "slides", "labels": PurePath(labels).name},
        settings=tomli_w.dumps(redact_paths(stated(config), hidden)),
        environment=environment,
        bundle_sha256=hashing.sha256_file(run / "model/bundle.json"),
    )


def hidden_folders(run: Path, slides: str, labels: str) -> tuple[PurePath, ...]:
    """Return the folders that a page about a run must not name.

    Parameters
    ----------
    run
        Run folder.
    slides, labels
        Paths in its plan.
    """
    planned = (PurePath(slides), PurePath(labels).parent)
    targets = (PurePath(os.path.realpath(folder)) for folder in planned)  # slides are found under these names
    return (*planned, *targets, run.resolve(), Path.home())


def read_json(path: Path) -> Any:
    """Read a JSON document of a run.

    Raises
    ------
    FormatError
        If it is damaged.
    """
    try:
        return read_json_document(path)
    except (OSError, FormatError) as error:
        raise FormatError(f"{path} cannot be read: {error}. Run the same lrmil train command again.") from error


def _seen(figures: Mapping[str, Any]) -> list[str]:
    """Return a remark if the encoder that the student started from had seen test slides."""
    start = figures.get(START)
    return [start_remark(start)] if isinstance(start, Mapping) and tested_slides(start) else []


def _ratio(hr: float | None, lr: float | None) -> float | None:
    return hr / lr if hr is not None and lr else None


def _mean(values: Sequence[float | None]) -> float | None:
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None


def _curves(results: Sequence[SlideResult], task: Task) -> dict[str, dict[str, dict[str, list[float]]]]:
    """Return the curves of the task by name and arm: of a classification, ROC curves by class."""
    targets = [task.target(result.label) for result in results]
    found = {arm: task.curves(targets, np.array([result.probabilities[arm] for result in results])) for arm in ARMS}
    return {name: {arm: found[arm][name] for arm in ARMS if found[arm][name]} for name in found[ARMS[0]]}


def _losses(run: Path, fold: str, stage: str) -> LossLine:
    """Read the losses of a stage: for a MIL that against the labels, which training and validation share."""
    rows = read_history(run / fold / stage)
    history = [row for row in rows if "train_loss" in row]  # the others validate the start
    if not history:
        return LossLine(fold, [], [], 0)
    scores = [(row["val_score"], -row["val_loss"]) for row in rows if "val_score" in row]
    # Without a validation the last weights are kept. `max` takes the first of equals, as the training did.
    best = scores.index(max(scores)) + 1 - (len(rows) - len(history)) if scores else len(history)
    train = [epoch.get(f"train_{LABEL_TERM}", epoch["train_loss"]) for epoch in history]
    steps = [int(epoch["step"]) for epoch in history if "step" in epoch] if stage == "lr_encoder" else []
    return LossLine(fold, train, [epoch["val_loss"] for epoch in history if "val_loss" in epoch], best, steps)


def _unreadable(run: Path) -> list[dict[str, object]]:
    cards = {
        (path.stem, kind): read_card(path)
        for kind, folder in (("hr", HR), ("lr", LR))
        for path in sorted((run / folder).glob("*.zarr"))
    }
    return [
        {"slide_id": slide_id, "resolution": kind.upper(), "failed": card.failed, "total": card.total}
        for (slide_id, kind), card in sorted(cards.items())
        if card.failed
    ]
