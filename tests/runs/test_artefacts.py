"""An artefact of a run is whole or absent."""

from pathlib import Path

import pytest

from lrmil.io import hashing
from lrmil.runs.artefacts import changed_inputs, committing, is_committed, key_of

pytestmark = pytest.mark.long


class TestRunFolder:
    def test_an_artefact_is_there_whole_or_not_at_all(self, tmp_path: Path) -> None:
        folder, inputs = tmp_path / "artefact", {"b": [1, 2], "a": 0.5}
        with pytest.raises(KeyError), committing(folder, inputs) as temporary:
            (temporary / "half").write_text("x")
            raise KeyError
        assert list(tmp_path.iterdir()) == [] and not is_committed(folder, inputs)
        with committing(folder, inputs) as temporary:
            (temporary / "whole").write_text("x")
        assert is_committed(folder, {"a": 0.5, "b": [1, 2]}) and not is_committed(folder, {"a": 0.5, "b": [2, 1]})
        assert key_of(folder) == hashing.sha256_of(inputs) and (folder / "whole").exists()
        with committing(folder, {"a": 1}):
            pass
        assert is_committed(folder, {"a": 1}) and not (folder / "whole").exists()

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"key": "other"}'])
    def test_a_damaged_artefact_is_not_committed(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "artefact.json").write_text(text)
        assert not is_committed(tmp_path, {"a": 1})


def test_the_inputs_that_changed_are_named(tmp_path: Path) -> None:
    inputs: dict[str, object] = {"mil": {"a": 1}, "train": {"s": [0, "k"]}, "seed": 3}
    assert changed_inputs(tmp_path / "a", inputs) == []
    with committing(tmp_path / "a", inputs):
        pass
    assert changed_inputs(tmp_path / "a", inputs) == []
    assert changed_inputs(tmp_path / "a", {**inputs, "seed": 4, "train": {}}) == ["train", "seed"]
    assert changed_inputs(tmp_path / "a", {**inputs, "stage2": 1}) == ["stage2"]  # one that was not stated then
    del inputs["mil"]
    assert changed_inputs(tmp_path / "a", inputs) == ["mil"]  # one that is no longer stated
