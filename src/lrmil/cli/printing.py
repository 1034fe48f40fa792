"""Print results: plain text for people, JSON for programs."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console

from lrmil.errors import printable


class _Terminal(Console):
    """Prints names of files and classes as they are, but spells out control characters."""

    def print(self, *objects: Any, **options: Any) -> None:
        super().print(*(plain(one) if isinstance(one, str) else one for one in objects), **options)


stderr = _Terminal(stderr=True)
stdout = _Terminal(soft_wrap=True, highlight=False)
UNKNOWN = "not known"
SITES_BESIDE = 3  # columns of a table that a terminal of 80 characters has room for


def exit_code(failed: int, total: int) -> int:
    """Print how many failed, and return the exit code.

    Parameters
    ----------
    failed
        Number of failures.
    total
        Number of slides or files that were asked for.

    Returns
    -------
    int
        0 if all succeeded; 1 if any failed or there was nothing to do.
    """
    if failed:
        stderr.print(f"{failed} of {total} failed; the reasons are listed above.")
    return 1 if failed or not total else 0


def print_json(value: object) -> None:
    """Print a value as JSON on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def print_lines(values: Mapping[str, object]) -> None:
    """Print named values, one in each line."""
    for name, value in values.items():
        stdout.print(f"{name}: {value}", markup=False)


def print_facts(facts: dict[str, object]) -> None:
    """Print the facts that `lrmil inspect` found about a slide."""
    stdout.print(str(facts["path"]), style="bold", markup=False)
    for name, value in facts.items():
        if name != "path":
            shown = _levels(value) if name == "levels" and isinstance(value, list) else figure(value)
            stdout.print(f"  {name}: {shown}", markup=False)


def figure(value: object) -> str:
    """Return a number, an interval or named figures as text; "not defined" for None."""
    if value is None:
        return "not defined"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {figure(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return " - ".join(map(figure, value))
    return str(value)


def word(value: object) -> str:
    """Return a yes or no, a mapping, a list or another value as text; "not known" for None."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key}={inner}" for key, inner in value.items()) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return UNKNOWN if value is None else str(value)


def _levels(levels: list[list[float]]) -> str:
    return ", ".join(f"{width} x {height} (1/{downsample:g})" for width, height, downsample in levels)


def plain(text: str) -> str:
    """Spell out the control characters of a text, but for ends of lines."""
    return "\n".join(map(printable, text.split("\n")))
