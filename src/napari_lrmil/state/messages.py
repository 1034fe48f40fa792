"""What the window says when something fails: one sentence with a remedy; the traceback goes to a log file."""

import logging
from logging.handlers import RotatingFileHandler

from lrmil.errors import LrmilError
from napari_lrmil.state import folders

LOG_BYTES = 1 << 20
log = logging.getLogger("napari_lrmil")
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


def explain(error: BaseException) -> str:
    """Say what went wrong and what to do next, and keep the traceback in `places.log_file`."""
    _write_traceback(error)
    text = str(error)
    if isinstance(error, LrmilError):
        return text
    if isinstance(error, MemoryError) or any(words in text.lower() for words in OUT_OF_MEMORY):
        return (
            "The device ran out of memory. Nothing was changed: choose the CPU or another device, or close other "
            "programs, then run again."
        )
    if isinstance(error, OSError):
        return f"The system refused a file: {text}. Check that the disk is there, has room and may be written."
    return (
        f"Something unexpected went wrong ({type(error).__name__}: {text}). Run it again; if it stays, send the log "
        f"file {folders.log_file()} to the people who look after the plugin."
    )


def _write_traceback(error: BaseException) -> None:
    path = folders.log_file()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(path, maxBytes=LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        return  # the sentence is still shown
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    record = log.makeRecord(
        log.name, logging.ERROR, __file__, 0, "%s", (type(error).__name__,), (type(error), error, error.__traceback__)
    )
    handler.emit(record)
    handler.close()
