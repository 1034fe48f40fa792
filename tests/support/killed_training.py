"""Run `lrmil train` again and again and kill it while it writes: python killed_training.py SETTINGS SLIDES LABELS RUN.

Each round is a process of its own, made by fork so that torch is imported once; the last one runs to its end.
"""

import fnmatch
import os
import signal
import sys
from pathlib import Path

from lrmil import cli
from lrmil.io import atomic
from lrmil.reports import run_report
from lrmil.runs import train
from lrmil.training import checkpoint

LOADED = train, run_report  # before the forks, which need not load torch themselves
# What is being written when the process dies, and how many such writes come before it.
MOMENTS = (
    ("shared/hr/.demo-004.zarr.*", 0),
    ("fold-0/.teacher.checkpoint.*", 1),
    ("fold-0/.teacher.*.tmp", 2),
    ("fold-0/.lr_encoder.checkpoint.*", 1),
    ("fold-0/lr/.demo-006.zarr.*", 0),
    ("fold-0/.lr_student.checkpoint.*", 1),
    ("fold-0/.outputs.*", 0),
)


def kill_at(pattern: str, passed: int, run: Path) -> None:
    """Die by SIGKILL when the next file of this pattern is written but has not yet its name."""
    flush, seen = atomic.flush, 0

    def dying(path: Path) -> None:
        nonlocal seen
        if path.is_relative_to(run) and fnmatch.fnmatch(path.relative_to(run).as_posix(), pattern):
            if seen == passed:
                os.kill(os.getpid(), signal.SIGKILL)
            seen += 1
        flush(path)

    atomic.flush = dying


def save_every_epoch() -> None:
    """Let epochs that are shorter than a write be saved, too, so that the process can die meanwhile."""
    checkpoint.INTERVAL = checkpoint.REST = 0.0


def main(settings: str, slides: str, labels: str, run: str) -> int:
    arguments = ["train", slides, labels, "--out", run, "--config", settings, "--device", "cpu"]
    save_every_epoch()
    for pattern, passed in MOMENTS:
        child = os.fork()
        if child == 0:
            kill_at(pattern, passed, Path(run))
            os._exit(cli.main(arguments))
        _, status = os.waitpid(child, 0)
        if not (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL):
            sys.stderr.write(f"{pattern} was never written: status {status}\n")
            return 1
        left = sorted(path.relative_to(run).as_posix() for path in Path(run).rglob(".*") if path.suffix == ".tmp")
        sys.stdout.write(f"{pattern} left {left}\n")
    return cli.main(arguments)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
