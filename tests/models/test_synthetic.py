"""A model of synthetic slides says so in each prediction; a model that states something else does not."""

from dataclasses import replace

import pytest

from lrmil.models.synthetic import SYNTHETIC, SYNTHETIC_NOTE
from support.runs import tiny_bundle


@pytest.mark.parametrize(
    ("training", "notes"),
    [({SYNTHETIC: True}, (SYNTHETIC_NOTE,)), ({SYNTHETIC: False}, ()), ({SYNTHETIC: "true"}, ()), ({}, ())],
)
def test_only_what_is_stated_is_said(training: dict[str, object], notes: tuple[str, ...]) -> None:
    assert replace(tiny_bundle(), training=training).notes_on("f", None) == notes
