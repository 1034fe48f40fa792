"""lrmil.features/1: what is written comes back, damage and other versions are refused, old files stay readable."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lrmil.errors import FormatError
from lrmil.features.store import (
    FORMAT,
    Features,
    FeaturesCard,
    is_current,
    read_card,
    read_features,
    write_features,
)
from lrmil.geometry import Grid
from support.hostile import places, put, values
from support.paths import FORMATS
from support.runs import write_bag

SAMPLE = FORMATS / "features-1" / "sample.zarr"

CARD = FeaturesCard(
    slide_id="sample",
    slide_fingerprint="ab" * 32,
    slide_mpp=0.2427,
    mpp_source="aperio MPP",
    mpp=2.0,
    size=256,
    origin_yx=(30, 12),
    encoder_hash="cd" * 32,
    key="ef" * 32,
    total=4,
    failed=1,
    seconds=1.5,
    bytes_read=None,
)


def sample() -> Features:
    """What tests/formats/features-1/sample.zarr holds."""
    return Features(
        CARD,
        np.array([[0, 1], [2, 3], [2, 4]], np.int32),
        np.arange(12, dtype=np.float32).reshape(3, 4) / 8,
        {0: np.arange(6, dtype=np.float16).reshape(3, 2), -1: np.zeros((3, 2), np.float16)},
    )


def assert_same(found: Features, expected: Features) -> None:
    assert found.card == expected.card
    for one, other in ((found.index, expected.index), (found.embeddings, expected.embeddings)):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    assert found.layers.keys() == expected.layers.keys()
    for layer, tokens in expected.layers.items():
        assert found.layers[layer].dtype == np.float16 and np.array_equal(found.layers[layer], tokens)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The sample, written anew."""
    write_features(tmp_path / "slide.zarr", sample())
    return tmp_path / "slide.zarr"


@st.composite
def features(draw: st.DrawFn) -> Features:
    n, dim = draw(st.integers(0, 6)), draw(st.integers(1, 5))
    index = draw(arrays(np.int32, (n, 2), elements=st.integers(0, 2**31 - 1)))
    embeddings = draw(arrays(np.float32, (n, dim), elements=st.floats(width=32, allow_nan=False, allow_infinity=False)))
    tokens = arrays(np.float16, (n, draw(st.integers(1, 3))), elements=st.floats(-1000, 1000, width=16))
    layers = draw(st.dictionaries(st.integers(-1, 30), tokens, max_size=3))
    card = replace(
        CARD,
        slide_id=draw(st.text(max_size=10)),
        slide_mpp=draw(st.floats(0.05, 4)),
        origin_yx=draw(st.tuples(st.integers(0, 10**6), st.integers(0, 10**6))),
        bytes_read=draw(st.none() | st.integers(0, 2**40)),
    )
    return Features(card, index, embeddings, layers)


