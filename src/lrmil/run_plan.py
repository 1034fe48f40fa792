"""What a training run was asked for, RUN/plan.toml of format lrmil.run/1, and its arms; without torch, for viewers."""

import tomllib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import tomli_w

from lrmil import files
from lrmil.configs import TrainConfig, from_dict, to_dict
from lrmil.errors import FormatError
from lrmil.ownership import is_plan
from lrmil.table_columns import TableOptions, options_from_dict

FORMAT = "lrmil.run/1"
ARM_NAMES = {"hr_teacher": "HR teacher", "lr_undistilled": "LR undistilled: the floor", "lr_student": "LR student"}
ARMS = tuple(ARM_NAMES)


def write_plan(
    folder: Path,
    config: TrainConfig,
    slides: str,
    labels: str,
    *,
    options: TableOptions | None = None,
    classes: Sequence[str] = (),
) -> None:
    """Save what was asked for: settings, slides, labels table and how it is read, and the classes in their order."""
    document: dict[str, object] = {"format": FORMAT, "slides": slides, "labels": labels}
    if classes:
        document["classes"] = list(classes)
    if chosen := {name: value for name, value in asdict(options or TableOptions()).items() if value}:
        document["table"] = chosen
    document["settings"] = to_dict(config)
    files.write_text(folder / "plan.toml", tomli_w.dumps(document), is_plan)


def read_plan(folder: Path) -> tuple[TrainConfig, str, str]:
    """Settings, slides and labels table of a run.

    Raises
    ------
    FormatError
        If the folder holds no run, or one of another version.
    """
    document = _read(folder)
    return from_dict(document["settings"]), str(document["slides"]), str(document["labels"])  # type: ignore[arg-type]


def read_table_options(folder: Path) -> TableOptions:
    """How a run's labels table is read.

    Raises
    ------
    FormatError
        As `read_plan`.
    """
    return options_from_dict(_read(folder).get("table", {}))


def read_classes(folder: Path) -> tuple[str, ...]:
    """The classes of a run in their order; none where its plan does not state them, as of runs before this was kept.

    Raises
    ------
    FormatError
        As `read_plan`.
    """
    found = _read(folder).get("classes")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _read(folder: Path) -> dict[str, object]:
    try:
        document: dict[str, object] = tomllib.loads((folder / "plan.toml").read_text(encoding="utf-8"))
        found = document["format"]
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(f"Expected a run folder with plan.toml at {folder}. Got: {error}") from error
    if found != FORMAT:
        raise FormatError(f"Expected the format {FORMAT} in {folder}. Got {found!r}; update lrmil or train anew.")
    return document


def settings_hash(config: TrainConfig) -> str:
    """Hash of all settings: what a model was made with, without telling where its encoder lay."""
    return files.sha256_of(to_dict(config))
