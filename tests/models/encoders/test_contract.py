"""The golden vector: the same on every call, another as soon as the network computes otherwise."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lrmil.errors import FormatError
from lrmil.features.extraction import extract_features
from lrmil.features.store import read_card
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.devices import on_device
from lrmil.models.encoders.contract import difference, find_breach, read_contract
from lrmil.models.encoders.golden import contract_of, golden_tile
from lrmil.models.encoders.loading import PatchEncoder, encoder_hash
from lrmil.patches.plan import PatchPlan
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.encoder_folders import randomised
from support.paths import FORMATS
from support.runs import tiny_bundle, tiny_encoder

PLAN = PatchPlan(mpp=2.0, size=64)


class Tanh(nn.Module):
    """The approximate GELU, which libraries have changed for the exact one before."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.gelu(x, approximate="tanh") * 1.01


def other_activation(encoder: nn.Module) -> None:
    """Another computation with the same weights, as a later timm may have it."""
    for parent in list(encoder.modules()):
        for name, child in list(parent.named_children()):
            if any(word in type(child).__name__ for word in ("GELU", "SiLU", "ReLU")):
                setattr(parent, name, Tanh())


def test_the_picture_is_always_the_same() -> None:
    tile = golden_tile(64)
    assert tile.shape == (64, 64, 3) and tile.std() > 30
    assert hashlib.sha256(tile.tobytes()).hexdigest()[:16] == "32057c2357b42371"


@pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_efficientnet", "test_convnext"])
def test_a_contract_is_kept_by_the_same_network_alone(name: str) -> None:
    encoder = tiny_encoder(name)
    randomised(encoder.backbone)
    contract = contract_of(encoder)
    assert (contract.architecture, contract.size, contract.dim) == (name, 64, encoder.dim)
    assert find_breach(contract, contract_of(encoder.to(memory_format=torch.channels_last))) == ""
    assert read_contract(json.loads(json.dumps(contract.to_dict()))) == contract
    assert find_breach(None, contract) == ""
    for other in (tiny_encoder(name, seed=1), tiny_encoder(name, 96), tiny_encoder(name, embedding="mean")):
        assert difference(contract, contract_of(other)) > 1e-2 or other.spec.embedding == "mean"
    before = encoder_hash(encoder)
    other_activation(encoder)
    assert encoder_hash(encoder) == before and "timm" in find_breach(contract, contract_of(encoder))


@pytest.mark.parametrize(
    "change",
    [
        *({"golden": []}, {"golden": [1e999]}, {"golden": [1e308]}, {"golden": ["1"]}),
        *({"size": 0}, {"dim": True}, {"timm": 3}, {"source": None}),
    ],
    ids=str,
)
def test_what_is_no_contract_is_none(change: dict[str, object]) -> None:
    assert read_contract({**contract_of(tiny_encoder()).to_dict(), **change}) is None


def test_a_model_whose_encoder_computes_otherwise_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from lrmil.models import bundle_weights as module

    save_bundle(tmp_path / "model", tiny_bundle())
    assert (
        load_bundle(tmp_path / "model").contract == json.loads((tmp_path / "model/bundle.json").read_text())["encoder"]
    )
    real = module.build_encoder

    def changed(spec: object) -> nn.Module:
        encoder = real(spec)  # type: ignore[arg-type]
        other_activation(encoder)
        return encoder

    monkeypatch.setattr(module, "build_encoder", changed)
    with pytest.raises(FormatError, match=r"differs by .*timm .*train again"):
        load_bundle(tmp_path / "model")


@pytest.mark.parametrize("value", [3, {"golden": [1.0]}, []])
def test_a_model_with_a_broken_contract_is_refused(value: object, tmp_path: Path) -> None:
    save_bundle(tmp_path / "model", tiny_bundle())
    path = tmp_path / "model/bundle.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"encoder": value}))
    with pytest.raises(FormatError, match="golden vector"):
        load_bundle(tmp_path / "model")


def test_features_of_an_encoder_that_computes_otherwise_are_not_mixed(
    slides: list[SlideSource], tmp_path: Path
) -> None:
    encoder = tiny_encoder()
    sha = encoder_hash(encoder)

    def extract(which: list[SlideSource], out: Path) -> None:
        last(extract_features(which, PatchEncoder(encoder, torch.device("cpu"), batch_size=8), sha, out, PLAN))

    extract(slides[:1], tmp_path / "f")
    card = read_card(tmp_path / f"f/{slides[0].slide_id}.zarr")
    assert read_contract(card.encoder) == contract_of(on_device(encoder, torch.device("cpu")))
    extract(slides[:2], tmp_path / "f")
    other_activation(encoder)
    assert encoder_hash(encoder) == sha
    with pytest.raises(FormatError, match=r"same weights, but .* Install timm .* another folder"):
        extract(slides, tmp_path / "f")
    extract(slides[:1], tmp_path / "g")


def test_features_of_earlier_versions_state_none_and_are_read() -> None:
    sample = FORMATS / "features-1/sample.zarr"
    assert read_card(sample).encoder is None


def test_a_contract_travels_with_a_model_that_is_saved_again(tmp_path: Path) -> None:
    save_bundle(tmp_path / "one", tiny_bundle())
    bundle = load_bundle(tmp_path / "one")
    save_bundle(tmp_path / "two", replace(bundle, license="MIT"))
    assert load_bundle(tmp_path / "two").contract == bundle.contract
