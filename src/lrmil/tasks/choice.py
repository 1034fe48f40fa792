"""Find the task that a setting or a document names; a new task is one file and one entry."""

from collections.abc import Iterable, Mapping

from lrmil.errors import ConfigError
from lrmil.tasks.classification import Classification
from lrmil.tasks.task import Task

TASKS: tuple[type[Task], ...] = (Classification,)  # the first is meant where nothing is named


def task_named(name: str) -> type[Task]:
    """Return the task of a name; that of "" is the first of `TASKS`.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    for kind in TASKS:
        if name in ("", kind.name):
            return kind
    raise ConfigError(f"Expected a task among {', '.join(kind.name for kind in TASKS)}. Got {name!r}.")


def is_task(name: str) -> bool:
    """Return whether there is a task of a name; "" stands for the first of `TASKS`."""
    return not name or any(kind.name == name for kind in TASKS)


def stated_name(task: Task) -> str:
    """Return the name of a task where it is not the first of `TASKS`, which goes without saying; else ""."""
    return "" if task.name == TASKS[0].name else task.name


def kind_in(document: Mapping[str, object]) -> type[Task]:
    """Return the kind of task that bundle.json, metrics.json or the card of a prediction names.

    Raises
    ------
    ValueError
        If there is none of that name; its text says what was expected.
    """
    named = document.get("task", TASKS[0].name)
    for kind in TASKS:
        if named == kind.name:
            return kind
    raise ValueError(f"a task among {', '.join(kind.name for kind in TASKS)}. Got {named!r}; update lrmil.")


def task_in(document: Mapping[str, object]) -> Task:
    """Return the task that a document states.

    Raises
    ------
    ValueError
        If "task" names none, or what that task needs is not there; its text says what was expected.
    """
    kind = kind_in(document)
    try:
        return kind.from_dict(document)
    except (KeyError, TypeError) as error:
        raise ValueError(f"all that says what a {kind.name} is about. Got {error!r}.") from error


def task_of_values(names: Iterable[str]) -> Task:
    """Return the classification among the names of an answer's values: a card of an answer states no other task."""
    return Classification.from_dict({"classes": list(names)})


def is_value_column(name: str) -> bool:
    """Return whether a column of a table may hold the values of a task's answers."""
    return name.startswith(tuple(kind.prefix for kind in TASKS))
