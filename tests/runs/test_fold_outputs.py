"""A fold's MIL is read by what is written beside its weights; folds without it, as earlier versions made them, too."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lrmil.configs import MILConfig
from lrmil.errors import FormatError
from lrmil.features.store import read_features
from lrmil.io.ownership import is_artefact
from lrmil.models.heads.choice import make_mil
from lrmil.models.heads.head import MILHead, predict_bag
from lrmil.models.heads.kinds import HEADS, HeadName
from lrmil.runs.artefacts import committing
from lrmil.runs.fold_outputs import HEAD, load_mil, read_history, read_outputs, save_mil
from support.bags import random_bag
from support.runs import TinyRun, tiny_config

CONFIG = MILConfig(hidden_dim=3)


@pytest.fixture(params=[(5, 1), (6, 2), (7, 4)], ids=str)
def mil(request: pytest.FixtureRequest) -> MILHead:
    return make_mil(*request.param, CONFIG)


@pytest.fixture
def saved(mil: MILHead, tmp_path: Path) -> Path:
    with committing(tmp_path / "teacher", {"what": "teacher"}) as temporary:
        save_mil(temporary, mil)
    assert is_artefact(tmp_path / "teacher")
    return tmp_path / "teacher"


@pytest.mark.parametrize("earlier", [False, True])
def test_what_was_saved_is_read(saved: Path, mil: MILHead, earlier: bool) -> None:
    stated = json.loads((saved / HEAD).read_text())
    assert stated == {"head": "abmil", "in_dim": mil.in_dim, "outputs": mil.outputs}
    if earlier:
        (saved / HEAD).unlink()
    read = load_mil(saved, CONFIG)
    assert (read.name, read.in_dim, read.outputs, read.training) == ("abmil", mil.in_dim, mil.outputs, False)
    assert all(torch.equal(value, mil.state_dict()[name]) for name, value in read.state_dict().items())


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_read_by_what_is_written_beside_it(tmp_path: Path, head: HeadName) -> None:
    """Whatever the settings say by then."""
    mil = make_mil(5, 3, replace(CONFIG, head=head, projection_dim=4)).eval()
    save_mil(tmp_path, mil)
    read = load_mil(tmp_path, replace(CONFIG, projection_dim=4))
    bag = random_bag(7, 5)
    assert read.name == head and torch.equal(read(bag).logits, mil(bag).logits)


def test_an_ensemble_is_read_with_its_members(tmp_path: Path) -> None:
    mil = make_mil(5, 3, CONFIG, seeds=3)
    save_mil(tmp_path, mil)
    stated = json.loads((tmp_path / HEAD).read_text())
    assert stated == {"head": "ensemble", "members": {"head": "abmil", "count": 3}, "in_dim": 5, "outputs": 3}
    read = load_mil(tmp_path, CONFIG)
    assert read.name == "ensemble"
    assert all(torch.equal(value, mil.state_dict()[name]) for name, value in read.state_dict().items())
    (tmp_path / HEAD).write_text(json.dumps({**stated, "members": {"head": "abmil", "count": 2}}))
    with pytest.raises(FormatError, match="fit the network"):
        load_mil(tmp_path, CONFIG)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("head", HEADS)
def test_attention_within_regions_is_read_where_it_is_stated_alone(tmp_path: Path, head: HeadName, seeds: int) -> None:
    config = replace(CONFIG, head=head, projection_dim=4)
    nested, plain = (make_mil(5, 3, config, seeds=seeds, within_regions=within) for within in (True, False))
    for name, mil in {"nested": nested, "plain": plain}.items():
        (tmp_path / name).mkdir()
        save_mil(tmp_path / name, mil)
    settings = replace(CONFIG, projection_dim=4)
    read = load_mil(tmp_path / "nested", settings)
    assert type(read) is type(nested) and not read.training
    assert all(torch.equal(value, nested.state_dict()[name]) for name, value in read.state_dict().items())
    stated = {name: json.loads((tmp_path / name / HEAD).read_text()) for name in ("nested", "plain")}
    assert stated["nested"] == {**stated["plain"], "within_regions": "attention"}
    for name, other in {"nested": "plain", "plain": "nested"}.items():
        (tmp_path / name / HEAD).write_text(json.dumps(stated[other]))
        with pytest.raises(FormatError, match="fit the network"):
            load_mil(tmp_path / name, settings)


@pytest.mark.parametrize(
    "change",
    [
        {"head": "unheard of"},
        {"head": "ensemble"},
        {"members": {"head": "abmil", "count": 2}},
        {"head": "ensemble", "members": {"head": "ensemble", "count": 2}},
        {"head": "ensemble", "members": {"head": "abmil", "count": 1}},
        {"head": "ensemble", "members": {"head": "abmil", "count": 10**9}},
        {"head": "ensemble", "members": {"head": "abmil"}},
        {"within_regions": "mean"},
        {"within_regions": True},
        {"in_dim": 0},
        {"in_dim": 6.0},
        {"in_dim": True},
        {"outputs": 1 << 40},
        {"outputs": "2"},
        {"more": 1},
    ],
    ids=str,
)
def test_a_head_that_is_unknown_or_makes_no_sense_is_refused(saved: Path, change: dict[str, object]) -> None:
    stated = json.loads((saved / HEAD).read_text())
    (saved / HEAD).write_text(json.dumps({**stated, **change}))
    with pytest.raises(FormatError, match="MIL head"):
        load_mil(saved, CONFIG)


@pytest.mark.parametrize("text", ["", "[]", "{}", "null", "{"])
def test_a_damaged_head_is_not_taken_for_an_earlier_one(saved: Path, text: str) -> None:
    (saved / HEAD).write_text(text)
    with pytest.raises(FormatError):
        load_mil(saved, CONFIG)


@pytest.mark.parametrize("name", ["in_dim", "outputs"])
@pytest.mark.parametrize("size", [8, 1 << 20])
def test_dimensions_that_are_not_those_of_the_weights_are_refused(saved: Path, name: str, size: int) -> None:
    """Also those that no memory could hold."""
    stated = json.loads((saved / HEAD).read_text())
    (saved / HEAD).write_text(json.dumps({**stated, "in_dim": 1 << 20, "outputs": 1 << 20, name: size}))
    with pytest.raises(FormatError, match="fit the network"):
        load_mil(saved, CONFIG)


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "much", None])
def test_a_history_that_is_not_of_finite_numbers_is_refused(tmp_path: Path, value: object) -> None:
    (tmp_path / "history.json").write_text(json.dumps([{"train_loss": 0.5}]))
    assert read_history(tmp_path) == [{"train_loss": 0.5}]
    (tmp_path / "history.json").write_text(json.dumps([{"train_loss": 0.5}, {"train_loss": value}]))
    with pytest.raises(FormatError, match="history"):
        read_history(tmp_path)


pytestmark = pytest.mark.long


def test_outputs_are_the_teacher_on_its_own_features(tiny_run: TinyRun) -> None:
    outputs = read_outputs(tiny_run.folder / "fold-0")["hr_teacher"]
    teacher = load_mil(tiny_run.folder / "fold-0/teacher", tiny_config().mil)
    assert len(outputs) == 4
    for slide_id, output in outputs.items():
        features = read_features(tiny_run.folder / f"shared/regions/{slide_id}.zarr")
        expected = predict_bag(teacher, torch.from_numpy(features.embeddings))
        np.testing.assert_allclose(output.attention_logits, expected.attention_logits, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(output.logits, expected.logits, rtol=1e-5, atol=1e-6)
        softmax = np.exp(output.logits) / np.exp(output.logits).sum()
        np.testing.assert_allclose(output.values, softmax, rtol=1e-5)
