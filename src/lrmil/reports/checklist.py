"""Write a checklist for a paper about a model as Markdown: what the model states, and what a person must fill in."""

import re
from collections.abc import Mapping
from typing import NamedTuple

from lrmil.models.card import ModelCard
from lrmil.reports.checklist_facts import checklist_facts

TO_FILL = "**To be filled by a person**"
TO_COMPLETE = "**To be completed by a person**"
MAX_TEXT = 600  # characters of a fact
MARKUP = re.compile(r"([\\`*_{}\[\]#!|~@$^]|:(?=/)|(?<=www)\.)")  # within a line; "(" and "." mean nothing there
ENTITIES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Item(NamedTuple):
    """An item of a checklist, in our words."""

    number: str
    topic: str
    facts: tuple[str, ...] = ()
    """Names of the facts of `checklist_facts` that belong to it."""
    hint: str = ""
    """Where a person finds the rest."""


class Checklist(NamedTuple):
    """A checklist of items in sections."""

    title: str
    source: str
    sections: Mapping[str, tuple[Item, ...]]


def checklist(card: ModelCard, of: Checklist) -> str:
    """Return a checklist as Markdown, a row for each item.

    Software cannot know that a fact says all that an item asks for: each row is marked as one that a person fills in
    or completes. What the model states stays text, whatever it contains.

    Parameters
    ----------
    card
        Card of the model, which may be a stranger's.
    of
        The checklist.
    """
    facts = checklist_facts(card)
    lines = [
        f"# {of.title}",
        "",
        f"Items in our words; their full text is in {of.source}",
        "",
        f"Filled from what a model states of itself (SHA-256 of its bundle.json: {escaped(card.sha256)}). Check it "
        "against the report of its run.",
    ]
    for section, items in of.sections.items():
        lines += ["", f"## {section}", "", "| item | topic | what the model states | open |", "|---|---|---|---|"]
        lines += [_row(item, facts) for item in items]
    return "\n".join([*lines, ""])


def escaped(text: str) -> str:
    """Return a text that Markdown and HTML show as it is, in one line and at most `MAX_TEXT` characters long.

    Parameters
    ----------
    text
        Anything.
    """
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    short = plain if len(plain) <= MAX_TEXT else f"{plain[: MAX_TEXT - 3]}..."
    return MARKUP.sub(r"\\\1", short).translate(ENTITIES)


def _row(item: Item, facts: Mapping[str, str]) -> str:
    known = [f"**{name}**: {escaped(facts[name])}" for name in item.facts if name in facts]
    open_ = (TO_COMPLETE if known else TO_FILL) + (f"; {item.hint}" if item.hint else "")
    return f"| {item.number} | {item.topic} | {'; '.join(known)} | {open_} |"
