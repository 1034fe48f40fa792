"""lrmil.bundle/1: what is loaded is what was saved, and anything else is refused with its reason."""

import json
import os
import pickle
import resource
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from lrmil.errors import FormatError, OverwriteError
from lrmil.io import hashing
from lrmil.models import bundle_weights
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.models.card import FORMAT, UNCALIBRATED, read_model_card
from lrmil.models.encoders.loading import encoder_hash
from lrmil.models.heads.choice import make_mil
from lrmil.models.heads.head import predict_bag
from lrmil.models.heads.kinds import HEADS, HeadName
from lrmil.operating_point import choose_operating_point
from lrmil.tasks.calibration import Calibration
from lrmil.tasks.case_rule import CaseRule, rules_of
from lrmil.tasks.decision import Decision, PredictionSets, RiskLimit
from support.models import rewrite
from support.paths import FORMATS
from support.runs import tiny_bundle

SAMPLE = FORMATS / "bundle-1" / "sample"


def sign(model: Path) -> None:
    """Make the hashes those of the files, as someone who forges a model would."""
    rewrite(
        model,
        lambda document: document.update(
            sha256={name: hashing.sha256_file(model / name) for name in document["sha256"]}
        ),
    )  # type: ignore[attr-defined, arg-type]


def pixels() -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (5, 3, 64, 64), generator=generator, dtype=torch.uint8)


def probabilities(bundle: Bundle) -> list[float]:
    with torch.inference_mode():
        return bundle.task.values(predict_bag(bundle.mil, bundle.encoder(pixels()).embedding).logits).tolist()


def test_what_is_loaded_predicts_the_same(tmp_path: Path) -> None:
    bundle = replace(
        tiny_bundle(mpp=1.5, classes=("a", "b", "c")),
        min_tissue=0.4,
        max_failed=0.1,
        training={"slides": 3},
        metrics={"x": None},
        license="MIT",
    )
    save_bundle(tmp_path / "model", bundle)
    again = load_bundle(tmp_path / "model")
    assert probabilities(again) == probabilities(bundle)
    assert encoder_hash(again.encoder) == encoder_hash(bundle.encoder)
    for name in (
        "classes",
        "mpp",
        "patch_size",
        "min_tissue",
        "max_failed",
        "mil_config",
        "training",
        "metrics",
        "license",
    ):
        assert getattr(again, name) == getattr(bundle, name)
    assert not again.mil.training and not again.encoder.training
    assert again.sha256 == hashing.sha256_file(tmp_path / "model/bundle.json")
    save_bundle(tmp_path / "second", again)
    assert (tmp_path / "second/bundle.json").read_bytes() == (tmp_path / "model/bundle.json").read_bytes()


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_loaded_alone_and_with_members(tmp_path: Path, head: HeadName, seeds: int) -> None:
    single = tiny_bundle()
    config = replace(single.mil_config, head=head, projection_dim=8)
    bundle = replace(single, mil=make_mil(single.encoder.dim, 2, config, seeds=seeds).eval(), mil_config=config)
    save_bundle(tmp_path / "model", bundle)
    document = json.loads((tmp_path / "model/bundle.json").read_text())
    stated = {name: document[name] for name in ("head", "members") if name in document}
    alone = {} if head == "abmil" else {"head": head}  # an earlier version's models state nothing
    assert stated == (alone if seeds == 1 else {"head": "ensemble", "members": {"head": head, "count": 3}})
    again = load_bundle(tmp_path / "model")
    assert probabilities(again) == probabilities(bundle) != probabilities(single)
    assert again.mil_config == config and not again.mil.training
    save_bundle(tmp_path / "second", again)
    assert (tmp_path / "second/bundle.json").read_bytes() == (tmp_path / "model/bundle.json").read_bytes()


