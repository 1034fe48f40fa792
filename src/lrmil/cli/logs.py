"""Send log records to stderr while a command runs."""

import logging


def start_logging(*, verbose: bool) -> None:
    """Show warnings and errors on stderr; with `verbose` also informative records.

    Records of tifffile are shown only if they are errors and `verbose` is on: the reader already turns them into notes
    on the slide.

    Parameters
    ----------
    verbose
        Whether `-v` was given.
    """

    def is_shown(record: logging.LogRecord) -> bool:
        is_tifffile = record.name.split(".")[0] == "tifffile"
        return not is_tifffile or (verbose and record.levelno >= logging.ERROR)

    handler = logging.StreamHandler()
    handler.addFilter(is_shown)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", handlers=[handler])
