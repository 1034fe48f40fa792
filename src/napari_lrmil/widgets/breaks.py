"""Make long names fit: let them break where a line ends, which Qt does at spaces only, or show their end alone."""

import re

BREAK = "\u200b"  # zero-width space
MAX_NAME = 28  # characters
LONG = 20  # characters; shorter words stay whole
WORD = re.compile(rf"\S{{{LONG + 1},}}")
PART = re.compile(rf"[^_.,;:=/\\-]{{1,{LONG}}}[_.,;:=/\\-]{{0,{LONG}}}|[_.,;:=/\\-]{{1,{LONG}}}")


def breakable(text: str) -> str:
    """Return a text in whose long words lines can break: after punctuation, or else after 20 characters."""
    return WORD.sub(lambda word: BREAK.join(PART.findall(word[0])), text)


def whole(text: str) -> str:
    """Return the text that was made breakable."""
    return text.replace(BREAK, "")


def shortened(name: str, most: int = MAX_NAME) -> str:
    """Return the end of a name of more than `most` characters, so that it does not widen a dock."""
    return name if len(name) <= most else f"…{name[1 - most :]}"