@pytest.mark.parametrize(
    "change",
    [
        {"head": "unheard of"},
        {"head": ["abmil"]},
        {"head": "ensemble"},
        {"head": "auto"},
        {"head": "ensemble", "members": {"head": "auto", "count": 2}},
        {"members": {"head": "abmil", "count": 2}},
        {"head": "ensemble", "members": {"head": "unheard of", "count": 2}},
        {"head": "ensemble", "members": {"head": "abmil", "count": 10**9}},
    ],
    ids=str,
)
def test_an_unknown_head_is_refused_by_its_name(model: Path, change: dict[str, object]) -> None:
    rewrite(model, lambda document: document.update(change))
    for read in (load_bundle, read_model_card):
        with pytest.raises(FormatError, match="MIL head"):
            read(model)


def test_a_head_that_is_to_be_chosen_is_no_models(model: Path, tmp_path: Path) -> None:
    bundle = load_bundle(model)
    with pytest.raises(FormatError, match=r'MIL head.*"auto"'):
        save_bundle(tmp_path / "unresolved", replace(bundle, mil_config=replace(bundle.mil_config, head="auto")))
    assert not (tmp_path / "unresolved").exists()
    rewrite(model, lambda document: document["mil"].update(head="auto"))  # type: ignore[attr-defined]
    with pytest.raises(FormatError, match=r'MIL head.*"auto"'):
        load_bundle(model)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("head", HEADS)
def test_the_card_has_the_head(tmp_path: Path, head: HeadName, seeds: int) -> None:
    single = tiny_bundle()
    config = replace(single.mil_config, head=head, projection_dim=8)
    bundle = replace(single, mil=make_mil(single.encoder.dim, 2, config, seeds=seeds).eval(), mil_config=config)
    save_bundle(tmp_path / "model", bundle)
    card = read_model_card(tmp_path / "model")
    assert card.head == load_bundle(tmp_path / "model").card.head == bundle.card.head
    stated = (card.head.head, None) if card.head.members is None else (card.head.members.head, card.head.members.count)
    assert stated == ((head, None) if seeds == 1 else (head, 3))


def test_the_folder_holds_json_and_safetensors(saved: Path) -> None:
    names = sorted(path.relative_to(saved).as_posix() for path in saved.rglob("*") if path.is_file())
    assert names == ["bundle.json", "encoder/config.json", "encoder/model.safetensors", "mil.safetensors"]
    document = json.loads((saved / "bundle.json").read_text())
    assert document["format"] == UNCALIBRATED and "not a diagnosis" in document["notice"]


def test_a_folder_is_replaced_whole_unless_it_holds_more(saved: Path, model: Path) -> None:
    (model / "bundle.json").write_text((model / "bundle.json").read_text() + "\n")
    save_bundle(model, load_bundle(saved))
    assert load_bundle(model).sha256 == load_bundle(saved).sha256
    assert [path.name for path in model.parent.iterdir()] == ["model"]
    (model / "extra").write_text("the user's")
    with pytest.raises(OverwriteError, match="the folder 'model'"):
        save_bundle(model, load_bundle(saved))
    assert (model / "extra").read_text() == "the user's"


@pytest.mark.parametrize("version", ["lrmil.bundle/3", "lrmil.run/1", None])
def test_another_version_is_refused_by_its_name(model: Path, version: str | None) -> None:
    rewrite(model, lambda document: document.update(format=version))
    for read in (load_bundle, read_model_card):
        with pytest.raises(FormatError, match=f"lrmil.bundle/2 .*{version!r}"):
            read(model)


@pytest.mark.parametrize("name", ["encoder/config.json", "encoder/model.safetensors", "mil.safetensors"])
def test_a_changed_or_missing_file_is_refused(model: Path, name: str) -> None:
    data = bytearray((model / name).read_bytes())
    data[-1] ^= 1
    (model / name).write_bytes(data)
    with pytest.raises(FormatError, match=name):
        load_bundle(model)
    (model / name).unlink()
    with pytest.raises(FormatError, match=str(model)):
        load_bundle(model)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["encoder/model.safetensors", "mil.safetensors"])
