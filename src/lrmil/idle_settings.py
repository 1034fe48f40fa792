"""Say which settings of a training do nothing beside the others, and why."""

from collections.abc import Iterator
from dataclasses import fields

from lrmil.configs import AUTO, TrainConfig

WITH_ATTENTION = ("abmil", "clam_sb", AUTO)  # heads that `mil.gated` is about
WITH_TEACHER = ("with_teacher", "regions")  # of `decision`; the others are learned for the calibration
WITH_HIDDEN = (*WITH_ATTENTION, "dsmil")


def idle_settings(config: TrainConfig, *, test_slides_in: str | None = None) -> dict[str, str]:
    """Return the settings that do nothing, by their dotted name, each with the reason as the end of a sentence.

    Parameters
    ----------
    config
        The settings.
    test_slides_in
        Column of the labels table that names the test slides, "split" or "fold"; None without one.
    """
    return dict((*_of_folds(config, test_slides_in), *_of_stages(config), *_of_mil(config)))


def _of_folds(config: TrainConfig, column: str | None) -> Iterator[tuple[str, str]]:
    if config.test_fraction:  # with such a column it would be an error
        yield "folds", "the test part is tested in place of folds"
    elif column:
        for name in ("folds", "test_fraction"):
            yield name, f"the column '{column}' of the table names the test slides"


def _of_stages(config: TrainConfig) -> Iterator[tuple[str, str]]:
    stage1, stage2, finish = config.stage1, config.stage2, config.finish
    needs = {
        "stage1.stain": (stage1.augment, "stage1.augment is false"),
        "stage1.cosine": (stage1.lambda_attn, "stage1.lambda_attn is 0"),
        "stage2.bag_temperature": (stage2.lambda_bag, "stage2.lambda_bag is 0"),
        "stage2.attention_temperature": (stage2.lambda_soft, "stage2.lambda_soft is 0"),
        "stage2.fraction": (stage2.lambda_hard, "stage2.lambda_hard is 0"),
        "stage2.k_max": (stage2.lambda_hard, "stage2.lambda_hard is 0"),
        "stage2.warm_start_r2": (stage2.warm_start, "stage2.warm_start is false"),
        "finish.stain": (finish.augment, "finish.augment is false"),
        "decision.regions": (config.decision.with_teacher, "decision.with_teacher is false"),
    }
    yield from ((name, why) for name, (needed, why) in needs.items() if not needed)
    if not config.finishes:
        yield from ((f"finish.{one.name}", "finish.epochs is 0") for one in fields(finish) if one.name != "epochs")
    if not config.calibration.folds:
        rules = [one.name for one in fields(config.decision) if one.name not in WITH_TEACHER]
        yield from ((f"decision.{name}", "calibration.folds is 0") for name in rules)


def _of_mil(config: TrainConfig) -> Iterator[tuple[str, str]]:
    if config.teacher == "region_attention":  # its attention within regions is one of these, whatever the head
        return
    for name, heads in (("gated", WITH_ATTENTION), ("hidden_dim", WITH_HIDDEN)):
        if config.mil.head not in heads:
            yield f"mil.{name}", f'mil.head is "{config.mil.head}"'
