"""What a training run was asked for, RUN/plan.toml of format lrmil.run/1, and its arms; without torch, for viewers."""

from pathlib import Path

import tomli_w

from lrmil import files
from lrmil.configs import TrainConfig, from_dict, to_dict
from lrmil.errors import FormatError
from lrmil.run_documents import read_toml_document

FORMAT = "lrmil.run/1"
ARM_NAMES = {"hr_teacher": "HR teacher", "lr_undistilled": "LR undistilled: the floor", "lr_student": "LR student"}
ARMS = tuple(ARM_NAMES)


def write_plan(folder: Path, config: TrainConfig, slides: str, labels: str) -> None:
    """Save what was asked for: settings, slides and labels table."""
    document = {"format": FORMAT, "slides": slides, "labels": labels, "settings": to_dict(config)}
    files.write_text(folder / "plan.toml", tomli_w.dumps(document))


def read_plan(folder: Path) -> tuple[TrainConfig, str, str]:
    """Settings, slides and labels table of a run.

    Raises
    ------
    FormatError
        If the folder holds no run, or one of another version.
    """
    try:
        document = read_toml_document(folder / "plan.toml")
        found = document["format"]
    except (OSError, KeyError, ValueError) as error:
        raise FormatError(f"Expected a run folder with plan.toml at {folder}. Got: {error}") from error
    if found != FORMAT:
        raise FormatError(f"Expected the format {FORMAT} in {folder}. Got {found!r}; update lrmil or train anew.")
    settings, slides, labels = (document.get(name) for name in ("settings", "slides", "labels"))
    if not (isinstance(settings, dict) and isinstance(slides, str) and isinstance(labels, str)):
        raise FormatError(f"Expected settings, slides and labels in {folder / 'plan.toml'}. Got other values.")
    if "\0" in slides + labels:
        raise FormatError(f"Expected names of files in {folder / 'plan.toml'}. Got some that no file can have.")
    try:
        return from_dict(settings), slides, labels
    except (OverflowError, RecursionError) as error:
        raise FormatError(f"Expected settings in {folder / 'plan.toml'}. Got: {error}.") from error


def settings_hash(config: TrainConfig) -> str:
    """Hash of all settings: what a model was made with, without telling where its encoder lay."""
    return files.sha256_of(to_dict(config))
