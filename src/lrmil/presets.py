"""Named sets of settings for a training run."""

from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING

from lrmil.errors import ConfigError, names_of

if TYPE_CHECKING:
    from lrmil.configs import TrainConfig

# The method as published (arXiv 2606.06864): the attention of a teacher over patches weighs stage 1, the first two
# blocks and the last but one are distilled, all terms have weight 1, one network, early stopping on validation.
# Averaged weights and omitted patches are not part of it.
PAPER: dict[str, object] = {
    "teacher": "patch",
    "stage1.weighting": "teacher_attention",
    "stage1.layers": [0, 1, -2],
    "stage1.lambda_keep": 0.0,
    "stage1.stain": 0.0,
    "stage1.fit.ema": 0.0,
    "mil.seeds": 1,
    "mil.select_from": 1,
    "mil.patch_dropout": 0.0,
    "mil.fit.ema": 0.0,
    "stage2.lambda_bag": 1.0,
    "stage2.lambda_soft": 1.0,
    "stage2.lambda_hard": 1.0,
    "stage2.inner_folds": 0,
    "calibration.folds": 0,
}
FAST: dict[str, object] = {
    "stage1.fit.steps": 500,
    "mil.seeds": 1,
    "stage2.inner_folds": 0,
    "calibration.folds": 0,
}
PRESETS = MappingProxyType({"default": MappingProxyType[str, object]({}), "paper": PAPER, "fast": FAST})
PARTS = (
    "teacher",
    "stage1",
    "mil",
    "stage2",
    "finish",
    "calibration",
)  # what presets are about
SUMMARIES = MappingProxyType(
    {
        "default": "the settings that measured best",
        "paper": "the method as published",
        "fast": "a first look: a short stage 1, one seed, nothing on inner folds",
    }
)


@cache
def preset(name: str) -> "TrainConfig":
    """Return the settings of a preset.

    Parameters
    ----------
    name
        A name in `PRESETS`.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """
    from lrmil.configs import TrainConfig, with_settings  # pydantic is slow to load, and the help needs names alone

    if name not in PRESETS:
        raise ConfigError(f"Expected a preset of {names_of(PRESETS)}. Got {name!r}.")
    return with_settings(TrainConfig(), dict(PRESETS[name]))


def find_preset(config: "TrainConfig") -> str | None:
    """Return the name of the preset whose teacher, stages, MIL and finish a configuration has; None if there is none.

    Parameters
    ----------
    config
        Settings; its encoders, patches, folds and the like may be any.
    """
    return next((name for name in PRESETS if _parts(preset(name)) == _parts(config)), None)


def _parts(config: "TrainConfig") -> list[object]:
    return [getattr(config, part) for part in PARTS]
