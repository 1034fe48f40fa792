"""Error messages of the window: a short text with a remedy; the traceback goes to a log file."""

import logging
from logging.handlers import RotatingFileHandler
from pathlib import Path

from lrmil.errors import LrmilError
from lrmil.slides.failures import LOOK_CLOSER, MORE_TISSUE, OWN_MASK, without_folder
from lrmil.slides.resolution import REMEDY
from napari_lrmil.state import folders

LOG_BYTES = 1 << 20
REMEDY_HERE = "Open it, type it into 'um/px of level 0' of Classify slide, and classify it there."
REWORDING = {
    REMEDY: REMEDY_HERE,
    LOOK_CLOSER: "find the cause in the log file of the plugin",
    MORE_TISSUE: "Press Find tissue in Classify slide to see why.",
    OWN_MASK: "paint a mask",
}
log = logging.getLogger("napari_lrmil")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def explain(error: BaseException) -> str:
    """Return what went wrong and what to do next, and write the traceback to `folders.log_file`.

    Parameters
    ----------
    error
        Any exception; of the text of an `LrmilError` only remedies that a window does not have are reworded.
    """
    _write_traceback(error)
    text = str(error)
    if isinstance(error, LrmilError):
        return reworded(text)
    if isinstance(error, MemoryError) or any(words in text.lower() for words in OUT_OF_MEMORY):
        return (
            "The device ran out of memory. Nothing was changed. Before you run it again, choose the CPU or another "
            "device, or close other programs."
        )
    if isinstance(error, OSError):
        return f"The system refused a file: {text}. Check that the disk is connected, has room and can be written."
    return (
        f"Something unexpected went wrong ({type(error).__name__}: {text}). Run it again. If it fails again, report "
        f"it with the log file {folders.log_file()}."
    )


def explain_slide(error: BaseException, path: Path) -> str:
    """Return why one slide of many failed, without the folder of its file.

    Parameters
    ----------
    error
        As in `explain`.
    path
        The slide.
    """
    return without_folder(LrmilError(reworded(explain(error))), path)


def reworded(text: str) -> str:
    """Return a text of the library with the remedies that the windows have."""
    for remedy, remedy_here in REWORDING.items():
        text = text.replace(remedy, remedy_here)
    return text


def _write_traceback(error: BaseException) -> None:
    path = folders.log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        return  # the message is still shown
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    record = log.makeRecord(
        log.name, logging.ERROR, __file__, 0, "%s", (type(error).__name__,), (type(error), error, error.__traceback__)
    )
    handler.emit(record)
    handler.close()
