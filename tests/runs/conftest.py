"""Fixtures of the tests of runs."""

import csv
import shutil
from collections import defaultdict
from collections.abc import Iterator

import pytest
import torch

from lrmil.runs.train import Run, train
from support.runs import PATCH_TEACHER, TinyRun, tiny_config


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """Sums in one order: weights can be compared bit for bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def crossed(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A cross-validated run of 8 patients, half of them with two slides; features are the tiny run's."""
    root = tmp_path_factory.mktemp("crossed")
    shutil.copytree(tiny_run.folder / "shared", root / "run/shared")
    with tiny_run.labels.open(newline="") as file:
        rows = list(csv.DictReader(file))
    cases: dict[str, int] = defaultdict(int)
    lines = ["slide_id,case_id,label"]
    for row in rows:
        number = cases[row["label"]] = cases[row["label"]] + 1
        lines.append(f"{row['slide_id']},{row['label']}-{(number - 1) % 4},{row['label']}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    config = tiny_config(folds=2, stage2__inner_folds=3, calibration__folds=2, **PATCH_TEACHER)
    return train(tiny_run.slides, root / "labels.csv", root / "run", config, device="cpu")
