"""No folder of the machine in what is kept."""

from pathlib import Path, PurePath

import pytest

from lrmil.io.redaction import redact_paths


@pytest.mark.parametrize(
    ("value", "left"),
    [
        ("No space left: '/home/ann/run/a.zarr'", "No space left: 'a.zarr'"),
        ("/data/x.svs is torn", "x.svs is torn"),
        (r"C:\Users\ann\x.svs", "x.svs"),
        ("/my slides/ann/x.svs and y", "x.svs and y"),
        ("3/4 of all, 1 um/px, hf-hub:owner/name", "3/4 of all, 1 um/px, hf-hub:owner/name"),
        ({"a": ["/b/c", 1], "d": None}, {"a": ["c", 1], "d": None}),
    ],
)
def test_the_last_part_of_a_path_is_left(value: object, left: object) -> None:
    assert redact_paths(value, (PurePath("/my slides/ann"), Path())) == left
