"""Spare a program the garbage collections that find nothing: while it loads libraries or much data, and when it ends.

A collection looks at every object. Torch, timm and scikit-learn bring 600,000 that stay. With collections, a
command that needs them spends 6 seconds of a core on its begin and end; without, 4.
"""

import atexit
import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Iterator[None]:
    """Pause collections in the with block."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def end_without_collection() -> None:
    """Let this process end without looking for garbage in memory that the system takes back anyway."""
    atexit.register(gc.freeze)
