"""A worker loads the model and the encoder of the call, once, or ends the run."""

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lrmil.errors import RunError
from lrmil.models import elsewhere
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.models.elsewhere import SameBundle, SameEncoder
from lrmil.models.encoders.loading import encoder_hash, load_encoder
from support.encoder_folders import encoder_folder
from support.runs import tiny_bundle


@pytest.fixture(autouse=True)
def another_process() -> Iterator[None]:
    """Nothing is loaded yet."""
    yield
    elsewhere._bundle.cache_clear()
    elsewhere._encoder.cache_clear()


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.chdir(tmp_path)
    save_bundle(Path("model"), tiny_bundle())
    return load_bundle("model")


def test_the_same_model_is_loaded_once_from_any_folder(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent = pickle.dumps(SameBundle.of(bundle, Path("model"), "cpu"))
    assert len(sent) < 1000, "only where it is travels"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path / "other")
    first, second = pickle.loads(sent)(), pickle.loads(sent)()
    assert first is second and first.sha256 == bundle.sha256
    assert all(torch.equal(*pair) for pair in zip(first.mil.parameters(), bundle.mil.parameters(), strict=True))


def test_another_model_ends_the_run(bundle: Bundle) -> None:
    with pytest.raises(RunError, match="another model"):
        replace(SameBundle.of(bundle, Path("model"), "cpu"), sha256="ab" * 32)()


@pytest.mark.parametrize("wrong", [{"folder": Path("absent")}, {"device": "cuda:99"}])
def test_a_model_that_cannot_be_loaded_ends_the_run(bundle: Bundle, wrong: dict[str, object]) -> None:
    same = SameBundle.of(bundle, Path("model"), "cpu")
    with pytest.raises(RunError, match="cannot load the model"):
        replace(same, **wrong)()  # type: ignore[arg-type]


def test_the_same_encoder_is_loaded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder_folder(tmp_path / "vit", "test_vit", {"img_size": 32})
    monkeypatch.chdir(tmp_path)
    expected = encoder_hash(load_encoder("vit", size=32))
    same = SameEncoder(str(tmp_path / "vit"), 32, "pooled", expected, "cpu", 3)
    assert same() is same() and encoder_hash(same().encoder) == expected and same().batch_size == 3
    with pytest.raises(RunError, match="another encoder"):
        replace(same, size=64)()
    with pytest.raises(RunError, match="cannot load the encoder"):
        replace(same, name=str(tmp_path / "absent"))()
