"""The cohort and the training of `lrmil demo`: 48 synthetic slides, offline, a few minutes on one core."""

from collections.abc import Iterator
from pathlib import Path

from lrmil.configs import TrainConfig, with_settings
from lrmil.demo.synthetic import make_cohort_steps
from lrmil.steps import Step

SLIDES, SIZE = 48, 2048  # the side of a slide in pixels
# A small network with random weights: the demonstration must run offline. The settings were picked by looking at this
# very cohort: it shows how the software works and is no finding; benchmarks/demo_seeds.py has others. Random features
# have no common scale, hence the standardisation; the teacher is good here, hence the full weights of stage 2.
SETTINGS: dict[str, object] = {
    "encoder": "mobilenetv3_small_050",
    "pretrained": False,
    "patch_size": 128,
    "seed": 0,
    "mil.standardised": True,
    "stage1.standardised": True,
    "stage1.fit.steps": 800,
    "stage1.fit.interval": 100,
    "stage1.fit.learning_rate": 1e-3,
    "stage2.lambda_bag": 1.0,
    "stage2.lambda_soft": 1.0,
    "stage2.lambda_hard": 1.0,
}


def demo_cohort_steps(folder: Path) -> Iterator[Step[Path]]:
    """Make the demonstration's slides and labels table.

    Parameters
    ----------
    folder
        Where they are written: ``slides``, ``labels.csv``, and ``truth``.

    Yields
    ------
    Step
        One a slide; the last carries `folder`.
    """
    return make_cohort_steps(folder, slides=SLIDES, size=SIZE)


def demo_config() -> TrainConfig:
    """Return the settings of the demonstration's training."""
    return with_settings(TrainConfig(), SETTINGS)
