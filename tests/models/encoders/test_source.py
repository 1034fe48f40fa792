"""What a name stands for, and what is made of the folders of strangers."""

import json
import logging
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from lrmil.errors import EncoderError
from lrmil.models.encoders.loading import default_size, load_encoder
from lrmil.models.encoders.source import find_source
from support.encoder_folders import LAYERS, SMALL, encoder_folder, normalised

VIT: dict[str, Any] = {"img_size": 224, **SMALL}
GATED = {**VIT, "mlp_ratio": 4, "reg_tokens": 4, "dynamic_img_size": True, "global_pool": ""}


def change_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


class TestFolders:
    @pytest.mark.parametrize("form", ["local-dir:{}", "{}", "local-dir:~/e", "~/e", "relative"])
    def test_every_way_to_name_a_folder(self, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        encoder = load_encoder("e" if form == "relative" else form.format(tmp_path / "e"))
        assert encoder.dim == 48 and encoder.terms is not None
        assert (encoder.terms.name, encoder.terms.licence) == ("local-dir:e", None)

    def test_a_model_of_timm_is_not_a_folder_of_the_same_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "test_resnet").mkdir()
        monkeypatch.chdir(tmp_path)
        assert find_source("test_resnet").folder is None

    def test_packed_gated_layers_are_seen_in_the_weights(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """As UNI2-h and Virchow2: mlp_layer and act_layer are Python objects that no config.json holds."""
        network = encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", {**GATED, **LAYERS}, stated=GATED)
        with caplog.at_level(logging.WARNING):
            encoder = load_encoder(f"local-dir:{tmp_path / 'e'}")
        assert "SwiGLUPacked with SiLU" in caplog.text
        assert encoder.spec.model_args["mlp_layer"] == "SwiGLUPacked" and encoder.spec.embedding == "cls+mean"
        pixels = torch.randint(0, 256, (2, 3, 224, 224), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
        with torch.inference_mode():
            tokens = network.forward_features(normalised(pixels, (0.7, 0.57, 0.7), (0.21, 0.25, 0.21)))
            found = encoder(pixels).embedding
        assert torch.allclose(found, torch.cat([tokens[:, 0], tokens[:, 5:].mean(1)], 1), atol=1e-5)

    @pytest.mark.parametrize("name", ["SwiGLUPacked", "timm.layers.SwiGLUPacked"])
    def test_layers_may_be_named(self, name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        stated = {**GATED, "mlp_layer": name, "act_layer": "torch.nn.SiLU"}
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", {**GATED, **LAYERS}, stated=stated)
        encoder = load_encoder(str(tmp_path / "e"))
        assert encoder.spec.model_args["act_layer"] == "SiLU" and not caplog.text

    @pytest.mark.parametrize("value", ["os.system", "GluMlp", ["SwiGLUPacked"], 3])
    def test_a_layer_that_is_not_in_the_table_is_refused_by_name(self, value: object, tmp_path: Path) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT, stated={**VIT, "mlp_layer": value})
        with pytest.raises(EncoderError, match=r"mlp_layer .*SwiGLUPacked"):
            load_encoder(str(tmp_path / "e"))

    def test_weights_that_do_not_fit_name_the_layers_that_no_config_holds(self, tmp_path: Path) -> None:
        built = {**VIT, "mlp_ratio": 4}
        other = {"embed_dim": 48, "depth": 2, "num_heads": 2, "img_size": 224, "mlp_ratio": 3}
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", built, stated=other)
        with pytest.raises(EncoderError, match=r"size mismatch.*mlp_layer.*SwiGLUPacked"):
            load_encoder(str(tmp_path / "e"))

    @pytest.mark.parametrize("classes", [0, 1000])
    def test_a_layer_without_weights_never_keeps_random_ones(self, classes: int, tmp_path: Path) -> None:
        """Timm only logs them where the number of classes differs."""
        network = encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT, num_classes=classes, classifier="head")
        change_config(tmp_path / "e", num_classes=classes)
        assert load_encoder(str(tmp_path / "e")).dim == 48
        state = {key: value for key, value in network.state_dict().items() if key != "blocks.1.mlp.fc1.weight"}
        save_file(state, tmp_path / "e/model.safetensors")
        with pytest.raises(EncoderError, match=r"blocks\.1\.mlp\.fc1\.weight"):
            load_encoder(str(tmp_path / "e"))

    @pytest.mark.parametrize("scaled", [True, False])
    def test_layer_scale_is_seen_in_the_weights(self, scaled: bool, tmp_path: Path) -> None:
        built = {**VIT, **({"init_values": 1e-5} if scaled else {})}
        network = encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", built, stated=VIT)
        encoder = load_encoder(str(tmp_path / "e"))
        assert set(encoder.backbone.state_dict()) == set(network.state_dict())

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            ({"checkpoint_path": "/etc/passwd"}, "checkpoint_path"),
            ({"pretrained_cfg": {"url": "x"}}, "pretrained_cfg"),
            ({"depth": 100_000}, "depth"),
            ({"act_layer": "os.system('x')"}, "act_layer"),
            ({"in_chans": 4}, "RGB"),
            ({"layers": [1, 2]}, "layers"),
        ],
    )
    def test_arguments_of_a_stranger_are_refused_before_timm_sees_them(
        self, arguments: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT, stated={**VIT, **arguments})
        monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("timm was called"))
        with pytest.raises(EncoderError, match=said):
            load_encoder(str(tmp_path / "e"))

    @pytest.mark.parametrize("document", ["[]", "{", '{"architecture": 3}', '{"architecture": "os.system"}', "{}"])
    def test_a_config_that_is_none_is_one_sentence(self, document: str, tmp_path: Path) -> None:
        (tmp_path / "e").mkdir()
        (tmp_path / "e/config.json").write_text(document)
        with pytest.raises(EncoderError):
            load_encoder(str(tmp_path / "e"))

    @pytest.mark.parametrize(
        ("changes", "said"),
        [
            ({"input_size": [3, 100_000, 100_000]}, "up to 4096 px.*100000"),
            ({"input_size": [1, 224, 224]}, "input_size of RGB"),
            ({"input_size": 224}, "input_size of RGB"),
            ({"input_size": None}, "input_size.*none"),
            ({"of_tomorrow": 1, "later": 2}, "'later', 'of_tomorrow'"),
        ],
    )
    def test_what_goes_with_the_weights_is_refused_before_anything_is_built(
        self, changes: dict[str, object], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A network tried on a picture of 100,000 px takes all memory there is."""
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT, **changes)
        monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("timm was called"))
        with pytest.raises(EncoderError, match=said):
            load_encoder(str(tmp_path / "e"))

    def test_a_config_without_its_inner_part_says_what_belongs_there(self, tmp_path: Path) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT)
        path = tmp_path / "e/config.json"
        document = {key: value for key, value in json.loads(path.read_text()).items() if key != "pretrained_cfg"}
        path.write_text(json.dumps(document))
        with pytest.raises(EncoderError, match=r"no pretrained_cfg.*mean, std and input_size"):
            load_encoder(str(tmp_path / "e"))

    @pytest.mark.parametrize("size", [-5, 4097, 10**9])
    def test_a_size_that_no_patch_has_is_refused_as_such(self, size: int, tmp_path: Path) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT)
        with pytest.raises(EncoderError, match=rf"4096 px.* {size} px"):
            load_encoder(str(tmp_path / "e"), size=size)

    def test_weights_of_another_network_are_no_fault_of_the_size(self, tmp_path: Path) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT)
        path = tmp_path / "e/config.json"
        document = json.loads(path.read_text())
        for architecture, arguments in (("resnet18", {}), ("vit_tiny_patch16_224", {}), ("vit_small_patch16_224", {})):
            path.write_text(json.dumps({**document, "architecture": architecture, "model_args": arguments}))
            with pytest.raises(EncoderError) as caught:
                load_encoder(str(tmp_path / "e"))
            assert "local-dir:e" in str(caught.value) and "sizes that fit" not in str(caught.value)

    def test_a_folder_without_a_model_says_what_one_has(self, tmp_path: Path) -> None:
        with pytest.raises(EncoderError, match=r"config\.json .*missing.*model\.safetensors"):
            load_encoder(str(tmp_path))

    def test_a_folder_that_names_its_origin_has_its_terms(self, tmp_path: Path) -> None:
        built = {**GATED, **LAYERS, "init_values": 1e-5}
        encoder_folder(tmp_path / "e", "vit_huge_patch14_224", built, stated=GATED, hf_hub_id="paige-ai/Virchow2")
        terms = load_encoder(str(tmp_path / "e")).terms
        assert terms is not None and (terms.licence, terms.inherits) == ("CC-BY-NC-ND-4.0", True)

    def test_a_folder_that_names_another_s_origin_has_not_its_terms(self, tmp_path: Path) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT, hf_hub_id="paige-ai/Virchow2")
        terms = load_encoder(str(tmp_path / "e")).terms
        assert terms is not None and terms.licence is None

    def test_a_licence_that_the_config_states_is_kept(self, tmp_path: Path) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", VIT, license="apache-2.0")
        terms = load_encoder(str(tmp_path / "e")).terms
        assert terms is not None and (terms.licence, terms.inherits) == ("apache-2.0", None)

    def test_pickled_weights_give_their_shapes_and_run_nothing(self, tmp_path: Path) -> None:
        network = encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", {**GATED, **LAYERS}, stated=GATED)
        (tmp_path / "e/model.safetensors").unlink()
        torch.save(network.state_dict(), tmp_path / "e/pytorch_model.bin")
        assert load_encoder(str(tmp_path / "e")).spec.model_args["mlp_layer"] == "SwiGLUPacked"

        class Bomb:
            def __reduce__(self) -> tuple[Any, ...]:
                return os.mkdir, (str(tmp_path / "fired"),)

        torch.save({**network.state_dict(), "x": Bomb()}, tmp_path / "e/pytorch_model.bin")
        with pytest.raises(EncoderError):
            load_encoder(str(tmp_path / "e"))
        assert not (tmp_path / "fired").exists()


class TestSizes:
    @pytest.mark.parametrize(
        ("name", "size"),
        [
            ("mobilenetv2_100", 256),
            ("resnet50", 256),
            ("convnext_atto", 256),
            ("test_vit", 160),
            ("vit_small_patch16_224", 224),
            ("swin_tiny_patch4_window7_224", 224),
            ("vit_small_patch14_dinov2", 518),
            ("virchow2", 224),
            ("kaiko-vitl14", 224),
        ],
    )
    def test_the_default_follows_the_encoder(self, name: str, size: int) -> None:
        assert default_size(name, pretrained=False) == size

    def test_a_folder_states_its_own(self, tmp_path: Path) -> None:
        encoder_folder(tmp_path / "e", "vit_tiny_patch16_224", {**SMALL, "img_size": 96}, input_size=[3, 96, 96])
        assert default_size(str(tmp_path / "e")) == 96 and load_encoder(str(tmp_path / "e")).spec.size == 96
