"""Encoders of every kind are seen alike, are rebuilt exactly, and give the same answer in any batch."""

import json
import logging
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from safetensors.torch import save_file
from timm.models import save_for_hf
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lrmil.errors import ConfigError, EncoderError
from lrmil.models.encoders.loading import (
    Encoder,
    EncoderOutput,
    EncoderSpec,
    PatchEncoder,
    as_input,
    build_encoder,
    encoder_hash,
    load_encoder,
)
from support.encoder_folders import encoder_folder, normalised
from support.runs import tiny_encoder

CPU = torch.device("cpu")
TINY_VIT = {"depth": 2, "embed_dim": 48, "num_heads": 4}
TRUNKS: list[tuple[str, dict[str, object]]] = [
    ("cait_xxs24_224", {"depth": 2}),
    ("xcit_nano_12_p16_224", {"depth": 2}),
    ("convit_tiny", {}),
    ("mvitv2_tiny", {}),
    ("mvitv2_base_cls", {}),
    ("volo_d1_224", {}),
    ("coat_lite_tiny", {}),
    ("coat_tiny", {}),
    ("crossvit_tiny_240", {}),
    ("hiera_tiny_224", {}),
    ("sam2_hiera_tiny", {}),
    ("pit_ti_224", {}),
    ("efficientvim_m1", {}),
    ("deit_tiny_distilled_patch16_224", TINY_VIT),
    ("swin_tiny_patch4_window7_224", {"depths": (1, 1, 1, 1)}),
    ("pvt_v2_b0", {}),
    ("tnt_s_legacy_patch16_224", {"depth": 2}),
    ("levit_128s", {}),
]
SPEC = EncoderSpec("hand-made", 64, "pooled", (0.5, 0.4, 0.3), (0.2, 0.25, 0.3), {})


