"""The demonstration's model is made once, says what it is, and looks where the synthetic slide is positive."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock

import lrmil
from lrmil.demo import model as demo_model
from lrmil.demo.model import demo_model_steps
from lrmil.demo.slide import demo_slide
from lrmil.errors import LrmilError
from lrmil.models.synthetic import SYNTHETIC_NOTE
from lrmil.steps import Step, last

pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="module")
def model(folder: Path) -> Path:
    """The real one: half a minute on two cores."""
    return last(demo_model_steps(folder, device="cpu"))


def test_the_model_says_what_it_is(model: Path) -> None:
    bundle = lrmil.load_bundle(model)
    remark = str(bundle.training["remark"])
    assert all(words in remark for words in ("Demonstration", "synthetic", "real tissue", "no medical use"))
    assert bundle.notes_on("", None) == (SYNTHETIC_NOTE,)
    assert set(bundle.metrics) >= {"hr_teacher", "lr_undistilled", "lr_student"}


def test_it_is_made_once_and_leaves_nothing_else(model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*arguments: object, **options: object) -> Iterator[Step[Path]]:
        raise AssertionError("trained again")

    monkeypatch.setattr(demo_model, "train_steps", never)
    assert last(demo_model_steps(folder)) == model
    assert not [path for path in folder.iterdir() if path.name.startswith(".making")]


def test_it_finds_the_positive_regions_of_the_slide(model: Path, folder: Path) -> None:
    path = demo_slide(folder)
    stamp = path.stat().st_mtime_ns
    assert demo_slide(folder) == path and path.stat().st_mtime_ns == stamp
    result = lrmil.predict(path, lrmil.load_bundle(model), "cpu")
    assert result.label == "positive" and result.probabilities["positive"] > 0.8
    side = int(result.patches.size_level0)
    positive = np.zeros((3072, 3072))
    for region in json.loads((folder / "synthetic-positive.json").read_text()):
        (y, x), size = region["yx"], region["size"]
        positive[y : y + size, x : x + size] = 1
    shares = np.array([positive[y : y + side, x : x + side].mean() for y, x in result.patches.level0_yx])
    assert (result.patch_attention * shares).sum() > 2 * shares.mean()


def test_an_interrupted_making_leaves_no_model(tmp_path: Path) -> None:
    steps = demo_model_steps(tmp_path)
    next(steps)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert [path.name for path in tmp_path.iterdir()] in ([], ["model.lock"])


def test_what_a_killed_making_left_is_deleted(tmp_path: Path) -> None:
    left = tmp_path / ".lrmil-making-killed_1" / "slides"
    left.mkdir(parents=True)
    steps = demo_model_steps(tmp_path)
    next(steps)
    assert not left.parent.exists() and len(list(tmp_path.glob(".lrmil-making-*"))) == 1
    steps.close()  # type: ignore[attr-defined]


def test_one_thread_is_used_and_the_others_are_given_back(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        steps = demo_model_steps(tmp_path)
        next(steps)
        assert torch.get_num_threads() == 1
        steps.close()  # type: ignore[attr-defined]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_two_programs_make_it_one_after_the_other(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(demo_model, "PAUSE", 0.01)
    with FileLock(tmp_path / "model.lock"):
        steps = demo_model_steps(tmp_path)
        assert [next(steps).job[-1] for _ in range(3)] == ["wait"] * 3
        assert not list(tmp_path.glob(".lrmil-making-*"))
        made = tmp_path / model.name
        shutil.copytree(model, made)  # by the other program
    assert [step.result for step in steps if step.result] == [made]


def test_other_settings_give_another_model(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(demo_model.SETTINGS, "seed", 1)
    assert model.name != f"demo-model-{demo_model._key()}"


def test_a_failed_making_leaves_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: object, **options: object) -> Iterator[Step[Path]]:
        yield Step(("train",), 1, 2)
        raise LrmilError("no room")

    monkeypatch.setattr(demo_model, "train_steps", fails)
    with pytest.raises(LrmilError, match="no room"):
        last(demo_model_steps(tmp_path))
    assert not list(tmp_path.glob("demo-model-*")) and not list(tmp_path.glob(".lrmil-making-*"))
