"""What the figures of a run compare, in sentences: they depend on its settings."""

from lrmil.configs import TrainConfig


def added_to_student(config: TrainConfig) -> str:
    """Name what the student has that the baseline has not, by which the two differ.

    Parameters
    ----------
    config
        Settings of the run.
    """
    parts = ["distillation"]
    if config.has_own_start:
        parts.append("the student's own encoder")
    if config.finishes:
        parts.append("the end-to-end finish")
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def difference_note(config: TrainConfig) -> str:
    """Say what the student's difference from the baseline is.

    Parameters
    ----------
    config
        Settings of the run.
    """
    added = added_to_student(config)
    if " and " not in added:
        return f"the student's difference from it is what {added} adds"
    return f"the student's difference from it is what {added} add together"


def stage1_note(config: TrainConfig) -> str:
    """Say what of student and start is compared with the targets of stage 1.

    Parameters
    ----------
    config
        Settings of the run.
    """
    if not config.stage1.lambda_keep:
        return (
            "What is compared is the embedding itself: of the distilled student, and of the encoder that it started "
            "from."
        )
    return (
        "What is compared is not the embedding itself, which stays near that of the start (stage1.lambda_keep), but "
        "what a linear map makes of it: of the distilled student the map that was learned with it, of the start the "
        "linear regression with which stage 1 began. Without a step of training the two are equal."
    )
