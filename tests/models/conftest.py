"""Fixtures of the tests of models."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lrmil.models.bundle import save_bundle
from support.runs import tiny_bundle


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder; read only."""
    folder = tmp_path_factory.mktemp("bundle") / "model"
    torch.manual_seed(0)
    save_bundle(folder, replace(tiny_bundle(), training={"slides": 3}, metrics={"lr_student": {"auroc": 0.5}}))
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(saved, tmp_path / "model"))
