"""What a command shows of log records, and that it changes no logger of a library."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from lrmil.cli.logs import start_logging


@contextmanager
def bare_root() -> Iterator[None]:
    """Take the handlers off the root logger, as a new process has it; pytest adds its own when a test begins."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    root.handlers[:] = []
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


@pytest.mark.parametrize(
    ("verbose", "shown"),
    [
        (False, ["lrmil WARNING", "lrmil ERROR", "tifffiles WARNING", "tifffiles ERROR"]),
        (
            True,
            [
                *("lrmil INFO", "lrmil WARNING", "lrmil ERROR", "tifffile ERROR", "tifffile.pages ERROR"),
                *("tifffiles INFO", "tifffiles WARNING", "tifffiles ERROR"),
            ],
        ),
    ],
)
def test_of_tifffile_only_errors_are_shown_and_only_when_asked_for(
    capsys: pytest.CaptureFixture[str], verbose: bool, shown: list[str]
) -> None:
    names = ("lrmil", "tifffile", "tifffile.pages", "tifffiles")
    before = [(logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names]
    with bare_root():
        start_logging(verbose=verbose)
        for name in names:
            for level in ("DEBUG", "INFO", "WARNING", "ERROR"):
                logging.getLogger(name).log(logging.getLevelName(level), "%s %s", name, level)
    said = [line.split(" ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    assert said == shown
    assert [(logging.getLogger(name).level, logging.getLogger(name).propagate) for name in names] == before
    assert not any(logging.getLogger(name).handlers for name in names)
