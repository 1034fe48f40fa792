"""The three arms of a run and their folders; without torch, for viewers."""

from pathlib import Path

ARM_NAMES = {"hr_teacher": "HR teacher", "lr_undistilled": "LR undistilled (baseline)", "lr_student": "LR student"}
ARMS = tuple(ARM_NAMES)
STAGE_NAMES = {  # by the folder in a fold
    "lr_encoder": "Stage 1: LR encoder",
    "lr_student": "Stage 2: LR student",
    "teacher": ARM_NAMES["hr_teacher"],
    "lr_undistilled": ARM_NAMES["lr_undistilled"],
}

_FEATURES = {"hr_teacher": "shared/hr", "lr_undistilled": "shared/lr", "lr_student": "{fold}/lr"}
_MILS = {"hr_teacher": "teacher", "lr_undistilled": "lr_undistilled", "lr_student": "lr_student"}


def features_folder(run: Path, fold: str | None, arm: str) -> Path:
    """Return the folder of the features that an arm reads.

    Parameters
    ----------
    run
        The run's folder.
    fold
        Name of the fold; None for an arm whose features are shared by all folds.
    arm
        One of `ARMS`.

    Raises
    ------
    ValueError
        If the features of the arm are not shared, and no fold is named.
    """
    if fold is None and "{fold}" in _FEATURES[arm]:
        raise ValueError(f"Expected a fold for the features of {arm}. Got None.")
    return run / _FEATURES[arm].format(fold=fold)


def features_of(run: Path, fold: str | None, slide_id: str, arm: str) -> Path:
    """Return the path of the features of a slide that an arm reads; see `features_folder`.

    Parameters
    ----------
    run, fold, arm
        As in `features_folder`.
    slide_id
        The slide.
    """
    return features_folder(run, fold, arm) / f"{slide_id}.zarr"


def mil_folder(run: Path, fold: str, arm: str) -> Path:
    """Return the folder of an arm's MIL.

    Parameters
    ----------
    run, fold
        The run's folder, and the name of the fold.
    arm
        One of `ARMS`.
    """
    return run / fold / _MILS[arm]
