"""Say what is wrong with settings that were given, and which settings were probably meant."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from difflib import SequenceMatcher
from typing import Any, get_type_hints

from pydantic import ValidationError

FORMER = {"stage1.fit.epochs": "stage1.fit.steps"}  # settings of earlier versions, and what replaced them
MIN_LIKENESS = 0.75  # of the last parts of two names, of 1: one wrong letter in four
MIN_WHOLE = 0.9  # of two whole names; more, since settings of a group begin alike
TIE = 0.03  # likeness below the best within which a name is as good
MAX_NAMES = 3


def explain(error: ValidationError, kind: type) -> str:
    """Return what is wrong with each setting, by its dotted name; for an unknown one, the nearest that there are.

    Parameters
    ----------
    error
        What pydantic found.
    kind
        The group whose settings were given, such as `lrmil.configs.TrainConfig`.
    """
    return "; ".join(_sentence(problem, kind) for problem in error.errors())


def hint(name: str, kind: type, *, group: bool = False) -> str:
    """Return "; nearest: " and the settings that may have been meant by an unknown name, "" if there are none.

    Parameters
    ----------
    name
        Dotted name of the unknown setting.
    kind
        The group whose setting it should be.
    group
        Whether a group was meant, since its value holds settings.
    """
    if name in FORMER:
        return f"; replaced by {FORMER[name]}"
    named = {one: one for one, is_group in _names(kind) if is_group == group}
    if not group:
        named |= {former: now for former, now in FORMER.items() if now in named}
    likeness = {known: _likeness(name.lower().replace("-", "_"), known) for known in named}
    best = max(likeness.values(), default=0.0)
    near = [known for known, value in likeness.items() if value and value >= best - TIE]
    found = list(dict.fromkeys(named[known] for known in sorted(near, key=lambda known: -likeness[known])))
    return f"; nearest: {', '.join(found[:MAX_NAMES])}" if found else ""


def _sentence(problem: Any, kind: type) -> str:
    name, given = ".".join(map(str, problem["loc"])) or "settings", problem["input"]
    if problem["type"] != "unexpected_keyword_argument":
        return f"{name}: {problem['msg']} (got {given!r})"
    return f"{name}: there is no such setting (got {given!r}{hint(name, kind, group=isinstance(given, Mapping))})"


def _names(kind: type, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Yield the dotted name of every group and setting, and whether it is a group."""
    hints = get_type_hints(kind)
    for field in fields(kind):
        inner = hints[field.name]
        yield f"{prefix}{field.name}", is_dataclass(inner)
        if is_dataclass(inner):
            yield from _names(inner, f"{prefix}{field.name}.")  # type: ignore[arg-type]


def _likeness(name: str, known: str) -> float:
    """Return how alike two dotted names are, whole or in their last part; 0 if they are not."""
    group, _, leaf = name.rpartition(".")
    known_group, _, known_leaf = known.rpartition(".")
    whole, last = _ratio(name, known), _ratio(leaf, known_leaf)
    in_last = 0.9 * last + 0.1 * _ratio(group, known_group)
    return max(whole if whole >= MIN_WHOLE else 0.0, in_last if last >= MIN_LIKENESS else 0.0)


def _ratio(one: str, other: str) -> float:
    return SequenceMatcher(None, one, other).ratio()
