"""Where log records go while a command runs: to stderr."""

import logging


def start_logging(*, verbose: bool) -> None:
    """Show warnings and errors on stderr, and with `verbose` also what is for information.

    Of tifffile's records only errors are shown, and only with `verbose`: the reader turns them into notes on the slide.
    """

    def is_shown(record: logging.LogRecord) -> bool:
        is_tifffile = record.name.split(".")[0] == "tifffile"
        return not is_tifffile or (verbose and record.levelno >= logging.ERROR)

    handler = logging.StreamHandler()
    handler.addFilter(is_shown)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", handlers=[handler])
