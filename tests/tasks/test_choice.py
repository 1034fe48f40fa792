"""Which task a name, a document or an answer means; none that is not known goes through."""

import pytest

from lrmil.errors import ConfigError
from lrmil.tasks.choice import (
    TASKS,
    is_task,
    is_value_column,
    kind_in,
    stated_name,
    task_in,
    task_named,
    task_of_values,
)
from lrmil.tasks.classification import Classification


def test_nothing_named_means_the_first() -> None:
    assert task_named("") is task_named(TASKS[0].name) is kind_in({}) is Classification
    assert is_task("") and is_task(Classification.name) and not is_task("weather")
    with pytest.raises(ConfigError, match=r"Expected a task among .*classification.* Got 'weather'"):
        task_named("weather")


@pytest.mark.parametrize("document", [{"task": "weather"}, {"task": 3}, {"task": None, "classes": ["a", "b"]}, {}])
def test_a_document_that_names_none_or_says_too_little_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="Got"):
        task_in(document)


def test_a_classification_goes_without_saying() -> None:
    task = task_of_values(["no", "yes"])
    assert task == task_in({"classes": ["no", "yes"]}) == Classification(("no", "yes")) and stated_name(task) == ""


def test_columns_of_values_are_known_by_their_beginning() -> None:
    assert is_value_column("prob_yes") and not is_value_column("label") and not is_value_column("slide_id")
