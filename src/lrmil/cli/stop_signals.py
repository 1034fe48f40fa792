"""Let SIGTERM (a batch system, `kill`, a shutdown) and SIGHUP (a closed terminal) end the work as Ctrl+C does."""

import math
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

PATIENCE = 10.0  # seconds that cleaning up may take
STOPPING = ("SIGTERM", "SIGHUP", "SIGBREAK")  # Windows has the last alone


@contextmanager
def stopped_by_signals() -> Iterator[None]:
    """Raise KeyboardInterrupt in the main thread at the first such signal, so that every `finally` is run.

    Signals that follow within ten seconds are ignored: a batch system sends several, and they must not cut the
    clean-up short. A signal that is ignored (`nohup`) or handled already is left alone, as are all outside the main
    thread.
    """
    numbers = [getattr(signal, name) for name in STOPPING if hasattr(signal, name)]
    if threading.current_thread() is not threading.main_thread():
        numbers = []
    ours = [number for number in numbers if signal.getsignal(number) == signal.SIG_DFL]

    last = -math.inf

    def stop(received: int, frame: object) -> None:
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
