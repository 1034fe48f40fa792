"""Read a review log for a command."""

from pathlib import Path

from lrmil.cli.printing import stderr
from lrmil.reviews.log import ReviewLog, require_reviews


def review_log_at(path: Path) -> ReviewLog:
    """Read a review log, and print which of its lines cannot be read.

    Raises
    ------
    ReviewError
        If there is no such log, or it cannot be read.
    """
    log = require_reviews(path)
    if log.unreadable:
        lines = ", ".join(map(str, log.unreadable))
        stderr.print(f"Skipped lines of {path} that cannot be read: {lines}", markup=False)
    return log
