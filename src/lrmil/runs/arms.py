"""The three arms of a run and their folders; without torch, for viewers.

Where a run has an end-to-end finish, the student that answers is that of `FINISHED`, not the one of stage 2.
"""

from pathlib import Path

from lrmil.configs import Teacher

ARM_NAMES = {"hr_teacher": "HR teacher", "lr_undistilled": "LR undistilled (baseline)", "lr_student": "LR student"}
ARMS = tuple(ARM_NAMES)
STAGE_NAMES = {  # by the folder in a fold
    "lr_encoder": "Stage 1: LR encoder",
    "lr_student": "Stage 2: LR student",
    "finish": "End-to-end finish",
    "teacher": ARM_NAMES["hr_teacher"],
    "lr_undistilled": ARM_NAMES["lr_undistilled"],
}

CALIBRATION = "calibration"  # the folder in a fold, and the member of metrics.json
HR, LR, REGIONS, START = "shared/hr", "shared/lr", "shared/regions", "shared/start"
PATCHES = "shared/patches"  # where the patches of each slide lie, at either resolution
_TEACHERS: dict[Teacher, str] = {"region": REGIONS, "region_attention": REGIONS, "patch": HR}
FINISHED = "lr_finished"  # the student after its finish, among the names of arms
FINISH = "finish"  # the folder of its weights in a fold
_FEATURES = {"lr_undistilled": LR, "lr_student": "{fold}/lr", FINISHED: "{fold}/lr_finished"}
_MILS = {"hr_teacher": "teacher", "lr_undistilled": "lr_undistilled", "lr_student": "lr_student", FINISHED: FINISH}


def answering(arm: str, *, finished: bool) -> str:
    """Return the name under which `features_of` and `mil_folder` find what answers for an arm.

    Parameters
    ----------
    arm
        One of `ARMS`.
    finished
        Whether the run has an end-to-end finish.
    """
    return FINISHED if finished and arm == "lr_student" else arm


def features_of(run: Path, fold: str | None, slide_id: str, arm: str, *, teacher: Teacher) -> Path:
    """Return the path of the features of a slide whose patches an arm attends to.

    Parameters
    ----------
    run
        The run's folder.
    fold
        Name of the fold; None for an arm whose features are shared by all folds.
    slide_id
        The slide.
    arm
        One of `ARMS`, or `FINISHED`.
    teacher
        Setting of the run: what the teacher attends to.

    Raises
    ------
    ValueError
        If the features of the arm are not shared, and no fold is named.
    """
    folder = _TEACHERS[teacher] if arm == "hr_teacher" else _FEATURES[arm]
    if fold is None and "{fold}" in folder:
        raise ValueError(f"Expected a fold for the features of {arm}. Got None.")
    return run / folder.format(fold=fold) / f"{slide_id}.zarr"


def nested_of(run: Path, slide_id: str, arm: str, *, teacher: Teacher) -> Path | None:
    """Return the path of the features of the HR patches that an arm weighs within its regions; None if it does not.

    Parameters
    ----------
    run, slide_id, arm, teacher
        As in `features_of`.
    """
    return run / HR / f"{slide_id}.zarr" if arm == "hr_teacher" and teacher == "region_attention" else None


def attended_along(children: int, *, teacher: Teacher) -> int:
    """Return how many of what the teacher attends to lie along a side of an LR patch.

    Parameters
    ----------
    children
        HR patches along a side of an LR patch.
    teacher
        Setting of the run.
    """
    return children if teacher == "patch" else 1


def encoded_of(run: Path, fold: str | None, slide_id: str, arm: str) -> Path:
    """Return the path of the features that an encoder made of a slide for an arm: what reading the slide costs.

    Parameters
    ----------
    run, fold, slide_id, arm
        As in `features_of`.
    """
    return features_of(run, fold, slide_id, arm, teacher="patch")


def start_of(run: Path, slide_id: str, *, own: bool) -> Path:
    """Return the path of the LR features of a slide by the frozen encoder that the student starts from.

    Parameters
    ----------
    run, slide_id
        The run's folder, and the slide.
    own
        Whether that is another encoder than the teacher's.
    """
    return run / (START if own else LR) / f"{slide_id}.zarr"


def lr_folder(run: Path, fold: str, arm: str = "lr_student") -> Path:
    """Return the folder of the LR features of a fold's distilled encoder.

    Parameters
    ----------
    run, fold
        The run's folder, and the name of the fold.
    arm
        lr_student, or `FINISHED`.
    """
    return run / _FEATURES[arm].format(fold=fold)


def mil_folder(run: Path, fold: str, arm: str) -> Path:
    """Return the folder of an arm's MIL.

    Parameters
    ----------
    run, fold
        The run's folder, and the name of the fold.
    arm
        One of `ARMS`, or `FINISHED`.
    """
    return run / fold / _MILS[arm]
