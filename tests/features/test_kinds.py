"""A folder holds features of one kind, and they are those that the encoder computes now."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.errors import FormatError
from lrmil.features.kinds import require_one_kind, require_same_encoder
from lrmil.features.store import read_features, write_features
from lrmil.models.encoders.golden import contract_of
from support.paths import FORMATS
from support.runs import tiny_encoder

SAMPLE = read_features(FORMATS / "features-1" / "sample.zarr")
CARD = SAMPLE.card


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Features of one slide."""
    write_features(tmp_path / "slide.zarr", SAMPLE)
    return tmp_path / "slide.zarr"


class TestMixture:
    def test_features_of_one_kind_are_no_mixture(self, path: Path) -> None:
        write_features(path.with_name("b.zarr"), replace(SAMPLE, card=replace(CARD, slide_id="b")))
        path.with_name("c.zarr").mkdir()
        require_one_kind(path.parent)
        require_one_kind(path.parent, (CARD.encoder_hash, CARD.mpp, CARD.size))
        require_one_kind(path.parent / "absent", ("e", 2.0, 256))

    @pytest.mark.parametrize("change", [{"encoder_hash": "other"}, {"mpp": 1.0}, {"size": 128}])
    def test_another_encoder_or_grid_is_refused(self, path: Path, change: dict[str, object]) -> None:
        other = replace(CARD, slide_id="b", **change)  # type: ignore[arg-type]
        with pytest.raises(FormatError, match=r"one encoder and one grid .*1 of 256 px at 2 um/px .* and new "):
            require_one_kind(path.parent, (other.encoder_hash, other.mpp, other.size))
        write_features(path.with_name("b.zarr"), replace(SAMPLE, card=other))
        with pytest.raises(FormatError, match=r"1 of .* and 1 of "):
            require_one_kind(path.parent)


class TestSameEncoder:
    STATED = contract_of(tiny_encoder())
    OTHER = replace(STATED, golden=tuple(-value for value in STATED.golden))

    def stating(self, path: Path) -> Path:
        card = replace(CARD, encoder=self.STATED.to_dict())
        write_features(path.with_name("stating.zarr"), replace(SAMPLE, card=card))
        return path.with_name("stating.zarr")

    def test_features_of_an_encoder_that_computes_otherwise_are_refused(self, path: Path) -> None:
        paths = [path.with_name("absent.zarr"), path, self.stating(path)]  # the first two state nothing
        require_same_encoder(paths, CARD.encoder_hash, self.STATED)
        with pytest.raises(FormatError, match=r"same weights, but .* Install timm"):
            require_same_encoder(paths, CARD.encoder_hash, self.OTHER)

    def test_features_of_other_weights_are_not_compared(self, path: Path) -> None:
        require_same_encoder([path, self.stating(path)], "other", self.OTHER)
