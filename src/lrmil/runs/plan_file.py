"""The plan of a training run, RUN/plan.toml in the format lrmil.run/1; without torch, for viewers."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import tomli_w

from lrmil.cohorts.columns import TableOptions, options_from_dict
from lrmil.config_groups import merged
from lrmil.configs import TrainConfig, from_dict, stated
from lrmil.errors import FormatError
from lrmil.io import atomic, hashing
from lrmil.io.documents import read_toml_document
from lrmil.io.ownership import is_plan
from lrmil.tasks.task import Task

FORMAT = "lrmil.run/1"
ANY_R2 = -1e9
EARLIER: dict[str, object] = {  # what plans without these settings did
    "teacher": "patch",
    "stage1": {"lambda_keep": 0.0, "stain": 0.0, "fit": {"ema": 0.0}},
    "mil": {"seeds": 1, "select_from": 0, "balance": "none", "fit": {"ema": 0.0}},
    "stage2": {"inner_folds": 0, "warm_start_r2": ANY_R2},
    "calibration": {"folds": 0},
}


def write_plan(
    folder: Path,
    config: TrainConfig,
    slides: str,
    labels: str,
    *,
    options: TableOptions | None = None,
    task: Task | None = None,
) -> None:
    """Write the plan of a run.

    Parameters
    ----------
    folder
        Run folder.
    config
        Settings.
    slides, labels
        Absolute paths of the slides and of the labels table.
    options
        How the labels table is read.
    task
        What is predicted.

    Raises
    ------
    OverwriteError, OutputError
        If it cannot be written.
    """
    document: dict[str, object] = {"format": FORMAT, "slides": slides, "labels": labels}
    document |= task.to_dict() if task else {}
    if chosen := {name: value for name, value in asdict(options or TableOptions()).items() if value}:
        document["table"] = chosen
    document["settings"] = stated(config)
    atomic.write_text(folder / "plan.toml", tomli_w.dumps(document), is_plan)


def read_plan(folder: Path) -> tuple[TrainConfig, str, str]:
    """Read the settings of a run, and the paths of its slides and labels table, which are relative in earlier plans.

    Raises
    ------
    FormatError
        If the folder contains no run, or a run of another version.
    """
    document = _read(folder)
    try:
        settings = from_dict(_translated(document["settings"]))  # type: ignore[arg-type]
    except (OverflowError, RecursionError) as error:
        raise FormatError(f"The settings in {folder / 'plan.toml'} cannot be read: {error}.") from error
    return settings, str(document["slides"]), str(document["labels"])


def read_table_options(folder: Path) -> TableOptions:
    """Read the options of a run's labels table.

    Raises
    ------
    FormatError
        As `read_plan`.
    """
    return options_from_dict(_read(folder).get("table", {}))


def read_classes(folder: Path) -> tuple[str, ...]:
    """Return the classes of a run in order; () if its plan does not state them, as in older runs.

    Raises
    ------
    FormatError
        As `read_plan`.
    """
    found = _read(folder).get("classes")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _translated(settings: dict[str, object]) -> dict[str, object]:
    """Return settings of this version for those of an earlier one, which trained as `EARLIER` states.

    Stage 1 was trained for a number of epochs, which is no number of steps: the budget is then this version's, unless
    there were none.
    """
    settings = {name: merged(EARLIER.get(name), value) for name, value in {**EARLIER, **settings}.items()}
    match settings:
        case {"stage1": {"fit": {"epochs": epochs, **fit} as stated, **stage1}, **rest} if "steps" not in stated:
            kept = {name: value for name, value in fit.items() if name != "patience"}  # it was of epochs, too
            return {**rest, "stage1": {**stage1, "fit": kept if epochs else {**kept, "steps": 0}}}
    return settings


def _read(folder: Path) -> dict[str, object]:
    try:
        document = read_toml_document(folder / "plan.toml")
        found = document["format"]
    except (OSError, KeyError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise FormatError(f"There is no run in {folder}: plan.toml cannot be read ({reason}).") from error
    if found != FORMAT:
        raise FormatError(
            f"Expected the format {FORMAT} in {folder}. Got {found!r}. Update lrmil, or train again in another folder."
        )
    settings, slides, labels = (document.get(name) for name in ("settings", "slides", "labels"))
    if not (isinstance(settings, dict) and isinstance(slides, str) and isinstance(labels, str)):
        raise FormatError(f"{folder / 'plan.toml'} does not contain settings, slides and labels.")
    if "\0" in slides + labels:
        raise FormatError(f"A path in {folder / 'plan.toml'} contains a zero byte.")
    return document


def settings_of(folder: Path) -> list[dict[str, object]]:
    """Return what a model trained by a run's plan may state of its settings: as they are read now, and as written.

    Raises
    ------
    FormatError
        As `read_plan`.
    """
    written: Any = _read(folder)["settings"]
    return [stated(read_plan(folder)[0]), written]


def settings_hashes(folder: Path) -> set[str]:
    """Return the hashes of `settings_of`, one of which a model trained by a run's plan states; errors as there."""
    return set(map(hashing.sha256_of, settings_of(folder)))


def settings_hash(config: TrainConfig) -> str:
    """Return the hash of all settings, which does not reveal the path of an encoder."""
    return hashing.sha256_of(stated(config))
