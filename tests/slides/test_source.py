"""Slides by file and name."""

from pathlib import Path

import pytest

from lrmil.slides.source import slide_id_of


@pytest.mark.parametrize(
    ("name", "slide_id"),
    [
        ("a.svs", "a"),
        ("b.c.ome.tif", "b.c"),
        ("B.OME.TIFF", "B"),
        ("001.tiff", "001"),
        ("x.v2.ndpi", "x.v2"),
        ("f", "f"),
    ],
)
def test_slide_id(name: str, slide_id: str) -> None:
    assert slide_id_of(name) == slide_id
    assert slide_id_of(Path("folder.svs") / name) == slide_id
