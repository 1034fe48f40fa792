"""Model folders of strangers: sizes are checked before bytes are read, and no model gives NaN for an answer."""

import json
import os
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lrmil import cli
from lrmil.errors import FormatError, LrmilError, ModelError
from lrmil.features.extraction import SlideSource, extract_features
from lrmil.io import hashing
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.card import WEIGHTS, read_model_card
from lrmil.models.devices import pick_device
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.finite import require_finite
from lrmil.models.heads.head import predict_bag
from lrmil.patches.plan import PatchPlan
from lrmil.prediction.batch import predict_slides
from lrmil.steps import last
from support.hostile import places, put, values, without
from support.runs import ON_CPU, tiny_bundle, tiny_encoder

ENCODER, MIL = WEIGHTS[1:]
GIGABYTES = 10 << 30


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle") / "model"
    torch.manual_seed(0)
    save_bundle(folder, tiny_bundle())
    return folder


@pytest.fixture
def model(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "model"))


def sign(model: Path) -> None:
    """Make the hashes those of the files, as someone who forges a model would."""
    document = json.loads((model / "bundle.json").read_text())
    document["sha256"] = {name: hashing.sha256_file(model / name) for name in document["sha256"]}
    (model / "bundle.json").write_text(json.dumps(document))


def fill(model: Path, name: str, value: float, part: str = "") -> None:
    """Set every weight of a file whose name holds `part`."""
    tensors = load_file(model / name)
    for key, tensor in tensors.items():
        if part in key and tensor.is_floating_point():
            tensor.fill_(value)
    save_file(tensors, model / name)
    sign(model)


def header_of(path: Path) -> dict[str, Any]:
    data = path.read_bytes()
    return json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])  # type: ignore[no-any-return]


def write_header(path: Path, header: object, size: int) -> None:
    """Write a header and, without taking room on the disk, so many bytes."""
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    os.truncate(path, 8 + len(text) + size)


def end_of(header: dict[str, Any]) -> int:
    return max(int(value["data_offsets"][1]) for name, value in header.items() if name != "__metadata__")


