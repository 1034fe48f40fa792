"""How many threads read a slide."""

import os


def reading_threads(threads: int) -> int:
    """Return how many threads are meant: a number of 1 or more itself, 0 for as many as this process may use cores.

    Parameters
    ----------
    threads
        0 or more.
    """
    if threads:
        return threads
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
