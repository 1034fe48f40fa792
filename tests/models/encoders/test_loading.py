"""Encoders of every kind are seen alike, are rebuilt exactly, and give the same answer in any batch."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor

from lrmil.errors import EncoderError
from lrmil.models.encoders.loading import (
    EncoderOutput,
    EncoderSpec,
    PatchEncoder,
    build_encoder,
    encoder_hash,
    load_encoder,
)
from support.encoder_folders import encoder_folder
from support.hungry import Hungry
from support.runs import tiny_encoder

CPU = torch.device("cpu")


def pixels(count: int, size: int = 64, seed: int = 0) -> Tensor:
    """(b, 3, size, size) uint8 noise on a gradient, each patch of its own brightness."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 100, (count, 3, size, size), generator=generator)
    return (noise + torch.linspace(0, 150, count)[:, None, None, None]).to(torch.uint8)


class TestProbe:
    """An encoder that cannot do what is asked says so before any slide is opened."""

    @pytest.mark.parametrize(
        ("name", "size", "fitting"),
        [
            ("vit_small_patch14_reg4_dinov2", 256, (252, 266, 518)),
            ("vit_small_patch16_224", 250, (240, 256, 224)),
            ("eva02_tiny_patch14_224", 256, (252, 266, 224)),
            ("beit_base_patch16_224", 200, (192, 208, 224)),
            ("swin_tiny_patch4_window7_224", 225, (224,)),
            ("cait_xxs24_224", 250, (240, 256)),
        ],
    )
    def test_a_patch_that_does_not_fit_names_those_that_do(
        self, name: str, size: int, fitting: tuple[int, ...]
    ) -> None:
        with pytest.raises(EncoderError) as caught:
            load_encoder(name, size=size, pretrained=False)
        said = str(caught.value)
        assert name in said and f"{size} px" in said and "Leave" not in said
        assert all(str(one) in said.partition("fit")[2] for one in fitting)

    @pytest.mark.parametrize("name", ["pvt_v2_b0", "resnet10t", "convnext_atto", "mobilenetv2_100"])
    def test_networks_of_any_size_take_any(self, name: str) -> None:
        assert load_encoder(name, size=250, pretrained=False).spec.size == 250

    @pytest.mark.parametrize("layers", [(99,), (0, -30)])
    def test_blocks_that_are_not_there(self, layers: tuple[int, ...]) -> None:
        with pytest.raises(EncoderError, match="test_vit from 0 to 5"):
            load_encoder("test_vit", size=64, pretrained=False, layers=layers)

    def test_weights_that_give_no_numbers(self, tmp_path: Path) -> None:
        options = {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 2}
        model = encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", options)
        save_file(
            {**model.state_dict(), "norm.weight": torch.full((24,), float("inf"))}, tmp_path / "e/model.safetensors"
        )
        with pytest.raises(EncoderError, match="NaN or infinity"):
            load_encoder(str(tmp_path / "e"), size=64)

    def test_a_network_that_fails_is_told_with_its_reason(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(VisionTransformer, "forward_intermediates", lambda *_, **__: 1 / 0)
        with pytest.raises(EncoderError, match=r"test_vit .*64 px: division by zero"):
            load_encoder("test_vit", size=64, pretrained=False)

    def test_a_fault_on_the_device_is_the_encoder_s(self) -> None:
        class Broken(Hungry):
            def forward(self, batch: Tensor, layers: tuple[int, ...] = ()) -> EncoderOutput:
                raise RuntimeError("CUDA error: no kernel image is available")

        with pytest.raises(EncoderError, match=r"hand-made .*cpu: CUDA error"):
            PatchEncoder(Broken(3), CPU, batch_size=4)(np.zeros((3, 8, 8, 3), np.uint8))  # type: ignore[arg-type]


class TestIdentity:
    @pytest.mark.parametrize("name", ["test_vit", "test_resnet", "test_convnext"])
    def test_a_spec_and_weights_build_the_same_again(self, name: str) -> None:
        encoder = tiny_encoder(name, 96, embedding="mean", projected_dim=5, seed=3)
        again = build_encoder(EncoderSpec(**asdict(encoder.spec)))
        again.load_state_dict(encoder.state_dict())
        one, other = encoder(pixels(2, 96), (0, -1)), again(pixels(2, 96), (0, -1))
        assert torch.equal(one.embedding, other.embedding)
        for a, b in zip(one.class_tokens + one.patch_tokens, other.class_tokens + other.patch_tokens, strict=True):
            assert torch.equal(a, b)
        assert encoder_hash(again) == encoder_hash(encoder)

    def test_the_hash_tells_weights_settings_and_buffers(self) -> None:
        encoder = tiny_encoder()
        hashes = {encoder_hash(encoder), encoder_hash(tiny_encoder(seed=1)), encoder_hash(tiny_encoder(size=96))}
        hashes.add(encoder_hash(tiny_encoder(embedding="mean")))
        with torch.no_grad():
            encoder.backbone.conv_stem.weight.view(-1)[5] += 1e-6
        hashes.add(encoder_hash(encoder))
        encoder.backbone.bn1.running_mean += 1e-6
        hashes.add(encoder_hash(encoder))
        assert len(hashes) == 6

    def test_the_hash_does_not_depend_on_the_memory_layout(self) -> None:
        encoder = tiny_encoder()
        before = encoder_hash(encoder)
        assert encoder_hash(encoder.to(memory_format=torch.channels_last)) == before

    def test_random_weights_come_from_the_seed_alone(self) -> None:
        torch.manual_seed(7)
        state = torch.random.get_rng_state()
        one = encoder_hash(tiny_encoder(seed=4))
        assert torch.equal(torch.random.get_rng_state(), state)
        torch.rand(3)
        assert encoder_hash(tiny_encoder(seed=4)) == one

    @pytest.mark.parametrize("name", ["no_such_network", "local-dir:/nowhere", "local-dir:", ""])
    def test_an_unknown_name_is_answered_with_the_three_forms(self, name: str) -> None:
        with pytest.raises(EncoderError, match="timm model name, hf-hub:owner/name or local-dir:folder"):
            load_encoder(name, size=64)

    def test_only_what_timm_knows_is_built(self) -> None:
        spec = tiny_encoder().spec
        for name in ("hf-hub:someone/model", "os.system", "local-dir:/tmp"):
            with pytest.raises(EncoderError, match=f"timm {timm.__version__} "):
                build_encoder(replace(spec, architecture=name))

    @pytest.mark.parametrize("name", ["checkpoint_path", "pretrained_cfg", "pretrained", "cache_dir"])
    def test_a_spec_cannot_name_files_to_load(self, name: str, tmp_path: Path) -> None:
        with pytest.raises(EncoderError):
            build_encoder(replace(tiny_encoder().spec, model_args={name: str(tmp_path / "x.pth")}))

    def test_a_pretrained_folder(self, shared: Path) -> None:
        encoder = load_encoder(f"local-dir:{shared / 'weights/mobilenetv2_100'}", size=128)
        assert encoder.spec.architecture == "mobilenetv2_100" and encoder.dim == 1280
        assert encoder_hash(encoder) != encoder_hash(load_encoder("mobilenetv2_100", size=128, pretrained=False))
        embeddings = encoder(pixels(2, 128)).embedding
        assert embeddings.isfinite().all() and embeddings.std() > 0.05
        again = build_encoder(encoder.spec)
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again(pixels(2, 128)).embedding, embeddings)
