"""Keep the results and the model of a finished run in RUN/earlier-1 and so on when it is rerun with other inputs."""

import json
import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import fields
from dataclasses import replace as with_changes
from pathlib import Path

import torch

from lrmil.errors import FormatError, OverwriteError
from lrmil.io import atomic
from lrmil.io.documents import ARTEFACTS
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
    is_sites,
    is_splits,
    require_free,
)
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.models.encoders.loading import Encoder
from lrmil.models.heads.head import MILHead
from lrmil.runs.tested import TESTED

# Rewritten at the end of every call, so that they always belong to the plan beside them.
RESULTS: dict[str, Ours] = {
    "metrics.json": is_metrics,
    "predictions.csv": is_out_of_fold_table,
    "report.html": is_page,
    "report.json": is_report,
}
ORIGINS: dict[str, Ours] = {"plan.toml": is_plan, "splits.csv": is_splits}  # copied beside the results
OTHERS: dict[str, Ours] = {
    "plan.toml": is_plan,
    "environment.json": is_environment,
    "problems.json": is_problems,
    "changes.json": is_changes,
    "sites.json": is_sites,
    "steps.jsonl": is_log,
}
FOLD = re.compile(r"fold-\d+|final")
EARLIER = re.compile(r"earlier-([1-9]\d*)")
MODEL = "model"
DATED = ("date", "version")  # of a model's provenance: a difference here does not make another model


def require_free_run(run: Path, *, replace: bool) -> None:
    """Require that no foreign file in a run folder has the name of an output.

    A damaged splits.csv beside a plan of lrmil is renamed, and the folds are drawn again.

    Parameters
    ----------
    run
        Run folder.
    replace
        Whether the model may be deleted, unless files were added to it.

    Raises
    ------
    OverwriteError
        With the name of the file.
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
    """Move the results of a finished run into RUN/earlier-<n>; delete those of an unfinished one.

    Parameters
    ----------
    run
        Run folder.
    replace
        Whether to delete them in any case.
    """
    if not replace and is_metrics(run / "metrics.json"):  # without a check of the model, which may have been moved
        kept = _next(run)
        atomic.make_folder(kept)
        for name in ORIGINS:
            if (run / name).is_file():
                shutil.copyfile(run / name, kept / name)
        for name in (
            "predictions.csv",
            "report.html",
            "report.json",
            "metrics.json",
        ):  # metrics.json last: it marks a finished run
            if (run / name).is_file():
                atomic.rename(run / name, kept / name)
    for name, ours in RESULTS.items():
        atomic.remove_ours(run / name, ours)


def write_model(run: Path, figures: dict[str, object], bundle: Bundle, *, replace: bool) -> None:
    """Write the model, and keep an earlier one with its results unless it is equal.

    Parameters
    ----------
    run
        Run folder.
    figures
        Content of metrics.json.
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
    """Return the folders of earlier results, the oldest first."""
    if not run.is_dir():
        return []
    numbered = [(int(found[1]), path) for path in run.iterdir() if (found := EARLIER.fullmatch(path.name))]
    return [path for _, path in sorted(numbered)]


def _next(run: Path) -> Path:
    taken = [int(path.name.partition("-")[2]) for path in earlier_results(run)]
    return run / f"earlier-{max(taken, default=0) + 1}"


def _pending(run: Path) -> Path | None:
    """Return the newest folder of results whose model is still in the run folder."""
    kept = earlier_results(run)
    newest = kept[-1] if kept else None
    if newest is None or not is_metrics(newest / "metrics.json") or os.path.lexists(newest / MODEL):
        return None
    return newest


def _is_same(folder: Path, bundle: Bundle) -> bool:
    if not is_bundle(folder):
        return False
    try:
        there = load_bundle(folder, teacher=bundle.teacher is not None)
    except (FormatError, OSError):
        return False
    derived: tuple[str, ...] = (
        "encoder",
        "mil",
        "teacher_networks",
        "sha256",
        "contract",
    )  # derived from weights or from values that are compared
    if there.learned_from is None:  # of a version that did not keep it: the model itself is the same
        derived += ("learned_from",)
    if TESTED not in there.training:  # the same
        derived += ("origins",)
        bundle = with_changes(bundle, training={name: one for name, one in bundle.training.items() if name != TESTED})
    plain = [field.name for field in fields(Bundle) if field.name not in derived]
    return all(_plain(getattr(there, name)) == _plain(getattr(bundle, name)) for name in plain) and all(
        _are_same_weights(before.state_dict(), now.state_dict())
        for before, now in zip(_networks_of(there), _networks_of(bundle), strict=True)
    )


def _networks_of(bundle: Bundle) -> list[Encoder | MILHead]:
    return [bundle.encoder, bundle.mil, *(bundle.teacher_networks or ())]


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
