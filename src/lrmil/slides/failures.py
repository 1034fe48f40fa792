"""Describe the failure of a slide for tables and windows, and tell it from errors that end the whole run."""

import logging
import os
import unicodedata
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from lrmil.errors import (
    EncoderError,
    LrmilError,
    ModelError,
    OutputError,
    OverwriteError,
    ResolutionError,
    RunError,
    SlideChangedError,
    SlideError,
    Stopped,
    TissueError,
)
from lrmil.slides.source import SlideSource

log = logging.getLogger(__name__)

LOOK_CLOSER = "find the cause with lrmil -v"
MORE_TISSUE, OWN_MASK = "Check the slide, or lower min_tissue.", "pass a mask"  # remedies that a window rewords
MAX_NAME_BYTES = 220  # file systems allow 255; outputs add ".attention.ome.zarr" and sometimes a number
# These end the whole run: a full disk or a worker without the model would fail every later slide, and a stop request is
# for the run.
RUN_LEVEL_ERRORS = (EncoderError, ModelError, OutputError, RunError, Stopped)
REASONS = {  # the first match counts
    ResolutionError: "resolution",
    TissueError: "tissue",
    SlideChangedError: "changed",
    OverwriteError: "output",
    OSError: "file",
}


class Failure(NamedTuple):
    """Why a slide has no result."""

    reason: str
    """"file" (it cannot be opened, or too little of it can be read), "resolution" (um/px missing, implausible or too
    coarse), "tissue" (there is none), "changed" (its files changed while it was read), "name" (another slide is called
    the same), "output" (its outputs would take the place of a file that lrmil did not write, or that it reads) or
    "unexpected"."""
    message: str
    """One sentence, without the folder of the file."""


def failure_of(error: Exception, source: SlideSource) -> Failure:
    """Return why a slide failed, and log it; an unexpected error is logged with its traceback.

    Parameters
    ----------
    error
        What was raised.
    source
        The slide.

    Raises
    ------
    EncoderError, ModelError, OutputError, RunError, Stopped
        If `error` is one of these: they concern the run, not the slide.
    """
    if isinstance(error, RUN_LEVEL_ERRORS):
        raise error
    reason = reason_of(error)
    if isinstance(error, LrmilError):
        log.info("%s: %s", source.slide_id, error)
        return Failure(reason, without_folder(error, source.path))
    log.info("%s: unexpected", source.slide_id, exc_info=error)
    if isinstance(error, OSError):
        text = without_folder(LrmilError(error.strerror or str(error)), source.path)
        return Failure(reason, f"The file cannot be read: {text}. Check its permissions, and that its disk is mounted.")
    if isinstance(error, MemoryError):
        return Failure(
            reason, "This slide needs more memory than is available. Close other programs, or leave this slide out."
        )
    text = without_folder(LrmilError(f"{type(error).__name__}: {error}"), source.path)
    return Failure(
        reason,
        f"An unexpected error occurred in this slide ({text}). Leave it out, or {LOOK_CLOSER}.",
    )


def reason_of(error: Exception) -> str:
    """Return the reason of an error in one word; see `Failure`."""
    return next((word for kind, word in REASONS.items() if isinstance(error, kind)), "unexpected")


def without_folder(error: Exception, path: Path) -> str:
    """Return the message of an error with the name of the file in place of its path.

    A path may show the names of the machine and its user.

    Parameters
    ----------
    error
        The error.
    path
        Path of the slide, to be shortened in the message.
    """
    printable = str(LrmilError(str(path)))
    return str(error).replace(str(path), path.name).replace(printable, str(LrmilError(path.name)))


def duplicate_names(sources: Sequence[SlideSource]) -> dict[Path, Failure]:
    """Find different slides of one name, whose outputs would overwrite each other.

    Names that differ only in case count as equal, since some file systems do not distinguish them.

    Returns
    -------
    dict
        Path -> failure, for every slide of a name that is not unique.
    """
    by_name: defaultdict[str, dict[Path, Path]] = defaultdict(dict)
    for source in sources:
        by_name[unicodedata.normalize("NFC", source.slide_id).casefold()].setdefault(_real(source.path), source.path)
    duplicates = {
        real: _duplicate_name(list(paths.values())) for paths in by_name.values() if len(paths) > 1 for real in paths
    }
    return {source.path: duplicates[real] for source in sources if (real := _real(source.path)) in duplicates}


def _real(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError):  # RuntimeError: links in a circle
        return path.absolute()


def unfit_names(sources: Sequence[SlideSource]) -> dict[Path, Failure]:
    """Find slides whose outputs cannot be named after them: duplicate names, and names that are too long."""
    found = duplicate_names(sources)
    for source in sources:
        try:
            require_short_name(source.slide_id)
        except SlideError as error:
            found.setdefault(source.path, Failure("name", str(error)))
    return found


def require_short_name(slide_id: str) -> None:
    """Require a name that is short enough for files named after it.

    Raises
    ------
    SlideError
        If it is longer than `MAX_NAME_BYTES`.
    """
    length = len(os.fsencode(slide_id))
    if length > MAX_NAME_BYTES:
        raise SlideError(
            f"Expected a slide name of at most {MAX_NAME_BYTES} bytes. Got {length} in '{slide_id[:40]}...'. "
            "Rename the file: outputs are named after it."
        )


def _duplicate_name(paths: Sequence[Path]) -> Failure:
    parents = {path.parent for path in paths}
    shown = [path.name if len(parents) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    message = (
        f"Expected one slide of this name. Got {' and '.join(shown)}. Rename all but one, then rerun the same command."
    )
    return Failure("name", str(LrmilError(message)))
