"""The weights of an encoder are looked for before a training, and what is missing is named."""

from pathlib import Path

import pytest

from lrmil.errors import EncoderError
from lrmil.models.encoders import facts, hub
from lrmil.models.encoders.catalogue import CATALOGUE
from lrmil.models.encoders.folder import folder_in
from lrmil.models.encoders.hub import Availability
from lrmil.models.encoders.weights import require_weights

OPEN = next(name for name, entry in CATALOGUE.items() if not entry.gated)


def files(folder: Path, *names: str) -> Path:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("{}")
    return folder


@pytest.mark.parametrize(
    ("names", "missing"),
    [
        ((), "no config.json and no model.safetensors"),
        (("config.json",), "no model.safetensors"),
        (("pytorch_model.bin",), "no config.json in"),
    ],
)
def test_a_folder_is_named_whole_with_what_it_lacks(names: tuple[str, ...], missing: str, tmp_path: Path) -> None:
    folder = files(tmp_path / "encoder", *names)
    for name in (str(folder), f"local-dir:{folder}"):
        with pytest.raises(EncoderError) as caught:
            require_weights(name)
        assert str(folder) in str(caught.value) and missing in str(caught.value)
    with pytest.raises(EncoderError, match="no folder"):
        require_weights(f"local-dir:{tmp_path / 'none'}")


def test_a_folder_with_weights_is_one_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = files(tmp_path / "resnet50", "config.json", "model.safetensors")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in (str(folder), f"local-dir:{folder}", "~/resnet50", "./resnet50"):
        found = folder_in(name)
        assert found is not None and found.samefile(folder), name
        require_weights(name)
    assert folder_in("resnet50") is None, "the model of timm, not the folder beside"
    assert folder_in("hf-hub:owner/name") is None


@pytest.mark.parametrize("name", [OPEN, f"hf-hub:{CATALOGUE[OPEN].hub_id}"])
def test_a_model_of_the_hub_needs_the_hub_or_the_cache(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    state = dict.fromkeys(Availability._fields, False)
    monkeypatch.setattr(facts, "availability", lambda _: Availability(**state))
    with pytest.raises(EncoderError, match="cannot be reached"):
        require_weights(name)
    state["cached"] = True
    require_weights(name)


def test_a_model_of_timm_that_is_neither_cached_nor_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_cached", lambda *_, **__: None)
    monkeypatch.setattr(hub, "answers", lambda _: False)
    with pytest.raises(EncoderError, match="cannot be reached"):
        require_weights("resnet50")
    with pytest.raises(EncoderError, match="similar names"):
        require_weights("resnet5O")
