"""The errors a user can meet: each is also the builtin it resembles, where there is one, so ordinary handlers catch it.

None is a RuntimeError: those mean a defect (or torch), never bad input.
"""


class LrmilError(Exception):
    """Base of every error that says what was expected, what came and what to do next."""


class SlideError(LrmilError, OSError):
    """A slide cannot be opened, or a region of it cannot be read."""


class ResolutionError(SlideError):
    """The slide is readable, but its resolution is missing, implausible or too coarse for what was asked."""


class CohortError(LrmilError, ValueError):
    """A labels table or a slide folder has problems that must be mended before anything runs."""


class ConfigError(LrmilError, ValueError):
    """A setting is unknown or out of range."""


class EncoderError(LrmilError, ValueError):
    """A patch encoder cannot be found, loaded or used as asked."""


class FormatError(LrmilError, ValueError):
    """A file or folder is not in the format, or not in the version of it, that was expected."""


class RunError(LrmilError, OSError):
    """A run folder is used by another training, or none is at work in it where one was expected."""


class Stopped(LrmilError):
    """The work was asked to stop and has: no failure, what is finished is kept."""


class ReviewError(LrmilError, OSError):
    """A review log cannot be written or read."""
