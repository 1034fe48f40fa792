"""Let SIGTERM (batch system, `kill`, shutdown) and SIGHUP (closed terminal) stop the work as Ctrl+C does."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 10.0  # seconds for the clean-up, during which further signals are ignored
STOPPING = ("SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has only the last


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread at the first such signal, so that every `finally` runs.

    Further signals within ten seconds are ignored: a batch system sends several, and they must not interrupt the
    clean-up. Signals that are already ignored (`nohup`) or handled keep their handlers. Outside the main thread nothing
    is changed.
    """
    numbers = [getattr(signal, name) for name in STOPPING if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    last = -math.inf

    def stop(_number: int, _frame: object) -> None:
        nonlocal last
        again, last = time.monotonic() - last < PATIENCE, time.monotonic()
        if not again:
            raise KeyboardInterrupt

    for number in ours:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in ours:
            signal.signal(number, signal.SIG_DFL)
