"""Fixtures of the tests of cohorts."""

from pathlib import Path

import pytest

from support.cohort_tables import make_slide_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The slides that the rows of `cohort_tables` are about."""
    return make_slide_folder(tmp_path)
