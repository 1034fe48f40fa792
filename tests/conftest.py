"""Fixtures for every test."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder with real slides and images: LRMIL_SHARED, or ``shared`` beside the repository; absent means skipped."""
    folder = Path(os.environ.get("LRMIL_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "data").is_dir():
        pytest.skip(f"no shared data at {folder}; set LRMIL_SHARED to the folder that has them")
    return folder