def test_weights_that_are_no_numbers_are_refused(model: Path, name: str, value: float) -> None:
    tensors = load_file(model / name)
    key = next(key for key, tensor in tensors.items() if tensor.ndim == 2 or tensor.ndim == 4)
    tensors[key].view(-1)[0] = value
    save_file(tensors, model / name)
    sign(model)
    with pytest.raises(FormatError, match=name):
        load_bundle(model)


@pytest.mark.parametrize("name", ["encoder/model.safetensors", "mil.safetensors"])
@pytest.mark.parametrize("change", ["shape", "missing", "extra"])
def test_tensors_that_do_not_fit_are_refused_by_name(model: Path, name: str, change: str) -> None:
    tensors = load_file(model / name)
    key = sorted(tensors)[0]
    if change == "shape":
        tensors[key] = tensors[key].reshape(-1)[:-1].clone() if tensors[key].ndim else torch.zeros(2)
    elif change == "missing":
        del tensors[key]
    else:
        key = "another"
        tensors[key] = torch.zeros(1)
    save_file(tensors, model / name)
    sign(model)
    with pytest.raises(FormatError, match=f"{name} .*{key}"):
        load_bundle(model)


@pytest.mark.parametrize(
    "change",
    [
        {"classes": ["only"]},
        {"classes": []},
        {"classes": None},
        {"mpp": 0},
        {"mpp": -2.0},
        {"mpp": float("nan")},
        {"mpp": "coarse"},
        {"patch_size": 8},
        {"patch_size": 100_000},
        {"patch_size": 128},
        {"mil": {"hidden_dim": 0}},
        {"mil": {"unknown": 1}},
        {"mil": None},
        {"sha256": {}},
        {"training": None},
        {"min_tissue": None},
        {"mpp": 1e9},
        {"mpp": 1e-9},
        {"mpp": "2.0"},
        {"mpp": True},
        {"patch_size": 64.0},
        {"patch_size": 10**30},
        {"patch_size": -64},
        {"min_tissue": -0.1},
        {"min_tissue": float("nan")},
        {"max_failed": float("inf")},
        {"max_failed": 1.5},
        {"max_failed": "0.2"},
        {"classes": "ab"},
        {"classes": ["a", "a"]},
        {"classes": ["a", ""]},
        {"classes": ["a", 1]},
        {"classes": ["a", "b\x1b[2J"]},
        {"classes": ["a", "b" * 2000]},
        {"classes": [f"class {number}" for number in range(100_000)]},
        {"license": 3},
        {"license": "x" * 100_000},
        {"sha256": None},
        {"sha256": [1]},
        {"mil": {"hidden_dim": 10**9}},
        {"mil": {"projection_dim": 10**9}},
        {"mil": {"hidden_dim": -1}},
    ],
    ids=lambda change: str(change)[:60],
)
def test_values_that_make_no_model_are_refused(model: Path, change: dict[str, object]) -> None:
    rewrite(model, lambda document: document.update(change))
    with pytest.raises(FormatError):
        load_bundle(model)


@pytest.mark.parametrize(
    "change",
    [
        {"architecture": "no_such_network"},
        {"architecture": "hf-hub:someone/model"},
        {"embedding": "other"},
        {"mean": [0.5]},
        {"std": None},
        {"model_args": {"checkpoint_path": "x.pth"}},
        {"model_args": {"no_such_argument": 1}},
        {"model_args": []},
        {"model_args": {"pretrained_cfg": {"url": "x"}}},
        {"model_args": {"img_size": 1_000_000}},
        {"model_args": {"in_chans": 1_000_000}},
        {"model_args": {"act_layer": "os.system('x')"}},
        {"model_args": {"channel_multiplier": -1.0}},
        {"model_args": {"depth_multiplier": 1e4}},
        {"architecture": "local-dir:/tmp"},
        {"architecture": "../resnet18"},
        {"architecture": ["resnet18"]},
        {"projected_dim": 10**9},
        {"projected_dim": -1},
        {"projected_dim": 1.5},
        {"mean": [0.5, 0.5, 1e300]},
        {"std": [0.0, 1.0, 1.0]},
        {"unknown": 1},
    ],
    ids=str,
)
def test_an_encoder_that_cannot_be_built_is_refused(model: Path, change: dict[str, object]) -> None:
    path = model / "encoder/config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    sign(model)
    with pytest.raises(FormatError):
        load_bundle(model)


