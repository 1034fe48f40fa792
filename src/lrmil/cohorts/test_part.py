"""Check a cohort to train on, and keep a part of its cases aside as the test part if the settings ask for one."""

from dataclasses import replace
from pathlib import Path

from lrmil.cohorts.case_drawing import draw_test_part
from lrmil.cohorts.cohort import Cohort, CohortReport, TableOptions, validate_cohort
from lrmil.configs import TrainConfig
from lrmil.errors import CohortError


def cohort_to_train(
    slides: Path, labels: Path, config: TrainConfig, *, options: TableOptions | None = None
) -> tuple[CohortReport, Cohort]:
    """Check a cohort, and return its report, and the cohort with the test part of `TrainConfig.test_fraction`.

    Parameters
    ----------
    slides, labels, options
        As in `lrmil.cohorts.cohort.validate_cohort`.
    config
        Settings of the training.

    Raises
    ------
    CohortError
        If the table cannot be read or has errors (all are in the message), or no test part can be drawn.
    """
    fraction = config.test_fraction
    report = validate_cohort(slides, labels, folds=config.folds, options=options, test_fraction=fraction)
    if not report.ok or report.cohort is None:
        raise CohortError(report.explain())
    return report, with_test_part(report.cohort, fraction=fraction, seed=config.seed) if fraction else report.cohort


def with_test_part(cohort: Cohort, *, fraction: float, seed: int) -> Cohort:
    """Return a cohort in which drawn cases are the test part, as if its table had a column split.

    Parameters
    ----------
    cohort
        A checked cohort whose table names no test slides.
    fraction
        Share of the cases to test, above 0 and below 1.
    seed
        Seed of the draw, which does not depend on the order of the table.

    Raises
    ------
    CohortError
        If whole cases cannot be divided so that each class is tested and trained on.
    """
    if (tested := draw_test_part(cohort.cases, fraction, seed)) is None:
        raise CohortError(
            "Expected cases of every class to test, to train on and to validate on. Whole cases cannot be divided so; "
            "add cases, or set --test-fraction to 0."
        )
    slides = (replace(slide, split="test" if slide.case_id in tested else "train") for slide in cohort.slides)
    return replace(cohort, slides=tuple(slides))
