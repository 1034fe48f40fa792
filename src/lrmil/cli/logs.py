"""Send log records to stderr while a command runs."""

import logging


def start_logging(*, verbose: bool) -> None:
    """Show warnings and errors on stderr; with `verbose` also informative records.

    Records of tifffile and of dask.distributed are shown only if they are errors and `verbose` is on: what they say of
    a slide is already a note on it, or its failure.

    Parameters
    ----------
    verbose
        Whether `-v` was given.
    """

    def is_shown(record: logging.LogRecord) -> bool:
        is_of_library = record.name.split(".")[0] in ("tifffile", "distributed")
        return not is_of_library or (verbose and record.levelno >= logging.ERROR)

    handler = logging.StreamHandler()
    handler.addFilter(is_shown)
    level = logging.INFO if verbose else logging.WARNING
    logging.basicConfig(level=level, format="%(levelname)s %(message)s", handlers=[handler])
