"""Which task a name, a document or an answer means; none that is not known goes through."""

import pytest

from lrmil.errors import ConfigError
from lrmil.tasks import choice
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
from support.amount_task import Amount


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


def test_any_other_task_is_stated_and_found_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "TASKS", (*TASKS, Amount))
    assert stated_name(Amount(2.0)) == "amount" and is_task("amount") and task_named("amount") is Amount
    assert task_in({"task": "amount", "mean": 2.0}) == Amount(2.0)
    assert is_value_column("value_mm") and is_value_column("prob_yes")


@pytest.mark.parametrize("fault", [KeyError("mean"), TypeError("no number")])
def test_what_a_task_misses_in_a_document_is_told(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    def from_dict(document: object) -> Amount:
        raise fault

    monkeypatch.setattr(choice, "TASKS", (*TASKS, Amount))
    monkeypatch.setattr(Amount, "from_dict", from_dict)
    with pytest.raises(ValueError, match="amount is about"):
        task_in({"task": "amount"})


def test_columns_of_values_are_known_by_their_beginning() -> None:
    assert is_value_column("prob_yes") and not is_value_column("label") and not is_value_column("slide_id")