def one_more(path: Path) -> None:
    header = header_of(path)
    end = end_of(header)
    tensor = {"dtype": "F32", "shape": [GIGABYTES // 4], "data_offsets": [end, end + GIGABYTES]}
    write_header(path, {**header, "huge": tensor}, end + GIGABYTES)


def larger(path: Path) -> None:
    header = header_of(path)
    name = max(header, key=lambda key: header[key]["data_offsets"][1] if key != "__metadata__" else -1)
    begin = header[name]["data_offsets"][0]
    tensor = {"dtype": "F32", "shape": [GIGABYTES // 4], "data_offsets": [begin, begin + GIGABYTES]}
    write_header(path, {**header, name: tensor}, begin + GIGABYTES)


def another_type(path: Path) -> None:
    header = header_of(path)
    changed = {
        name: {**value, "dtype": {"F32": "I32"}.get(value["dtype"], value["dtype"])} if "dtype" in value else value
        for name, value in header.items()
    }
    write_header(path, changed, end_of(header))


def trailing(path: Path) -> None:
    os.truncate(path, GIGABYTES)


def long_header(path: Path) -> None:
    path.write_bytes(struct.pack("<Q", 8 << 30) + b"{")
    os.truncate(path, GIGABYTES)


def endless_names(path: Path) -> None:
    header = {f"t{number}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for number in range(120_000)}
    write_header(path, header, 0)


def zeros(path: Path) -> None:
    path.write_bytes(b"")
    os.truncate(path, GIGABYTES)


@pytest.mark.parametrize("name", [ENCODER, MIL])
@pytest.mark.parametrize("damage", [one_more, larger, another_type, trailing, long_header, endless_names, zeros])
def test_a_header_is_checked_before_anything_is_hashed(
    model: Path, name: str, damage: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    damage(model / name)

    def hash_it(path: Path) -> str:
        raise AssertionError(f"{path} was hashed")

    monkeypatch.setattr(hashing, "sha256_file", hash_it)
    with pytest.raises(FormatError, match=Path(name).name):
        load_bundle(model)


def test_settings_that_are_not_those_that_were_signed_build_no_network(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model / WEIGHTS[0]
    path.write_text(path.read_text().replace("efficientnet", "resnet"))
    with monkeypatch.context() as patched:
        patched.setattr("lrmil.models.bundle_weights.build_encoder", lambda spec: pytest.fail("it was built"))
        with pytest.raises(FormatError, match=WEIGHTS[0]):
            load_bundle(model)
    os.truncate(path, GIGABYTES)
    with pytest.raises(FormatError, match="at most 4096 KiB"):
        load_bundle(model)


ABSURD = {
    "the whole encoder": (ENCODER, 1e38, ""),
    "the encoder's first layer": (ENCODER, 3e38, "conv_stem"),
    "variances below 0": (ENCODER, -1.0, "running_var"),
    "the whole attention network": (MIL, 1e38, ""),
    "the attention": (MIL, 3e38, "attention"),
    "the classifier": (MIL, 3e38, "classifier"),
    "the scale of the inputs": (MIL, 3e38, "scale"),
}


@pytest.mark.parametrize("name", ABSURD)
def test_finite_but_absurd_weights_end_in_a_sentence_about_the_model(
    name: str, model: Path, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(model, *ABSURD[name])
    out = tmp_path / "out"
    slides = [str(cohort / f"slides/demo-00{number}.ome.tif") for number in (0, 1)]
    code = cli.main(["predict", *slides, "--model", str(model), "--out", str(out), "--device", "cpu", "--threads", "1"])
    said = capsys.readouterr().err
    assert (
        code == 1 and "Expected finite numbers from" in said and "Leave it out" not in said and "Traceback" not in said
    )
    if out.exists():  # what the encoder gives is checked when it is loaded
        assert sorted(path.name for path in out.iterdir() if path.name[0] != ".") == ["predictions.csv"]
        assert len((out / "predictions.csv").read_text().splitlines()) == 1


def test_extraction_blames_the_encoder_and_stores_nothing(cohort: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder()
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.fill_(1e38)
    sources = [SlideSource("demo-000", cohort / "slides/demo-000.ome.tif")]
    with pytest.raises(ModelError, match="encoder test_efficientnet"):
        steps = extract_features(
            sources,
            PatchEncoder(encoder, pick_device("cpu"), batch_size=8),
            "00",
            tmp_path,
            PatchPlan(mpp=2.0, size=64),
        )
        last(steps)
    assert not list(tmp_path.glob("*.zarr"))


def test_layers_that_half_precision_cannot_hold_are_not_stored(cohort: Path, tmp_path: Path) -> None:
    encoder = tiny_encoder("test_vit")
    with torch.no_grad():
        encoder.backbone.blocks[0].mlp.fc2.bias.fill_(1e6)  # type: ignore[union-attr, index]
    patch_encoder = PatchEncoder(encoder, pick_device("cpu"), batch_size=8, layers=(0,))
    sources = [SlideSource("demo-000", cohort / "slides/demo-000.ome.tif")]
    with pytest.raises(ModelError, match="float16"):
        last(extract_features(sources, patch_encoder, "00", tmp_path, PatchPlan(mpp=2.0, size=64)))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_no_number_is_seen_wherever_it_is(value: float) -> None:
    good = np.zeros((3, 4), np.float32)
    require_finite("it", good, good)
    bad = good.copy()
    bad[2, 3] = value
    for outputs in ((bad, good), (good, bad)):
        with pytest.raises(ModelError, match="in 1 of 24"):
            require_finite("it", *outputs)


def test_logits_that_are_large_are_an_answer_and_beyond_any_use_are_none() -> None:
    bundle = tiny_bundle()
    mil = bundle.mil
    with torch.no_grad():
        mil.classifier.bias.copy_(torch.tensor([1e6, -1e6]))
    output = predict_bag(mil, torch.zeros(2, mil.shift.shape[0]))
    assert bundle.task.values(output.logits).tolist() == [1.0, 0.0] and output.attention.tolist() == [0.5, 0.5]
    with torch.no_grad():
        mil.classifier.bias.copy_(torch.tensor([3e38, -3e38]))
    with pytest.raises(ModelError, match="attention network"):
        predict_bag(mil, torch.zeros(2, mil.shift.shape[0]))


def test_one_model_that_fails_ends_the_run_and_keeps_what_was_there(cohort: Path, saved: Path, tmp_path: Path) -> None:
    source = SlideSource("demo-000", cohort / "slides/demo-000.ome.tif")
    last(predict_slides([source], load_bundle(saved), tmp_path / "out", ON_CPU))
    before = (tmp_path / "out/predictions.csv").read_bytes()
    bundle = load_bundle(saved)
    with torch.no_grad():
        bundle.mil.attention.weight.fill_(3e38)
        bundle.mil.tanh_branch.bias.fill_(1.0)
    other = SlideSource("demo-001", cohort / "slides/demo-001.ome.tif")
    with pytest.raises(ModelError):
        last(predict_slides([source, other], bundle, tmp_path / "out", ON_CPU))
    assert (tmp_path / "out/predictions.csv").read_bytes() == before


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), value=values)
def test_whatever_stands_in_its_documents_it_is_loaded_or_refused(
    data: st.DataObject, value: object, saved: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp() / "fuzzed-model"
    if not folder.exists():
        shutil.copytree(saved, folder)
    name = data.draw(st.sampled_from(["bundle.json", "encoder/config.json"]))
    whole = json.loads((saved / name).read_text())
    place = data.draw(st.sampled_from(list(places(whole))))
    changed = without(whole, place) if data.draw(st.booleans()) and value is None else put(whole, place, value)
    for document in ("bundle.json", "encoder/config.json"):
        shutil.copy(saved / document, folder / document)
    (folder / name).write_text(json.dumps(changed))
    if name != "bundle.json":
        sign(folder)
    for read in (read_model_card, load_bundle):
        try:
            read(folder)
        except LrmilError as error:
            assert str(error)
