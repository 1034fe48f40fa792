"""A finished run that goes on with other inputs keeps what it came to: results and model in RUN/earlier-1 and so on."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import torch

from lrmil.errors import FormatError, OverwriteError
from lrmil.io import atomic
from lrmil.io.ownership import (
    Ours,
    is_artefact,
    is_bundle,
    is_bundle_alone,
    is_changes,
    is_checkpoint,
    is_environment,
    is_log,
    is_metrics,
    is_out_of_fold_table,
    is_page,
    is_plan,
    is_problems,
    is_report,
    is_splits,
    require_free,
)
from lrmil.models.bundle import Bundle, load_bundle, save_bundle

# Made anew at the end of every call, so that none of them ever stands beside another plan.
RESULTS: dict[str, Ours] = {
    "metrics.json": is_metrics,
    "predictions.csv": is_out_of_fold_table,
    "report.html": is_page,
    "report.json": is_report,
}
ORIGINS: dict[str, Ours] = {"plan.toml": is_plan, "splits.csv": is_splits}  # of which the results are kept copies
OTHERS: dict[str, Ours] = {
    "plan.toml": is_plan,
    "environment.json": is_environment,
    "problems.json": is_problems,
    "changes.json": is_changes,
    "steps.jsonl": is_log,
}
ARTEFACTS = ("teacher", "evidence", "lr_encoder", "lr_student", "lr_undistilled", "outputs")
FOLD = re.compile(r"fold-\d+|final")
EARLIER = re.compile(r"earlier-([1-9]\d*)")
MODEL = "model"
DATED = ("date", "version")  # of what a model says of its training: no other model for that


def require_free_run(run: Path, *, replace: bool) -> None:
    """Refuse a run folder in which something else has a name that a training writes.

    A splits.csv that is none, in a run of ours, is a damaged one: it is put aside, and drawn again.

    Parameters
    ----------
    run
        Run folder.
    replace
        Whether the model may be deleted; one to which files were added may not.

    Raises
    ------
    OverwriteError
        Naming the file and what to do.
    """
    for name, ours in (OTHERS | RESULTS | {MODEL: is_bundle_alone if replace else is_bundle}).items():
        require_free(run / name, ours)
    for fold in run.iterdir() if run.is_dir() else ():
        if FOLD.fullmatch(fold.name) and fold.is_dir():
            for name in ARTEFACTS:
                require_free(fold / name, is_artefact)
                require_free(fold / f"{name}.checkpoint.safetensors", is_checkpoint)
    try:
        require_free(run / "splits.csv", is_splits)
    except OverwriteError:
        if not is_plan(run / "plan.toml") or not (run / "splits.csv").is_file() or (run / "splits.csv").is_symlink():
            raise
        atomic.move_aside(run / "splits.csv")


def set_aside_results(run: Path, *, replace: bool) -> None:
    """Take the results of an earlier call out of the way: into RUN/earlier-<n> when the run was finished.

    Parameters
    ----------
    replace
        Whether they may be deleted.
    """
    if not replace and is_metrics(run / "metrics.json"):  # the model may have been moved to where it is used
        kept = _next(run)
        atomic.make_folder(kept)
        for name in ORIGINS:
            if (run / name).is_file():
                shutil.copyfile(run / name, kept / name)
        for name in ("predictions.csv", "report.html", "report.json", "metrics.json"):  # without the last: not finished
            if (run / name).is_file():
                atomic.rename(run / name, kept / name)
    for name, ours in RESULTS.items():
        atomic.remove_ours(run / name, ours)


def write_model(run: Path, figures: dict[str, object], bundle: Bundle, *, replace: bool) -> None:
    """Write the model, and keep the one before beside its results unless it is the same.

    Parameters
    ----------
    run
        Run folder.
    figures
        What metrics.json is to hold.
    bundle
        The model to ship.
    replace
        Whether an earlier model may be deleted.
    """
    pending, same = _pending(run), _is_same(run / MODEL, bundle)
    if pending is not None and same and _json(pending / "metrics.json") == json.loads(json.dumps(figures)):
        for name in ("report.html", "report.json"):
            if (pending / name).is_file() and not os.path.lexists(run / name):
                atomic.rename(pending / name, run / name)
        for name, ours in (ORIGINS | RESULTS).items():
            atomic.remove_ours(pending / name, ours)
        if next(pending.iterdir(), None) is None:
            pending.rmdir()
        return
    if same:
        return
    if not replace and is_bundle(run / MODEL):
        kept = pending or _next(run)
        atomic.make_folder(kept)
        atomic.rename(run / MODEL, kept / MODEL)
    save_bundle(run / MODEL, bundle)


def earlier_results(run: Path) -> list[Path]:
    """Folders of earlier results, the oldest first."""
    if not run.is_dir():
        return []
    numbered = [(int(found[1]), path) for path in run.iterdir() if (found := EARLIER.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def _next(run: Path) -> Path:
    taken = [int(path.name.partition("-")[2]) for path in earlier_results(run)]
    return run / f"earlier-{max(taken, default=0) + 1}"


def _pending(run: Path) -> Path | None:
    """The newest folder of results whose model is still the run's own."""
    kept = earlier_results(run)
    newest = kept[-1] if kept else None
    if newest is None or not is_metrics(newest / "metrics.json") or os.path.lexists(newest / MODEL):
        return None
    return newest


def _is_same(folder: Path, bundle: Bundle) -> bool:
    if not is_bundle(folder):
        return False
    try:
        there = load_bundle(folder)
    except (FormatError, OSError):
        return False
    derived = ("encoder", "mil", "sha256", "contract")  # from the weights, compared below, or from what is compared
    plain = [field.name for field in fields(Bundle) if field.name not in derived]
    return all(_plain(getattr(there, name)) == _plain(getattr(bundle, name)) for name in plain) and all(
        _are_same_weights(before, now)
        for before, now in (
            (there.encoder.state_dict(), bundle.encoder.state_dict()),
            (there.mil.state_dict(), bundle.mil.state_dict()),
        )
    )


def _are_same_weights(before: Mapping[str, torch.Tensor], now: Mapping[str, torch.Tensor]) -> bool:
    return before.keys() == now.keys() and all(torch.equal(before[name].cpu(), now[name].cpu()) for name in now)


def _plain(value: object) -> object:
    if isinstance(value, dict):
        return json.loads(json.dumps({name: one for name, one in value.items() if name not in DATED}, default=str))
    return value


def _json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
