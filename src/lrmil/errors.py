"""Define the errors that users can meet; each is also the builtin it resembles, so that ordinary handlers catch it.

None is a RuntimeError: that means a defect, or an error of torch, never bad input.
"""

import re
from collections.abc import Iterable

# A message may quote the content of a file: a terminal must not obey it, and a table or a page must be able to hold it.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_CHARACTERS = 4_000  # characters of a line
LISTED = 10  # names written out in one message


class LrmilError(Exception):
    """Base of every error of lrmil: the message says what is wrong and what to do next."""

    def __str__(self) -> str:
        r"""Return the message on one line of at most 4,000 characters, with control characters as \x1b."""
        return printable(super().__str__())


class SlideError(LrmilError, OSError):
    """A slide cannot be opened, or a region of it cannot be read."""


class ResolutionError(SlideError):
    """The slide is readable, but its resolution is missing, implausible or too coarse for the request."""


class TissueError(SlideError):
    """The slide is readable, but no patch has enough tissue, or the mask given for it cannot be used."""


class SlideChangedError(SlideError):
    """The slide's files changed while they were read, so the pixels may come from two slides."""


class OutputError(LrmilError, OSError):
    """An output cannot be written: the disk is full, or the folder is not writable. It stops the whole run."""


class OverwriteError(LrmilError, FileExistsError):
    """An output would replace a file that lrmil did not write, or an input."""


class CohortError(LrmilError, ValueError):
    """A labels table or a slide folder has problems to fix before anything runs: one line each."""

    def __str__(self) -> str:
        """Return the problems, one line each."""
        return "\n".join(map(printable, str(ValueError.__str__(self)).split("\n")))


class ConfigError(LrmilError, ValueError):
    """A setting is unknown or out of range."""


class EncoderError(LrmilError, ValueError):
    """A patch encoder cannot be found, loaded or used as asked."""


class ModelError(LrmilError, ArithmeticError):
    """A model returns NaN or infinity, because its weights are damaged. It stops the whole run."""


class FormatError(LrmilError, ValueError):
    """A file or folder does not have the expected format, or the expected version of it."""


class RunError(LrmilError, OSError):
    """A folder is in use by another process, no training runs in it, or a worker cannot take part. It stops the run."""


class Stopped(LrmilError):
    """The work stopped because someone asked it to; finished work is kept."""


class ReviewError(LrmilError, OSError):
    """A review log cannot be written or read."""


def printable(text: str) -> str:
    r"""Return a text as one line of at most 4,000 characters, with control characters as \x1b."""
    cut = text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], cut)


def quoted(text: str) -> str:
    """Quote a text that was given, for a message that says what was expected; "nothing" if it is empty."""
    return f"'{text}'" if text.strip() else "nothing"


def names_of(names: Iterable[str]) -> str:
    """Quote and sort names for a message, the first `LISTED` of them in full."""
    ordered = sorted(names)
    more = f" and {len(ordered) - LISTED} more" if len(ordered) > LISTED else ""
    return ", ".join(f"'{name}'" for name in ordered[:LISTED]) + more
