"""What an encoder gives: embeddings, maps and layers of networks of every kind."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf
from timm.models.swin_transformer import SwinTransformer
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from lrmil.errors import EncoderError
from lrmil.models.encoders.loading import (
    Encoder,
    EncoderSpec,
    build_encoder,
    load_encoder,
)
from support.encoder_folders import encoder_folder, normalised
from support.hungry import SPEC
from support.runs import tiny_encoder

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
        """Timm's own export states in_chans, which no spec may set: a model could be trained and never loaded."""
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
        size = min(int(timm.get_pretrained_cfg(name).input_size[-1]), 256)  # one is for 1,024 px, and reads any
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
