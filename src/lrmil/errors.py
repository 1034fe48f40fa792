"""The errors a user can meet: each is also the builtin it resembles, where there is one, so ordinary handlers catch it.

None is a RuntimeError: those mean a defect (or torch), never bad input.
"""

import re

# A sentence may quote what stood in a file: a terminal must not obey it, and a table or a page must be able to hold it.
UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
MAX_CHARACTERS = 4_000  # characters of a line


class LrmilError(Exception):
    """Base of every error that says what was expected, what came and what to do next."""

    def __str__(self) -> str:
        """Give the sentence on one line of at most 4,000 characters, control characters as \\x1b."""
        return printable(super().__str__())


class SlideError(LrmilError, OSError):
    """A slide cannot be opened, or a region of it cannot be read."""


class ResolutionError(SlideError):
    """The slide is readable, but its resolution is missing, implausible or too coarse for what was asked."""


class TissueError(SlideError):
    """The slide is readable, but there is no tissue that fills a patch, or the mask given for it cannot be used."""


class SlideChangedError(SlideError):
    """The slide's files were written or replaced while it was read: what was read of it may be of two slides."""


class OutputError(LrmilError, OSError):
    """What is made cannot be written: the disk is full, or the folder may not be written. It concerns the whole run."""


class OverwriteError(LrmilError, FileExistsError):
    """An output would take the place of a file that lrmil did not write, or of one that it reads."""


class CohortError(LrmilError, ValueError):
    """A labels table or a slide folder has problems that must be mended before anything runs: a line each."""

    def __str__(self) -> str:
        """Give the problems, line by line."""
        return "\n".join(map(printable, str(ValueError.__str__(self)).split("\n")))


class ConfigError(LrmilError, ValueError):
    """A setting is unknown or out of range."""


class EncoderError(LrmilError, ValueError):
    """A patch encoder cannot be found, loaded or used as asked."""


class ModelError(LrmilError, ArithmeticError):
    """A model gives NaN or infinity: its weights are damaged or absurd. It concerns the whole run, not the slide."""


class FormatError(LrmilError, ValueError):
    """A file or folder is not in the format, or not in the version of it, that was expected."""


class RunError(LrmilError, OSError):
    """A run folder is used by another training, or none is at work in it where one was expected."""


class Stopped(LrmilError):
    """The work was asked to stop and has: no failure, what is finished is kept."""


class ReviewError(LrmilError, OSError):
    """A review log cannot be written or read."""


def printable(text: str) -> str:
    """Give text as one line of at most 4,000 characters that a terminal may show, control characters as \\x1b."""
    cut = text if len(text) <= MAX_CHARACTERS else f"{text[:MAX_CHARACTERS]}..."
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], cut)
