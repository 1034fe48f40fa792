"""Regions of a teacher: the means of what lies in each LR patch, and the teacher's identity on them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lrmil.configs import FitConfig, MILConfig, Stage2Config
from lrmil.features.store import read_card, read_features
from lrmil.io.ownership import is_features
from lrmil.models.heads.choice import make_mil
from lrmil.models.heads.head import predict_bag
from lrmil.patches.plan import PatchPlan
from lrmil.runs.arms import HR, REGIONS
from lrmil.runs.regions import make_regions, region_features
from lrmil.steps import last
from lrmil.tasks.classification import Classification
from lrmil.training.bags import TeacherOutput, student_bag
from lrmil.training.loop import FitRun
from lrmil.training.slide_stage import train_mil
from support.bags import CPU
from support.runs import stamp_of, write_bag


def plan_of(children: int) -> PatchPlan:
    return PatchPlan(mpp=2.0, size=64, children=children, min_tissue=0.25, min_tissue_hr=0.25, max_failed=0.2)


def write_hr(run: Path, slide_id: str, children: int, seed: int = 0) -> Path:
    """HR features of some patches in disorder, of blocks too."""
    rng = np.random.default_rng(seed)
    index = rng.permutation(np.argwhere(rng.random((4 * children, 5 * children)) < 0.3))
    values = rng.normal(size=(len(index), 7))
    layers = {0: rng.normal(size=(len(index), 3)).astype(np.float16)}
    return write_bag(run / HR / f"{slide_id}.zarr", index, values, layers, mpp=2.0 / children)


@pytest.mark.parametrize("children", [1, 2, 4])
def test_a_region_is_the_mean_of_its_covered_patches(tmp_path: Path, children: int) -> None:
    hr = read_features(write_hr(tmp_path, "s", children), layers=True)
    regions = make_regions(hr, children=children, mpp=2.0)
    inside: dict[tuple[int, int], list[np.ndarray]] = {}
    for (row, col), values in zip(hr.index.tolist(), hr.embeddings, strict=True):
        inside.setdefault((row // children, col // children), []).append(values)
    assert [tuple(cell) for cell in regions.index.tolist()] == sorted(inside)  # a patch without children is none
    expected = [np.mean(inside[cell], 0) for cell in sorted(inside)]
    np.testing.assert_allclose(regions.embeddings, expected, rtol=1e-5, atol=1e-6)
    assert regions.embeddings.dtype == np.float32 and regions.layers == {}
    card = regions.card
    assert (card.mpp, card.size, card.total, card.failed) == (2.0, hr.card.size, len(inside), 0)
    assert replace(card, mpp=hr.card.mpp, key=hr.card.key, total=hr.card.total) == hr.card and card.key != hr.card.key


def test_they_are_made_again_only_where_the_hr_features_changed(tmp_path: Path) -> None:
    for seed, slide_id in enumerate("ab"):
        write_hr(tmp_path, slide_id, 2, seed)
    steps = list(region_features(tmp_path, ["a", "b"], plan_of(2)))
    assert [(step.job, step.done, step.total) for step in steps] == [(("region features",), n, 2) for n in (1, 2)]
    paths = [tmp_path / REGIONS / f"{slide_id}.zarr" for slide_id in "ab"]
    assert all(map(is_features, paths))
    before = [stamp_of(path / "zarr.json") for path in paths]
    list(region_features(tmp_path, ["a", "b"], plan_of(2)))
    assert [stamp_of(path / "zarr.json") for path in paths] == before
    features = read_features(tmp_path / HR / "b.zarr")
    write_bag(tmp_path / HR / "b.zarr", features.index, 2 * features.embeddings, mpp=1.0)
    card = tmp_path / HR / "b.zarr/zarr.json"
    card.write_text(card.read_text().replace('"key": "key"', '"key": "other"'))
    old = read_features(paths[1]).embeddings
    list(region_features(tmp_path, ["a", "b"], plan_of(2)))
    after = [stamp_of(path / "zarr.json") for path in paths]
    assert after[0] == before[0] and after[1] != before[1]
    np.testing.assert_allclose(read_features(paths[1]).embeddings, 2 * old, rtol=1e-6)
    keys = {read_card(path).key for path in paths}
    list(region_features(tmp_path, ["a", "b"], plan_of(4)))
    assert not keys & {read_card(path).key for path in paths}


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_student_that_sees_the_regions_is_the_teacher(tmp_path: Path, seeds: int) -> None:
    """Method, section 7: sum_k a_k t_k = sum_r A_r mu_r; with regions, log A_r are the teacher's own logits."""
    write_hr(tmp_path, "s", 4)
    list(region_features(tmp_path, ["s"], plan_of(4)))
    path = tmp_path / REGIONS / "s.zarr"
    regions = read_features(path)
    config = MILConfig(hidden_dim=8, seeds=seeds, fit=FitConfig(epochs=0))
    torch.manual_seed(0)
    teacher = make_mil(7, 2, config, seeds=seeds)
    output = predict_bag(teacher, torch.from_numpy(regions.embeddings))
    order = np.random.default_rng(1).permutation(len(regions.index))
    index = np.concatenate([[[40, 40]], regions.index[order]])  # an LR patch that nothing covers comes first
    values = np.concatenate([np.zeros((1, 7), np.float32), regions.embeddings[order]])
    lr = write_bag(tmp_path / "lr.zarr", index, values)
    bag = student_bag("s", lr, path, 1, TeacherOutput(output.logits, output.attention_logits), children=1)
    assert bag.log_mass is not None and bag.log_mass.tolist() == [-np.inf, *output.attention_logits[order].tolist()]
    if seeds == 1:
        mass = torch.from_numpy(bag.log_mass).softmax(0)
        logits = teacher.classifier(mass @ torch.from_numpy(values))
        np.testing.assert_allclose(logits.detach(), output.logits, rtol=1e-5, atol=1e-6)
    steps = train_mil(
        ("mil",),
        [replace(bag, features=path, log_mass=output.attention_logits)],
        [],
        FitRun(0, tmp_path / "mil.checkpoint.safetensors", "key", CPU),
        task=Classification(("no", "yes")),
        config=config,
        stage2=Stage2Config(),
        start=teacher.state_dict(),
    )
    student = last(steps).module
    again = predict_bag(student, torch.from_numpy(regions.embeddings))
    assert again.logits.tolist() == output.logits.tolist()
    assert again.attention_logits.tolist() == output.attention_logits.tolist()
