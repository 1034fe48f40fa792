"""Every encoder of the catalogue is built as its makers build it, and embeds by the rule that its makers state."""

import json
import re
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import timm
import torch

from lrmil.cli import main
from lrmil.errors import EncoderError
from lrmil.models.encoders.catalogue import CATALOGUE, UNSUPPORTED, find_by_hub_id
from lrmil.models.encoders.loading import build_encoder, load_encoder
from lrmil.models.encoders.spec import LAYERS as NAMED_LAYERS
from lrmil.models.encoders.spec import built_arguments
from support.encoder_folders import LAYERS, SMALL, encoder_folder, normalised

# What H0-mini's paper and card say; its architecture is stated by the hub's configuration alone.
H0_MINI: dict[str, Any] = {"reg_tokens": 4, "mlp_ratio": 5.33334, "init_values": 1e-5, "img_size": 224}
CLS_AND_MEAN = ("virchow", "virchow2")
REGISTERS = {"uni2-h": 8, "virchow2": 4, "h-optimus-0": 4, "h-optimus-1": 4, "h0-mini": 4, "kaiko-vitl14": 4}


def architecture_of(name: str) -> tuple[str, dict[str, Any]]:
    entry = CATALOGUE[name]
    more = {} if entry.architecture else H0_MINI
    return entry.architecture or "vit_base_patch14_reg4_dinov2", built_arguments(dict(entry.arguments)) | more


def small_folder(folder: Path, name: str) -> Any:
    """The encoder's architecture in small, its configuration as hubs have it: without what is a Python object."""
    architecture, arguments = architecture_of(name)
    built = {"img_size": 224, **arguments, **SMALL}
    lacking = {*LAYERS, "init_values"}
    stated = {key: value for key, value in built.items() if key not in lacking}
    return encoder_folder(folder, architecture, built, stated=stated, mean=list(CATALOGUE[name].mean))


@pytest.mark.parametrize("name", CATALOGUE)
def test_a_small_one_from_a_folder_embeds_by_the_rule_of_its_makers(name: str, tmp_path: Path) -> None:
    entry = CATALOGUE[name]
    network = small_folder(tmp_path / entry.hub_id.rpartition("/")[2], name)
    encoder = load_encoder(f"local-dir:{tmp_path / entry.hub_id.rpartition('/')[2]}")
    assert encoder.spec.size == 224 and encoder.terms is not None and encoder.terms.licence == entry.licence
    pixels = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    with torch.inference_mode():
        tokens = network.forward_features(normalised(pixels, entry.mean, (0.21, 0.25, 0.21)))
        expected = tokens[:, 0]
        if name in CLS_AND_MEAN:
            expected = torch.cat([expected, tokens[:, 1 + REGISTERS.get(name, 0) :].mean(1)], 1)
        found = encoder(pixels).embedding
        assert torch.allclose(found, expected, atol=1e-5) and found.std() > 0.01
        assert tokens.shape[1] == 1 + REGISTERS.get(name, 0) + (224 // network.patch_embed.patch_size[0]) ** 2
        again = build_encoder(encoder.spec)
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again(pixels).embedding, found)


@pytest.mark.parametrize("name", ["uni2-h", "virchow2", "uni"])
def test_a_name_is_loaded_from_the_cache_of_the_hub(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entry = CATALOGUE[name]
    revision = entry.revision or "0123456789" * 4
    repository = tmp_path / f"models--{entry.hub_id.replace('/', '--')}"
    small_folder(repository / "snapshots" / revision, name)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(revision)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    encoder = load_encoder(name)
    assert encoder.terms is not None and encoder.terms.revision == revision and encoder.terms.name == name
    by_id = load_encoder(f"hf-hub:{entry.hub_id}")
    assert by_id.spec == encoder.spec and (encoder.terms.inherits, by_id.terms.inherits) == (True, True)
    assert main(["doctor", "--encoder", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["cached"] is True


def test_random_weights_need_no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrmil.models.encoders.source.hub_model", lambda *_: pytest.fail("the hub was asked"))
    encoder = load_encoder("lunit-vits16", pretrained=False)
    assert encoder.spec.size == 224 and encoder.dim == 384 and encoder.spec.mean == CATALOGUE["lunit-vits16"].mean
    assert encoder.terms is not None and encoder.terms.random


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_entry_is_whole(name: str) -> None:
    entry = CATALOGUE[name]
    assert name == name.lower() and not timm.is_model(name) and entry.hub_id.count("/") == 1
    assert len(entry.mean) == len(entry.std) == 3 and entry.embedding in ("cls", "mean", "cls+mean", "pooled")
    for key, value in entry.arguments:
        assert key not in NAMED_LAYERS or value in NAMED_LAYERS[key]
    assert find_by_hub_id(entry.hub_id.upper() + "@main") == (name, entry)


def test_what_is_not_known_is_not_stated() -> None:
    assert CATALOGUE["virchow2"].mpp is None and CATALOGUE["distillpath-ks16-hopt0"].licence is None
    assert CATALOGUE["h-optimus-1"].inherits is None and CATALOGUE["uni2-h"].revision is None


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_encoder_that_timm_cannot_build_is_told_why(name: str) -> None:
    with pytest.raises(EncoderError, match=rf"{name} .*{re.escape(UNSUPPORTED[name])}"):
        load_encoder(name)