def pixels(count: int, size: int = 64, seed: int = 0) -> Tensor:
    """(b, 3, size, size) uint8 noise on a gradient, each patch of its own brightness."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 100, (count, 3, size, size), generator=generator)
    return (noise + torch.linspace(0, 150, count)[:, None, None, None]).to(torch.uint8)


def vit(registers: int = 4) -> VisionTransformer:
    torch.manual_seed(0)
    options = {"img_size": 64, "patch_size": 16, "embed_dim": 24, "depth": 4, "num_heads": 2, "num_classes": 0}
    return VisionTransformer(**options, reg_tokens=registers)


def timm_folder(folder: Path, arguments: dict[str, object] | None = None) -> Path:
    """A model folder as timm writes it, with further arguments of its architecture."""
    numbers = {name: value for name, value in (arguments or {}).items() if name == "in_chans"}
    model = timm.create_model("test_resnet", pretrained=False, **numbers)
    save_for_hf(model, str(folder / "encoder"), safe_serialization=True)
    config = json.loads((folder / "encoder/config.json").read_text())
    config["model_args"] |= arguments or {}
    (folder / "encoder/config.json").write_text(json.dumps(config))
    return folder / "encoder"


class TestOutputs:
    @pytest.mark.parametrize(
        ("name", "layers", "dims", "grids"),
        [
            ("test_vit", (0, 5, -1), (64, 64, 64), (4, 4, 4)),
            ("test_resnet", (0, 4, -1), (32, 96, 96), (32, 2, 2)),
            ("test_convnext", (0, 3, -1), (24, 64, 64), (16, 2, 2)),
            ("test_efficientnet", (1, -1), (24, 256), (16, 2)),
            ("mobilenetv3_small_050", (1, -1), (8, 288), (16, 2)),
        ],
    )
    def test_shapes(self, name: str, layers: tuple[int, ...], dims: tuple[int, ...], grids: tuple[int, ...]) -> None:
        encoder = tiny_encoder(name)
        output = encoder(pixels(3), layers)
        assert output.embedding.shape == (3, encoder.dim)
        assert [tuple(tokens.shape) for tokens in output.class_tokens] == [(3, dim) for dim in dims]
        expected = [(3, dim, grid, grid) for dim, grid in zip(dims, grids, strict=True)]
        assert [tuple(tokens.shape) for tokens in output.patch_tokens] == expected

    def test_a_vit_gives_its_cls_and_not_a_register(self) -> None:
        model = vit().eval()
        encoder = Encoder(replace(SPEC, embedding="cls"), model)
        batch = pixels(2)
        inputs = (batch.float() / 255 - torch.tensor(SPEC.mean)[:, None, None]) / torch.tensor(SPEC.std)[:, None, None]
        hidden = model.norm_pre(model._pos_embed(model.patch_embed(inputs)))
        states = []
        for block in model.blocks:
            hidden = block(hidden)
            states.append(hidden)
        final = model.norm(hidden)
        output = encoder(batch, (1, -1))
        assert torch.allclose(output.embedding, final[:, 0], atol=1e-6)
        assert torch.allclose(output.class_tokens[0], states[1][:, 0], atol=1e-6)
        assert torch.allclose(output.class_tokens[1], final[:, 0], atol=1e-6)
        # 1 CLS and 4 registers come first, then the patches in reading order
        for maps, tokens in zip(output.patch_tokens, (states[1], final), strict=True):
            assert torch.allclose(maps.flatten(2).transpose(1, 2), tokens[:, 5:], atol=1e-6)

    def test_a_map_with_channels_last_is_turned(self) -> None:
        torch.manual_seed(0)
        options = {"img_size": 64, "patch_size": 4, "embed_dim": 8, "window_size": 2, "num_classes": 0}
        swin = SwinTransformer(**options, depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1))
        encoder = Encoder(replace(SPEC, embedding="mean"), swin)
        with torch.inference_mode():
            output = encoder(pixels(2), (0, -1))
            final = swin.forward_features((pixels(2).float() / 255 - encoder.mean) / encoder.std)
        assert output.patch_tokens[0].shape == (2, 8, 16, 16)
        assert torch.allclose(output.patch_tokens[1], final.permute(0, 3, 1, 2), atol=1e-6)
        assert torch.allclose(output.embedding, final.mean((1, 2)), atol=1e-6)

    @pytest.mark.parametrize("layers", [(5, 0), (-2, 0), (0, -6), (-1, 3, 3), (-1,), ()])
    def test_layers_come_in_the_order_asked_for(self, layers: tuple[int, ...]) -> None:
        encoder = tiny_encoder("test_vit")
        batch = pixels(2)
        output = encoder(batch, layers)
        alone = [encoder(batch, (layer if layer == -1 else layer % 6,)) for layer in layers]
        assert len(output.class_tokens) == len(output.patch_tokens) == len(layers)
        for tokens, maps, one in zip(output.class_tokens, output.patch_tokens, alone, strict=True):
            assert torch.allclose(tokens, one.class_tokens[0], atol=1e-6)
            assert torch.allclose(maps, one.patch_tokens[0], atol=1e-6)

    @pytest.mark.parametrize("layer", [6, -7])
    def test_a_block_that_is_not_there_is_refused(self, layer: int) -> None:
        with pytest.raises(EncoderError, match="from 0 to 5"):
            tiny_encoder("test_vit")(pixels(1), (layer,))

    @pytest.mark.parametrize("size", [48, 64, 112])
    def test_position_embeddings_fit_another_size(self, size: int) -> None:
        encoder = tiny_encoder("test_vit", size)
        side = size // 16
        assert encoder(pixels(1, size), (0,)).patch_tokens[0].shape[-1] == side
        assert encoder.backbone.pos_embed.shape[1] == side**2 + 1

    def test_position_embeddings_are_resampled_not_cut(self, tmp_path: Path) -> None:
        from safetensors.torch import save_file

        torch.manual_seed(0)
        model = timm.create_model("test_vit", num_classes=0)
        nn.init.normal_(model.pos_embed)
        grid = torch.linspace(-3, 3, 10)[None, :, None, None].expand(1, 10, 10, 64).reshape(1, 100, 64)
        with torch.no_grad():
            model.pos_embed[:, 1:] = grid
        save_file(model.state_dict(), tmp_path / "model.safetensors")
        config = '{"architecture": "test_vit", "num_classes": 0, "pretrained_cfg": {"num_classes": 0, "input_size": '
        config += '[3, 160, 160], "fixed_input_size": true, "mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}'
        (tmp_path / "config.json").write_text(config)
        encoder = load_encoder(f"local-dir:{tmp_path}", size=64)
        found = encoder.backbone.pos_embed[0, 1:].reshape(4, 4, 64)
        assert found[0].mean() < -1.5 and found[-1].mean() > 1.5
        assert encoder.spec.mean == (0.1, 0.2, 0.3) and encoder.spec.std == (0.4, 0.5, 0.6)

    def test_what_timm_writes_of_itself_is_loaded_and_built_again(self, tmp_path: Path) -> None:
        """timm's own export states in_chans, which no spec may set: a model could be trained and never loaded."""
        folder = timm_folder(tmp_path)
        assert json.loads((folder / "config.json").read_text())["model_args"]["in_chans"] == 3
        encoder = load_encoder(f"local-dir:{folder}", size=64)
        again = build_encoder(encoder.spec)
        again.load_state_dict(encoder.state_dict())
        assert torch.equal(again(pixels(2)).embedding, encoder(pixels(2)).embedding)

    @pytest.mark.parametrize(("arguments", "said"), [({"layers": [1, 1, 1, 1]}, "'layers'"), ({"in_chans": 4}, "RGB")])
    def test_what_a_model_folder_could_not_hold_is_refused_before_anything_is_trained(
        self, tmp_path: Path, arguments: dict[str, object], said: str
    ) -> None:
        folder = timm_folder(tmp_path, arguments)
        with pytest.raises(EncoderError, match=said):
            load_encoder(f"local-dir:{folder}", size=64)

    @pytest.mark.parametrize(("name", "arguments"), TRUNKS)
    def test_trunks_of_every_kind(self, name: str, arguments: dict[str, object]) -> None:
        """Class attention, a class token between the stages, several branches."""
        torch.manual_seed(0)
        model = timm.create_model(name, num_classes=0, **arguments).eval()
        size = int(timm.get_pretrained_cfg(name).input_size[-1])
        spec = EncoderSpec(name, size, "pooled", SPEC.mean, SPEC.std, {})
        encoder, batch = Encoder(spec, model), pixels(2, size)
        last = len(model.feature_info) - 1
        with torch.inference_mode():
            inputs = (batch.float() / 255 - encoder.mean) / encoder.std
            output = encoder(batch, (0, last, -1))
            assert torch.allclose(output.embedding, model(inputs), atol=1e-5)
            final = model.forward_features(inputs)
        assert output.embedding.shape == (2, encoder.dim)
        rows, cols = output.patch_tokens[1].shape[2:]
        assert output.patch_tokens[2].shape[2:] == (rows, cols) and rows == cols > 1
        if isinstance(final, Tensor) and final.ndim == 3 and final.shape[1] >= rows * cols:
            extra = final.shape[1] - rows * cols
            assert torch.allclose(output.patch_tokens[2].flatten(2).mT, final[:, extra:], atol=1e-5)
            expected = final[:, 0] if extra else final.mean(1)
            assert torch.allclose(output.class_tokens[2], expected, atol=1e-5)
            both = Encoder(replace(spec, embedding="cls+mean"), model)
            assert torch.allclose(both(batch).embedding, torch.cat([expected, final[:, extra:].mean(1)], 1), atol=1e-5)

    def test_the_tokens_of_hiera_lie_where_they_belong(self) -> None:
        """Its blocks keep tokens in another order; those of a map must move with the picture."""
        encoder = load_encoder("hiera_tiny_224", pretrained=False)
        dark = torch.full((1, 3, 224, 224), 230, dtype=torch.uint8)
        lit = dark.clone()
        lit[:, :, 32:64, 128:160] = 20
        with torch.inference_mode():
            changed = (encoder(lit, (-1,)).patch_tokens[0] - encoder(dark, (-1,)).patch_tokens[0]).abs().sum(1)[0]
        assert divmod(int(changed.argmax()), 7) == (1, 4)

    @pytest.mark.parametrize("name", ["crossvit_tiny_240", "efficientvim_m1"])
    def test_branches_are_put_together_by_their_own_head_alone(self, name: str) -> None:
        assert load_encoder(name, pretrained=False).spec.embedding == "pooled"
        with pytest.raises(EncoderError, match=f"'pooled' for {name}.* Got 'cls'"):
            load_encoder(name, pretrained=False, embedding="cls")

    def test_tokens_without_a_head_are_class_token_and_mean(self, tmp_path: Path) -> None:
        options = {"img_size": 64, "embed_dim": 24, "depth": 2, "num_heads": 2, "reg_tokens": 3, "global_pool": ""}
        for name, more, rule in (("a", {}, "cls+mean"), ("b", {"class_token": False, "reg_tokens": 0}, "mean")):
            model = encoder_folder(tmp_path / name, "vit_tiny_patch16_224", {**options, **more})
            encoder = load_encoder(str(tmp_path / name), size=64)
            with torch.inference_mode():
                tokens = model.forward_features(normalised(pixels(2), (0.7, 0.57, 0.7), (0.21, 0.25, 0.21)))
                found = encoder(pixels(2)).embedding
            mean = tokens[:, -16:].mean(1)
            expected = torch.cat([tokens[:, 0], mean], 1) if rule == "cls+mean" else mean
            assert encoder.spec.embedding == rule and torch.allclose(found, expected, atol=1e-5)
            assert load_encoder(str(tmp_path / name), size=64, embedding="cls").spec.embedding == "cls"

    def test_embedding_kinds(self) -> None:
        batch = pixels(2)
        made = {kind: tiny_encoder("test_vit", embedding=kind) for kind in ("cls", "mean", "cls+mean", "pooled")}
        out = {kind: encoder(batch, (-1,)) for kind, encoder in made.items()}
        token, maps = out["cls"].class_tokens[0], out["cls"].patch_tokens[0]
        assert torch.equal(out["cls"].embedding, token)
        assert torch.allclose(out["mean"].embedding, maps.mean((2, 3)), atol=1e-6)
        assert torch.allclose(out["cls+mean"].embedding, torch.cat([token, maps.mean((2, 3))], 1), atol=1e-6)
        pooled = made["pooled"].backbone((batch.float() / 255 - made["pooled"].mean) / made["pooled"].std)
        assert torch.allclose(out["pooled"].embedding, pooled, atol=1e-6)
        assert {kind: encoder.dim for kind, encoder in made.items()} == {
            kind: output.embedding.shape[1] for kind, output in out.items()
        }

    def test_a_projector_sits_behind_the_embedding(self) -> None:
        plain, projected = tiny_encoder(), tiny_encoder(projected_dim=7)
        projected.backbone.load_state_dict(plain.backbone.state_dict())
        assert projected.dim == 7 and projected.raw_dim == plain.dim
        assert torch.allclose(projected(pixels(2)).embedding, projected.projector(plain(pixels(2)).embedding))

    def test_the_pixels_are_normalised_as_the_spec_says(self) -> None:
        class Identity(nn.Module):
            num_features, feature_info = 3, (1,)

            def forward_intermediates(self, x: Tensor, **options: object) -> tuple[Tensor, list[Tensor]]:
                return x, [x]

            def forward_head(self, x: Tensor, pre_logits: bool) -> Tensor:
                return x.mean((2, 3))

        encoder = Encoder(SPEC, Identity())
        colour = torch.tensor([255, 0, 51], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 8, 8)
        expected = [(1 - 0.5) / 0.2, (0 - 0.4) / 0.25, (0.2 - 0.3) / 0.3]
        assert encoder(colour).embedding[0].tolist() == pytest.approx(expected, abs=1e-6)

    def test_training_leaves_it_in_evaluation_mode(self) -> None:
        encoder = tiny_encoder()
        holder = nn.Sequential(encoder).train()
        assert holder.training and not any(module.training for module in encoder.modules())
        before = encoder.state_dict()["backbone.bn1.running_mean"].clone()
        encoder(pixels(4)).embedding.sum().backward()
        assert torch.equal(encoder.state_dict()["backbone.bn1.running_mean"], before)
        assert all(parameter.grad is not None for parameter in encoder.backbone.conv_stem.parameters())


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