class TestRoundTrip:
    @settings(deadline=None, max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(features())
    def test_what_is_written_comes_back(self, tmp_path: Path, written: Features) -> None:
        write_features(tmp_path / "slide.zarr", written)
        assert_same(read_features(tmp_path / "slide.zarr", layers=True), written)

    def test_layers_only_when_asked_for(self, path: Path) -> None:
        assert read_features(path).layers == {}
        assert set(read_features(path, layers=True).layers) == {0, -1}

    def test_many_chunks(self, tmp_path: Path) -> None:
        rows = np.arange(2500, dtype=np.int32)
        embeddings = np.where(rows[:, None] // 1024 == 1, 0, rows[:, None]).astype(np.float32)  # a chunk of zeros
        many = Features(CARD, np.stack([rows, rows], 1), embeddings)
        write_features(tmp_path / "slide.zarr", many)
        assert_same(read_features(tmp_path / "slide.zarr", layers=True), many)

    def test_writing_again_replaces(self, path: Path) -> None:
        fewer = Features(replace(CARD, key="new"), sample().index[:1], sample().embeddings[:1])
        write_features(path, fewer)
        assert_same(read_features(path, layers=True), fewer)
        assert [entry.name for entry in path.parent.iterdir()] == [path.name]

    def test_the_card_knows_its_lattice(self, path: Path) -> None:
        card = read_card(path)
        assert card == CARD and card.grid == Grid(2.0, 256, 0.2427, (30, 12))


class TestVersions:
    def test_the_committed_sample_of_version_1_stays_readable(self) -> None:
        assert_same(read_features(SAMPLE, layers=True), sample())
        assert read_card(SAMPLE).checksum == "not compared"

    @pytest.mark.parametrize("version", ["lrmil.features/2", "lrmil.features/0", "lrmil.bundle/1", 1])
    def test_another_version_is_refused_and_the_needed_one_named(self, path: Path, version: object) -> None:
        document = json.loads((path / "zarr.json").read_text())
        document["attributes"]["format"] = version
        (path / "zarr.json").write_text(json.dumps(document))
        for read in (read_features, read_card):
            with pytest.raises(FormatError, match=rf"{FORMAT}.*{version}"):
                read(path)
        assert not is_current(path, CARD.key)

    def test_the_version_is_1(self, path: Path) -> None:
        assert json.loads((path / "zarr.json").read_text())["attributes"]["format"] == FORMAT == "lrmil.features/1"


class TestDamage:
    @pytest.mark.parametrize("name", ["index", "features", "layers/0", "layers/-1"])
    def test_one_flipped_bit_is_seen(self, path: Path, name: str) -> None:
        file = path / name / "c/0/0"
        whole = file.read_bytes()
        for place in range(12, len(whole), max(1, len(whole) // 20)):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
            with pytest.raises(FormatError, match=r"[Ee]xtract this slide again"):
                read_features(path, layers=True)

    @pytest.mark.parametrize("name", ["index", "features"])
    def test_a_missing_array(self, path: Path, name: str) -> None:
        (path / name / "zarr.json").unlink()
        with pytest.raises(FormatError, match="Extract this slide again"):
            read_features(path)

    @pytest.mark.parametrize("name", ["index", "features", "layers/0", "layers/-1"])
    def test_a_missing_chunk(self, path: Path, name: str) -> None:
        (path / name / "c" / "0" / "0").unlink()
        with pytest.raises(FormatError, match=rf"{name} lacks 1 of 1 chunks.*Extract this slide again"):
            read_features(path, layers=True)

    @pytest.mark.parametrize("name", ["index", "features", "layers/0"])
    @pytest.mark.parametrize("size", [0, 5, -3])
    def test_a_truncated_chunk(self, path: Path, name: str, size: int) -> None:
        chunk = path / name / "c" / "0" / "0"
        chunk.write_bytes(chunk.read_bytes()[:size])
        with pytest.raises(FormatError, match="Extract this slide again"):
            read_features(path, layers=True)

    @pytest.mark.parametrize("name", ["features", "layers/0"])
    def test_truncated_metadata_of_an_array(self, path: Path, name: str) -> None:
        (path / name / "zarr.json").write_text((path / name / "zarr.json").read_text()[:100])
        with pytest.raises(FormatError, match="Extract this slide again"):
            read_features(path, layers=True)

    def test_arrays_that_do_not_fit_together(self, path: Path) -> None:
        for wrong in (
            replace(sample(), index=sample().index[:2]),
            replace(sample(), index=np.zeros((3, 3), np.int32)),
            replace(sample(), layers={0: np.zeros((2, 2), np.float16)}),
        ):
            write_features(path, wrong)
            with pytest.raises(FormatError, match="arrays of one length"):
                read_features(path, layers=True)

    @pytest.mark.parametrize("content", [None, "", "{", "[]", "{}", '{"attributes": {}}', '{"attributes": 3}'])
    def test_what_is_no_features_folder(self, tmp_path: Path, content: str | None) -> None:
        if content is not None:
            (tmp_path / "zarr.json").write_text(content)
        for read in (read_features, read_card):
            with pytest.raises(FormatError, match=FORMAT):
                read(tmp_path)

    @pytest.mark.parametrize("name", ["key", "origin_yx", "slide_mpp"])
    def test_a_card_with_a_line_missing_or_too_many(self, path: Path, name: str) -> None:
        document = json.loads((path / "zarr.json").read_text())
        value = document["attributes"].pop(name)
        (path / "zarr.json").write_text(json.dumps(document))
        with pytest.raises(FormatError, match=name):
            read_features(path)
        document["attributes"] |= {name: value, "surplus": 1}
        (path / "zarr.json").write_text(json.dumps(document))
        with pytest.raises(FormatError, match="surplus"):
            read_features(path)


class TestIsCurrent:
    def test_the_key_decides(self, path: Path) -> None:
        assert is_current(path, CARD.key) and not is_current(path, "other")

    def test_what_is_absent_or_damaged_is_not_current(self, path: Path) -> None:
        assert not is_current(path.with_name("absent.zarr"), CARD.key)
        (path / "zarr.json").write_text("{")
        assert not is_current(path, CARD.key)


class TestStrangers:
    @pytest.mark.parametrize(
        "change",
        [
            {"checksum": None},
            {"slide_mpp": -1.0},
            {"slide_mpp": 0},
            {"mpp": 1e9},
            {"mpp": "2.0"},
            {"size": 10**9},
            {"size": 1.5},
            {"origin_yx": [10**12, 0]},
            {"origin_yx": ["0", 0]},
            {"origin_yx": [0, 0, 0]},
            {"failed": 5},
            {"failed": -1},
            {"total": "4"},
            {"key": 3},
            {"seconds": "long"},
            {"bytes_read": 1.5},
            {"slide_mpp": True},
            {"mpp": np.nan},
            {"seconds": np.inf},
            {"seconds": 10**400},
            {"seconds": False},
            {"size": True},
            {"size": 256.0},
            {"origin_yx": [False, 0]},
            {"origin_yx": [0.5, 0]},
            {"origin_yx": {"0": 0, "1": 0}},
            {"total": True, "failed": 0},
            {"bytes_read": True},
            {"reading": True},
            {"reading": "1"},
            {"notes": "a"},
            {"notes": ["a", 1]},
            {"encoder": []},
            {"encoder": {}},
        ],
        ids=str,
    )
    def test_values_that_no_features_have(self, path: Path, change: dict[str, object]) -> None:
        document = json.loads((path / "zarr.json").read_text())
        document["attributes"].update(change)
        (path / "zarr.json").write_text(json.dumps(document))
        for read in (read_card, read_features):
            with pytest.raises(FormatError):
                read(path)

    @pytest.mark.parametrize("value", [np.nan, np.inf])
    def test_embeddings_that_are_no_numbers(self, tmp_path: Path, value: float) -> None:
        write_features(tmp_path / "a.zarr", replace(sample(), embeddings=np.full((3, 4), value, np.float32)))
        with pytest.raises(FormatError, match="finite embeddings"):
            read_features(tmp_path / "a.zarr")

    def test_a_description_kept_twice_does_not_count(self, path: Path) -> None:
        """Zarr would take the arrays' descriptions from the group's own document, which nothing has checked."""
        document = json.loads((path / "zarr.json").read_text())
        index = json.loads((path / "index/zarr.json").read_text())
        document["consolidated_metadata"] = {"kind": "inline", "must_understand": False, "metadata": {"index": index}}
        document["consolidated_metadata"]["metadata"]["index"]["shape"] = [10**12, 2]
        (path / "zarr.json").write_text(json.dumps(document))
        assert len(read_features(path).index) == 3

    @settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data(), value=values, array=st.sampled_from(["", "index", "features"]))
    def test_whatever_stands_in_a_description(
        self, data: st.DataObject, value: object, array: str, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        folder = tmp_path_factory.getbasetemp() / "fuzzed.zarr"
        if not folder.exists():
            write_bag(folder, np.zeros((2, 2), int), np.zeros((2, 3)))
        path = folder / array / "zarr.json"
        text = path.read_text()
        whole = json.loads(text)
        try:
            path.write_text(json.dumps(put(whole, data.draw(st.sampled_from(list(places(whole)))), value)))
            try:
                read = read_features(folder)
                assert read.embeddings.shape == (len(read.index), 3) and 0 < read.card.grid.step_level0 < 1e12
            except FormatError as error:
                assert str(error)
        finally:
            path.write_text(text)
