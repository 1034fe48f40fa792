"""What a slide's failure is called in tables and windows, and which failures concern more than the one slide."""

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
    SlideChangedError,
    SlideError,
    Stopped,
    TissueError,
)
from lrmil.slides.source import SlideSource

log = logging.getLogger(__name__)

LOOK_CLOSER = "find the cause with lrmil -v"
MAX_NAME_BYTES = 220  # bytes: file systems allow 255, of which ".attention.ome.zarr" and a number put aside take some
# A full disk, a broken model or an encoder that fails would fail every slide, and who stopped the run meant all of it.
RUN_LEVEL_ERRORS = (EncoderError, ModelError, OutputError, Stopped)
REASONS = {  # the first that fits
    ResolutionError: "resolution",
    TissueError: "tissue",
    SlideChangedError: "changed",
    OverwriteError: "output",
    OSError: "file",
}


class Failure(NamedTuple):
    """Why a slide has no answer."""

    reason: str
    """"file" (it cannot be opened, or too little of it can be read), "resolution" (um/px missing, implausible or too
    coarse), "tissue" (there is none), "changed" (its files changed while it was read), "name" (another slide is called
    the same), "output" (its outputs would take the place of a file that lrmil did not write, or that it reads) or
    "unexpected"."""
    message: str
    """One sentence, without the folder of the file."""


def failure_of(error: Exception, source: SlideSource) -> Failure:
    """Say why a slide failed, and log it; what was not foreseen is logged with its traceback.

    Raises
    ------
    EncoderError, ModelError, OutputError, Stopped
        Given one of these: they concern the run, not the slide.
    """
    if isinstance(error, RUN_LEVEL_ERRORS):
        raise error
    reason = reason_of(error)
    if isinstance(error, LrmilError):
        log.info("%s: %s", source.slide_id, error)
        return Failure(reason, without_folder(error, source.path))
    log.info("%s: unexpected", source.slide_id, exc_info=error)
    if isinstance(error, OSError):
        said = without_folder(LrmilError(str(error)), source.path)
        return Failure(
            reason, f"Expected a file that can be read. Got: {said}. Check its rights and that its disk is there."
        )
    if isinstance(error, MemoryError):
        return Failure(reason, "This slide needs more memory than there is. Close other programs, or leave it out.")
    text = without_folder(LrmilError(f"{type(error).__name__}: {error}"), source.path)
    return Failure(
        reason,
        f"Something unexpected went wrong with this slide ({text}). Leave it out, or {LOOK_CLOSER}.",
    )


def reason_of(error: Exception) -> str:
    """Name the kind of a failure in one word; see `Failure`."""
    return next((word for kind, word in REASONS.items() if isinstance(error, kind)), "unexpected")


def without_folder(error: Exception, path: Path) -> str:
    """Message of an error with the file's name in place of its path, which names the machine and its user."""
    printable = str(LrmilError(str(path)))
    return str(error).replace(str(path), path.name).replace(printable, str(LrmilError(path.name)))


def duplicate_names(sources: Sequence[SlideSource]) -> dict[Path, Failure]:
    """Find different slides of one name, whose outputs would overwrite each other; none of them may be worked on.

    Names that differ only in case count as one: some file systems do not tell them apart.
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
    except (OSError, RuntimeError):  # RuntimeError: a circle of links
        return path.absolute()


def unfit_names(sources: Sequence[SlideSource]) -> dict[Path, Failure]:
    """Find slides whose outputs cannot be named after them: those of `duplicate_names`, and those of too long a name."""
    found = duplicate_names(sources)
    for source in sources:
        try:
            require_short_name(source.slide_id)
        except SlideError as error:
            found.setdefault(source.path, Failure("name", str(error)))
    return found


def require_short_name(slide_id: str) -> None:
    """Refuse a name that leaves no room for what outputs add to it.

    Raises
    ------
    SlideError
        With its length.
    """
    length = len(os.fsencode(slide_id))
    if length > MAX_NAME_BYTES:
        raise SlideError(
            f"Expected a slide's name of at most {MAX_NAME_BYTES} bytes, since its outputs are named after it. Got "
            f"{length} in '{slide_id[:40]}...'; give the file a shorter name."
        )


def _duplicate_name(paths: Sequence[Path]) -> Failure:
    parents = {path.parent for path in paths}
    shown = [path.name if len(parents) == 1 else f"{path.parent.name}/{path.name}" for path in paths]
    message = f"Expected one slide of this name. Got {' and '.join(shown)}; rename all but one, then run again."
    return Failure("name", str(LrmilError(message)))
