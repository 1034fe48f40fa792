"""Say whether the figures of a run are those of the very model that is shipped, or of its siblings."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StrictBool, TypeAdapter, with_config

from lrmil.errors import FormatError
from lrmil.io.plain_data import CLOSED, Whole, parse_plain
from lrmil.tasks.task import Task

TESTED = "tested"  # of a model's provenance
Count = Annotated[Whole, Field(ge=1)]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class Measurement:
    """What the test figures of a run measure.

    Attributes
    ----------
    this_model
        Whether they are those of the model that is shipped.
    models
        Number of models that were tested.
    slides, cases
        Test slides of all of them, and their cases.
    """

    this_model: StrictBool
    models: Count
    slides: Count
    cases: Count

    @property
    def sentence(self) -> str:
        """It in words, for pages and windows."""
        if self.this_model:
            what = f"{_counted(self.slides, 'slide')} of {_counted(self.cases, 'case')}"
            return f"This very model was tested on {what} that it has not learned from."
        return (
            f"Cross-validated: the figures are those of {_counted(self.models, 'sibling model')}. The model itself was "
            "trained on all slides and was not tested. --test-fraction 0.2 keeps slides aside to test it."
        )


def measurement_of(
    training: Mapping[str, object], figures: Mapping[str, object], task: type[Task] | Task
) -> Measurement | None:
    """Return what the figures of a run measure; None if that is not certain.

    Parameters
    ----------
    training
        Provenance of a model; that of earlier versions does not state it.
    figures
        Content of metrics.json, from which it follows where each fold is named.
    task
        What is predicted.
    """
    try:
        if TESTED in training:
            return parse_plain(TypeAdapter(Measurement), training[TESTED])
        student, trained = figures["lr_student"], figures.get("evidence")
        if not isinstance(student, Mapping):
            return None
        tested = student[f"{task.score_name}_by_fold"]
        if not isinstance(tested, Mapping) or (len(tested) < 2 and not isinstance(trained, Mapping)):
            return None
        this_model = isinstance(trained, Mapping) and trained.keys() == tested.keys() and len(tested) == 1
        stated = {"this_model": this_model, "models": len(tested)}
        return parse_plain(
            TypeAdapter(Measurement), {**stated, "slides": student["n_slides"], "cases": student["n_cases"]}
        )
    except (KeyError, FormatError):
        return None


def _counted(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