class Hungry(nn.Module):
    """Runs out of memory above `limit` patches; otherwise the mean colour."""

    dim = 3

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.spec = SPEC
        self.limit = limit
        self.seen: list[int] = []

    def forward(self, batch: Tensor, layers: tuple[int, ...] = ()) -> EncoderOutput:
        if len(batch) > self.limit:
            raise torch.OutOfMemoryError("no room")
        self.seen.append(len(batch))
        mean = batch.float().mean((2, 3))
        return EncoderOutput(mean, tuple(mean + layer for layer in layers), ())


class TestPatchEncoder:
    @pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet"])
    def test_the_batch_size_does_not_matter(self, name: str) -> None:
        batch = pixels(67).permute(0, 2, 3, 1).contiguous().numpy()
        encoder = tiny_encoder(name)
        results = [PatchEncoder(encoder, CPU, batch_size=size, layers=(0, -1))(batch) for size in (1, 3, 64)]
        with torch.inference_mode():
            plain = encoder(as_input(torch.from_numpy(batch), CPU), (0, -1))
        for embeddings, tokens in results:
            assert embeddings.dtype == np.float32
            np.testing.assert_allclose(embeddings, plain.embedding.numpy(), rtol=1e-5, atol=1e-5)
            for found, expected in zip(tokens, plain.class_tokens, strict=True):
                np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)

    def test_the_batch_is_halved_until_it_fits_and_that_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        batch = pixels(50, 8).permute(0, 2, 3, 1).contiguous().numpy()
        plenty = PatchEncoder(Hungry(1000), CPU, batch_size=32, layers=(2,))(batch)  # type: ignore[arg-type]
        encoder = PatchEncoder(Hungry(20), CPU, batch_size=32, layers=(2,))  # type: ignore[arg-type]
        with caplog.at_level(logging.WARNING):
            first, second = encoder(batch), encoder(batch)
        assert encoder.batch_size == 16 and encoder.encoder.seen == [16, 16, 16, 2] * 2
        assert [record.getMessage() for record in caplog.records] == [
            "Not enough memory on cpu: the batch is now 16 patches."
        ]
        for found in (first, second):
            assert np.array_equal(found[0], plenty[0]) and np.array_equal(found[1][0], plenty[1][0])

    def test_one_patch_that_does_not_fit_is_an_error(self) -> None:
        batch = np.zeros((3, 8, 8, 3), np.uint8)
        with pytest.raises(ConfigError, match=r"cpu .*64 px"):
            PatchEncoder(Hungry(0), CPU, batch_size=4)(batch)  # type: ignore[arg-type]

    def test_an_empty_batch_size_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"at least 1 .*0"):
            PatchEncoder(tiny_encoder(), CPU, batch_size=0)
