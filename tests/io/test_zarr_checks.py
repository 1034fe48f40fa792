"""Arrays of strangers: nothing is allocated that their files do not explain."""

import contextlib
import json
import os
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import FormatError
from lrmil.io.zarr_checks import require_safe_array


@pytest.fixture
def array(tmp_path: Path) -> Path:
    """3000 rows in three chunks."""
    values = np.random.default_rng(0).random((3000, 4), np.float32)
    zarr.create_array(tmp_path / "a", data=values, chunks=(1024, 4))
    return tmp_path / "a"


def rewrite(array: Path, change: Callable[[Any], object]) -> None:
    document = json.loads((array / "zarr.json").read_text())
    change(document)
    (array / "zarr.json").write_text(json.dumps(document))


def test_what_zarr_writes_passes(array: Path) -> None:
    assert require_safe_array(array, types=("float32",)) == 3
    (array / "c/1/0").unlink()
    assert require_safe_array(array, types=("float32",)) == 2


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [10**15, 4]},
        {"shape": [10**8, 4]},
        {"shape": [-1, 4]},
        {"shape": [3000.0, 4]},
        {"shape": [3000]},
        {"shape": "ab"},
        {"shape": None},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [10**9, 10**9]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [0, 4]}}},
        {"chunk_grid": {"name": "regular", "configuration": {"chunk_shape": [1024, 5]}}},
        {"chunk_grid": {"name": "other", "configuration": {"chunk_shape": [1024, 4]}}},
        {"chunk_grid": 3},
        {"data_type": "object"},
        {"data_type": "float64"},
        {"data_type": {"name": "numpy.datetime64"}},
        {"codecs": []},
        {"codecs": [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "numcodecs.pickle"}]},
        {"codecs": [{"name": "vlen-utf8"}]},
        {"codecs": [{"name": "sharding_indexed", "configuration": {}}]},
        {"chunk_key_encoding": {"name": "v2"}},
        {"storage_transformers": [{"name": "x"}]},
        {"node_type": "group"},
        {"zarr_format": 2},
    ],
    ids=str,
)
def test_another_description_is_refused_before_memory_is_taken(array: Path, change: dict[str, object]) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    rewrite(array, lambda document: document.update(change))
    with pytest.raises(FormatError):
        require_safe_array(array, types=("float32",))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB


def test_a_chunk_that_would_grow_is_refused(array: Path) -> None:
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (2**40).to_bytes(8, "little") + bytes(20)
    for data in (bomb, b"\x28\xb5\x2f\xfd\x00\x58" + bytes(20), b"", b"\x1f\x8b" + bytes(20)):
        (array / "c/0/0").write_bytes(data)
        with pytest.raises(FormatError, match="chunk of 16384 bytes"):
            require_safe_array(array, types=("float32",))


def test_much_from_little_is_refused(tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "a", data=np.zeros((200, 400_000), np.float32), chunks=(1, 400_000))
    with pytest.raises(FormatError, match="320000000 bytes"):
        require_safe_array(tmp_path / "a", types=("float32",))


@pytest.mark.parametrize(
    "kind", ["link", "pipe", "folder", "link above", "link to the array", "link to its description"]
)
def test_what_leads_elsewhere_is_refused_unopened(array: Path, tmp_path: Path, kind: str) -> None:
    path = {"link above": array / "c/0", "link to the array": array, "link to its description": array / "zarr.json"}
    place = path.get(kind, array / "c/0/0")
    place.rename(tmp_path / "elsewhere")
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FormatError, match="is a link"):
        require_safe_array(array, types=("float32",))


@given(
    st.dictionaries(
        st.sampled_from(["shape", "codecs", "chunk_grid", "data_type", "zarr_format"]),
        st.recursive(
            st.none() | st.integers() | st.text(max_size=3) | st.floats(allow_nan=False, allow_infinity=False),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
            max_leaves=5,
        ),
        min_size=1,
    )
)
def test_no_description_raises_another_error(
    tmp_path_factory: pytest.TempPathFactory, change: dict[str, object]
) -> None:
    folder = tmp_path_factory.getbasetemp() / "described"
    if not folder.exists():
        zarr.create_array(folder, data=np.ones((3, 2), np.float32))
        (folder / "zarr.json").rename(folder / "whole.json")
    document = json.loads((folder / "whole.json").read_text())
    (folder / "zarr.json").write_text(json.dumps({**document, **change}))
    with contextlib.suppress(FormatError):
        assert require_safe_array(folder, types=("float32",)) <= 1