@pytest.mark.parametrize("text", ["", "[]", "{", "\ud800"])
def test_a_file_that_is_no_document_is_refused(model: Path, text: str) -> None:
    (model / "bundle.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(FormatError):
        load_bundle(model)


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.write_text, (self.path, "boom")


def test_a_pickle_in_the_folder_is_not_touched(model: Path, tmp_path: Path) -> None:
    bomb = pickle.dumps(Bomb(tmp_path / "fired"))
    for name in ("model.pt", "pytorch_model.bin", "encoder/model.pth", "encoder/pytorch_model.bin", "mil.pkl"):
        (model / name).write_bytes(bomb)
    load_bundle(model)
    assert not (tmp_path / "fired").exists()
    for name in ("mil.safetensors", "encoder/model.safetensors"):  # a pickle under a trusted name is refused, not read
        whole = (model / name).read_bytes()
        (model / name).write_bytes(bomb)
        sign(model)
        with pytest.raises(FormatError):
            load_bundle(model)
        (model / name).write_bytes(whole)
        sign(model)
    assert not (tmp_path / "fired").exists()
    pickle.loads(bomb)
    assert (tmp_path / "fired").exists()  # the bomb is a real one


def test_the_first_version_stays_readable() -> None:
    bundle = load_bundle(SAMPLE)
    assert bundle.classes == ("no", "yes") and (bundle.mpp, bundle.patch_size) == (2.0, 64)
    expected = json.loads((SAMPLE.parent / "expected.json").read_text())
    np.testing.assert_allclose(probabilities(bundle), expected["probabilities"], atol=1e-4)
    assert expected["spec"] == json.loads(json.dumps(asdict(bundle.encoder.spec)))


@pytest.mark.parametrize(
    "data",
    [
        b'{"format": "lrmil.bundle/1", "format": "lrmil.bundle/1"}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe{\x00}\x00",
        b"[" * 100_000,
        b'{"a":' * 500 + b"1" + b"}" * 500,
        b'{"mpp": 1e999}',
        b'{"mpp": ' + b"9" * 5000 + b"}",
        b'{"license": "\\ud800"}',
        b'{"license": "\\u001b[2J"}',
        b'{"license": "' + b"x" * (5 << 20) + b'"}',
    ],
    ids=["name twice", "BOM", "UTF-16", "lists", "objects", "infinite", "digits", "half", "control", "large"],
)
def test_a_document_of_a_stranger_is_refused(model: Path, data: bytes) -> None:
    (model / "bundle.json").write_bytes(data)
    for read in (load_bundle, read_model_card):
        with pytest.raises(FormatError, match=r"bundle\.json"):
            read(model)


@pytest.mark.parametrize(
    "count", [{"embed_dim": 10_000}, {"depth": 250}, {"patch_size": 1}, {"reg_tokens": 16_000}], ids=str
)
def test_a_network_of_another_size_is_refused_before_it_takes_memory(
    model: Path, count: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = model / "encoder/config.json"
    change = {"architecture": "test_vit", "model_args": {**count, "dynamic_img_size": False}, "projected_dim": 16_384}
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    sign(model)
    monkeypatch.setattr(bundle_weights, "load_file", lambda path: pytest.fail("weights were read"))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FormatError, match=r"encoder/model\.safetensors"):
        load_bundle(model)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(
    "head",
    [
        *({"head": head} for head in HEADS),
        *({"head": "ensemble", "members": {"head": head, "count": 100}} for head in HEADS),
    ],
    ids=str,
)
@pytest.mark.parametrize("size", [10**8, 10**12], ids=str)
def test_a_head_of_another_size_is_refused_before_it_takes_memory(
    model: Path, head: dict[str, object], size: int
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    mil = {"hidden_dim": size, "projection_dim": size}
    rewrite(model, lambda document: document.update(mil=mil, **head))
    with pytest.raises(FormatError, match=r"mil\.safetensors|overflow"):
        load_bundle(model)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize("name", ["bundle.json", "encoder/config.json", "encoder/model.safetensors", "mil.safetensors"])
@pytest.mark.parametrize("kind", ["link", "device", "pipe", "folder"])
def test_what_leads_out_of_the_folder_or_is_no_file_is_refused_unopened(
    model: Path, tmp_path: Path, name: str, kind: str
) -> None:
    path = model / name
    if kind == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.unlink()
    if kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    with pytest.raises(FormatError, match="plain file" if kind in ("pipe", "folder") else "link that leads out of"):
        load_bundle(model)


def test_a_folder_in_the_folder_that_is_a_link_is_refused(model: Path, tmp_path: Path) -> None:
    (model / "encoder").rename(tmp_path / "encoder")
    (model / "encoder").symlink_to(tmp_path / "encoder")
    with pytest.raises(FormatError, match="link that leads out of"):
        load_bundle(model)


def test_a_link_to_the_model_folder_is_followed(model: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(model)
    assert load_bundle(tmp_path / "link").classes == ("no", "yes")


def test_the_hash_of_a_model_covers_all_that_it_says(model: Path) -> None:
    """Whoever changes bundle.json can sign the files anew: then the hash that every output carries is another."""
    before = load_bundle(model).sha256
    rewrite(model, lambda document: document.update(classes=["yes", "no"]))
    assert load_bundle(model).sha256 != before


def test_weights_of_half_precision_stay_readable(model: Path) -> None:
    path = model / "mil.safetensors"
    save_file({name: tensor.half() for name, tensor in load_file(path).items()}, path)
    sign(model)
    assert load_bundle(model).mil.classifier.weight.dtype == torch.float32


def test_a_bundle_that_could_not_be_read_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="resolution"):
        save_bundle(tmp_path / "model", replace(tiny_bundle(), mpp=1e9))
    assert not list(tmp_path.iterdir())


CALIBRATION = Calibration(slopes=(2.0, 2.0), offsets=(0.5, -0.5), slides=30)
DECISION = Decision(
    operating_point=choose_operating_point("sensitivity=0.9", [0.1, 0.2, 0.6, 0.9], [False, True, False, True]),
    sets=PredictionSets(coverage=0.9, limits=(0.2, 0.3), by_class=True, slides=(15, 15)),
    risk=RiskLimit(max_risk=0.1, limit=0.8, answered=24, errors=0, slides=30),
)


def test_a_calibrated_model_answers_by_its_calibration(tmp_path: Path) -> None:
    plain = tiny_bundle()
    bundle = replace(plain, calibration=CALIBRATION, decision=DECISION)
    save_bundle(tmp_path / "model", bundle)
    document = json.loads((tmp_path / "model/bundle.json").read_text())
    assert document["format"] == FORMAT and document["calibration"] == CALIBRATION.to_dict()
    again = load_bundle(tmp_path / "model")
    assert again.decision == again.card.decision == read_model_card(tmp_path / "model").decision == DECISION
    assert again.calibration == again.card.calibration == read_model_card(tmp_path / "model").calibration == CALIBRATION
    logits = np.float32([0.3, -0.4])
    np.testing.assert_array_equal(again.values(logits), CALIBRATION.probabilities(logits))
    np.testing.assert_array_equal(plain.values(logits), plain.task.values(logits))
    odds = 2 * (-0.4 - 0.3) - 0.5
    assert again.values(logits)[1] == pytest.approx(1 / (1 + np.exp(-odds)))


@pytest.mark.parametrize(
    "stated",
    [
        None,
        {},
        [],
        {**CALIBRATION.to_dict(), "slopes": [1.0, -1.0]},
        {**CALIBRATION.to_dict(), "slopes": [1.0, 1.0, 1.0], "offsets": [0.0, 0.0, 0.0]},
        {**CALIBRATION.to_dict(), "code": "import os"},
    ],
    ids=str,
)
def test_a_damaged_calibration_is_refused(tmp_path: Path, stated: object) -> None:
    save_bundle(tmp_path / "model", replace(tiny_bundle(), calibration=CALIBRATION))
    rewrite(tmp_path / "model", lambda document: document.update(calibration=stated))
    for read in (load_bundle, read_model_card):
        with pytest.raises(FormatError, match="calibration"):
            read(tmp_path / "model")


@pytest.mark.parametrize(
    "stated",
    [
        None,
        [],
        {"operating_point": {**DECISION.to_dict()["operating_point"], "threshold": 2}},  # type: ignore[dict-item]
        {"sets": {"coverage": 0.9, "limits": [0.1, 0.1, 0.1], "by_class": True, "slides": [9, 9, 9]}},
        {"code": "import os"},
    ],
    ids=str,
)
def test_damaged_rules_for_answers_are_refused(tmp_path: Path, stated: object) -> None:
    save_bundle(tmp_path / "model", replace(tiny_bundle(), calibration=CALIBRATION, decision=DECISION))
    rewrite(tmp_path / "model", lambda document: document.update(decision=stated))
    for read in (load_bundle, read_model_card):
        with pytest.raises(FormatError, match="rules for answers"):
            read(tmp_path / "model")


def test_an_uncalibrated_model_and_one_without_rules_answer_with_the_most_probable_class(tmp_path: Path) -> None:
    save_bundle(tmp_path / "model", replace(tiny_bundle(), decision=DECISION))
    assert load_bundle(tmp_path / "model").decision == Decision()
    save_bundle(tmp_path / "other", replace(tiny_bundle(), calibration=CALIBRATION, decision=DECISION))
    rewrite(tmp_path / "other", lambda document: document.pop("decision"))
    assert load_bundle(tmp_path / "other").decision == Decision()


@pytest.mark.parametrize("rule", rules_of(2))
def test_the_rule_for_cases_is_kept(tmp_path: Path, rule: CaseRule) -> None:
    save_bundle(tmp_path / "model", replace(tiny_bundle(), case_rule=rule))
    assert load_bundle(tmp_path / "model").case_rule == read_model_card(tmp_path / "model").case_rule == rule


def test_a_model_that_states_no_rule_takes_the_mean(tmp_path: Path) -> None:
    save_bundle(tmp_path / "model", tiny_bundle())
    rewrite(tmp_path / "model", lambda document: document.pop("case_rule"))
    assert load_bundle(tmp_path / "model").case_rule == "mean"


@pytest.mark.parametrize("stated", ["median", None, 3, ["mean"], {"mean": 1}])
def test_an_unknown_rule_is_refused(tmp_path: Path, stated: object) -> None:
    save_bundle(tmp_path / "model", tiny_bundle())
    rewrite(tmp_path / "model", lambda document: document.update(case_rule=stated))
    with pytest.raises(FormatError, match="rule for cases among mean, max, noisy-or"):
        load_bundle(tmp_path / "model")


def test_a_rule_for_two_classes_is_refused_for_three(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="rule for cases among mean in"):
        save_bundle(tmp_path / "model", replace(tiny_bundle(classes=("a", "b", "c")), case_rule="max"))
    assert not (tmp_path / "model").exists()
