"""Decide where lines may end: in long names, which Qt breaks at spaces only, and not between a number and its unit."""

import re

BREAK = "\u200b"  # zero-width space
TOGETHER = "\u2060"  # word joiner
SPACE = f"\u00a0{TOGETHER}"  # no-break space; marked, since a file may have one in its name
UNIT = re.compile(r"(?<=\d) (?=(?:um/px|um|px|mm²|s|min|h|MB|GB|%)(?!\w))")
MAX_NAME = 28  # characters
LONG = 20  # characters; shorter words stay whole
WORD = re.compile(rf"\S{{{LONG + 1},}}")
PART = re.compile(rf"[^_.,;:=/\\-]{{1,{LONG}}}[_.,;:=/\\-]{{0,{LONG}}}|[_.,;:=/\\-]{{1,{LONG}}}")


def breakable(text: str) -> str:
    """Return a text in whose long words lines can break: after punctuation, or else after 20 characters.

    A number stays with its unit, and Qt does not break "um/px" at its slash.
    """
    kept = UNIT.sub(SPACE, text)
    return WORD.sub(lambda word: BREAK.join(PART.findall(word[0])), kept).replace("um/px", f"um/{TOGETHER}px")


def whole(text: str) -> str:
    """Return the text that was made breakable."""
    return text.replace(SPACE, " ").replace(BREAK, "").replace(TOGETHER, "")


def shortened(name: str, most: int = MAX_NAME) -> str:
    """Return the end of a name of more than `most` characters, so that it does not widen a dock."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
