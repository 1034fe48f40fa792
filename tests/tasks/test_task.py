"""Columns of values, from a task or its kind."""

from lrmil.tasks.choice import TASKS, is_value_column
from lrmil.tasks.classification import Classification
from lrmil.tasks.task import columns


def test_columns_are_named_after_the_values_in_order() -> None:
    task = Classification(("no", "yes"))
    assert columns(task, ["b", "a"]) == columns(Classification, ["b", "a"]) == ["prob_b", "prob_a"]


def test_no_task_s_columns_are_taken_for_another_s() -> None:
    prefixes = [kind.prefix for kind in TASKS]
    assert len(set(prefixes)) == len(prefixes) and len({kind.name for kind in TASKS}) == len(TASKS)
    assert all(is_value_column(name) for kind in TASKS for name in columns(kind, ["x"]))
