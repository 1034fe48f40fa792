"""The command line in this process."""

import csv
from collections.abc import Callable
from pathlib import Path

RunCli = Callable[..., tuple[int, str, str]]  # arguments -> exit code, standard output, standard error
CPU = ["--device", "cpu"]


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))
