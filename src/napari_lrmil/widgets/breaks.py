"""Let long names break where a line ends: Qt breaks a line at spaces, and a name without any would be clipped."""

import re

BREAK = "\u200b"  # zero-width space
LONG = 20  # characters; shorter words stay whole
WORD = re.compile(rf"\S{{{LONG + 1},}}")
PART = re.compile(rf"[^_.,;:=/\\-]{{1,{LONG}}}[_.,;:=/\\-]{{0,{LONG}}}|[_.,;:=/\\-]{{1,{LONG}}}")


def breakable(text: str) -> str:
    """Return a text in whose long words lines can break: after punctuation, or else after 20 characters."""
    return WORD.sub(lambda word: BREAK.join(PART.findall(word[0])), text)


def whole(text: str) -> str:
    """Return the text that was made breakable."""
    return text.replace(BREAK, "")
