"""Encoders of the hub: without a network, or refused."""

import time
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from huggingface_hub.errors import EntryNotFoundError, GatedRepoError, RepositoryNotFoundError

from lrmil.errors import EncoderError
from lrmil.models.encoders import hub
from lrmil.models.encoders.loading import load_encoder


class TestOffline:
    @pytest.fixture(autouse=True)
    def cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path / "torch"))

    @pytest.mark.parametrize(
        "name", ["hf-hub:owner/name", "uni2-h", "resnet50", "mobilenetv2_100", "vit_large_patch16_224", "hf_hub:a/b@c"]
    )
    @pytest.mark.parametrize("way", ["setting", "network"])
    def test_one_sentence_at_once_with_the_ways_out(self, name: str, way: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", way == "setting")
        monkeypatch.setattr(hub, "answers", lambda url: False)
        monkeypatch.setattr("timm.create_model", lambda *_, **__: pytest.fail("a download was tried"))
        start = time.monotonic()
        with pytest.raises(EncoderError, match="local-dir:FOLDER") as caught:
            load_encoder(name)
        assert time.monotonic() - start < 5
        assert ("HF_HUB_OFFLINE" if way == "setting" else "cannot be reached") in str(caught.value)

    def test_nothing_answers_where_nothing_listens(self) -> None:
        start = time.monotonic()
        assert not hub.answers("http://127.0.0.1:9/")
        assert time.monotonic() - start < hub.MAX_WAIT + 1

    @pytest.mark.parametrize(
        ("kind", "said"),
        [
            (GatedRepoError, "gated.*hf auth login"),
            (RepositoryNotFoundError, "MahmoodLab/uni"),
            (EntryNotFoundError, "timm's"),
        ],
    )
    def test_what_the_hub_refuses_is_said(
        self, kind: type[Exception], said: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object, **__: object) -> None:
            error = kind.__new__(kind)
            error.args = ("401",)
            raise error

        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(hub, "answers", lambda url: True)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
        with pytest.raises(EncoderError, match=said):
            load_encoder("uni")

    def test_weights_of_timm_in_the_cache_need_no_network(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from safetensors.torch import save_file

        network = load_encoder("test_resnet", pretrained=False, seed=5).backbone
        folder = tmp_path / "hub/models--timm--test_resnet.r160_in1k"
        (folder / "snapshots/abc").mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs/main").write_text("abc")
        save_file(dict(network.state_dict()), folder / "snapshots/abc/model.safetensors")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
        monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: pytest.fail("a download was tried"))
        found = load_encoder("test_resnet").backbone.state_dict()
        assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())

    def test_a_name_near_a_known_one_is_said(self) -> None:
        with pytest.raises(EncoderError, match="uni2-h"):
            load_encoder("uni2h")
