"""The public names that users, the plugin and outside checks rely on, as architecture.md section 2 lists them."""

import importlib.metadata
import inspect
import re
from pathlib import Path

import numpy as np
import pytest
import torch

import lrmil
from lrmil.reviews.log import Review
from lrmil.runs.environment import installed_versions
from support.runs import TinyRun

# fmt: off
NAMES = [
    "open_slide", "segment_tissue", "make_patches", "load_bundle", "predict", "predict_steps",
    "train", "train_steps", "validate_cohort", "ABMIL", "losses", "targets",
    "geometry", "TrainConfig", "Bundle", "CohortReport", "LrmilError", "MILOutput",
    "Prediction", "Raster", "Regions", "Run", "Slide", "Step", "last",
    "load_encoder", "configs", "errors", "metrics", "labels_from_reviews", "reader_agreement",
]
# fmt: on


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_there_documented_and_listed(name: str) -> None:
    found = getattr(lrmil, name)
    assert inspect.getdoc(found) and name in lrmil.__all__ and name in dir(lrmil)


def test_every_listed_name_is_there_and_no_other() -> None:
    assert all(hasattr(lrmil, name) for name in lrmil.__all__)
    with pytest.raises(AttributeError, match="no_such"):
        lrmil.no_such  # noqa: B018


def test_the_version_needs_no_installed_distribution(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(name: str) -> str:
        if name == "napari-lrmil":
            raise importlib.metadata.PackageNotFoundError(name)
        return real(name)

    real = importlib.metadata.version
    monkeypatch.setattr(importlib.metadata, "version", version)
    assert re.fullmatch(r"\d+\.\d+\.\d+.*", lrmil.__version__)
    assert installed_versions()["napari-lrmil"] == lrmil.__version__
    assert review_entry().version == lrmil.__version__


def review_entry() -> Review:
    return Review(
        event="read",
        slide_id="a",
        slide_fingerprint="00",
        bundle_sha256="0" * 64,
        output_label="no",
        human_label="no",
        output_probabilities={"no": 0.75, "yes": 0.25},
        output_status="ok",
    )


def test_a_slide_and_its_patches(cohort: Path) -> None:
    with lrmil.open_slide(cohort / "slides/demo-001.ome.tif") as slide:
        assert slide.path == cohort / "slides/demo-001.ome.tif" and slide.dimensions == (1028, 1028)
        assert (slide.mpp, len(slide.levels)) == (0.5, 3) and slide.mpp_source
        region = slide.read_region(origin_yx=(0, 0), size_yx=(16, 24), mpp=2.0)
        assert region.shape == (16, 24, 3) and region.dtype == np.uint8
        pyramid = slide.pyramid()
        assert [level.shape for level in pyramid] == [(1028, 1028, 3), (257, 257, 3), (65, 65, 3)]
        tissue = lrmil.segment_tissue(slide)
        assert tissue.array.dtype == bool and tissue.to_level0.shape == (2, 3)
        patches = lrmil.make_patches(slide, tissue, mpp=2.0, size=64, children=4)
        n = len(patches)
        assert n and patches.index.shape == patches.level0_yx.shape == (n, 2)
        assert (patches.index.dtype, patches.level0_yx.dtype) == (np.int32, np.int64)
        assert isinstance(patches.size_level0, float) and patches.size_level0 == 256
        assert patches.children_covered.shape == (n, 16) and patches.children_covered.dtype == bool
        assert patches.children_level0_yx.shape == (n, 16, 2)
    with lrmil.open_slide(slide.path, mpp=0.25) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.25, "override")


def test_a_model_and_its_answer(tiny_run: TinyRun) -> None:
    bundle = lrmil.load_bundle(tiny_run.folder / "model")
    assert bundle.classes == ("negative", "positive") and (bundle.mpp, bundle.patch_size) == (2.0, 64)
    assert all(isinstance(member, lrmil.ABMIL) for member in bundle.mil.members)  # as many as mil.seeds
    assert isinstance(bundle.encoder, torch.nn.Module)
    path = tiny_run.slides / "demo-011.ome.tif"
    result = lrmil.predict(path, bundle, device="auto", mpp=None)
    assert isinstance(result, lrmil.Prediction) and result.label in bundle.classes and result.status == "ok"
    assert list(result.probabilities) == list(bundle.classes) and isinstance(result.attention, lrmil.Raster)
    assert len(result.patches) and result.timings["total"] > 0 and result.failed_patches == 0
    with lrmil.open_slide(path) as slide:
        again = lrmil.last(lrmil.predict_steps(slide, bundle, device="auto"))
    assert again.probabilities == pytest.approx(result.probabilities)


def test_a_cohort_is_checked(cohort: Path) -> None:
    report = lrmil.validate_cohort(cohort / "slides", cohort / "labels.csv")
    assert isinstance(report, lrmil.CohortReport) and report.ok
    (cohort.parent / "bad.csv").write_text("slide_id,label\ndemo-000,a\nnone,b\n")
    problem = lrmil.validate_cohort(cohort / "slides", cohort.parent / "bad.csv").problems[0]
    assert all(hasattr(problem, name) for name in ("row", "column", "message", "hint"))


def test_mil_losses_targets_and_geometry() -> None:
    output = lrmil.ABMIL(6, 3, hidden_dim=8, gated=False)(torch.randn(5, 6))
    assert [tuple(part.shape) for part in (output.logits, output.attention_logits, output.embedding)] == [
        (3,),
        (5,),
        (6,),
    ]
    tokens, values, covered = torch.randn(2, 6, 4, 4), torch.randn(2, 4, 6), torch.ones(2, 4, dtype=torch.bool)
    e, mass, some = torch.randn(9), torch.randn(9), torch.ones(9, dtype=torch.bool)
    scalars = [
        lrmil.losses.layer_loss(tokens, values, covered),
        lrmil.losses.region_loss(torch.randn(2, 6), torch.randn(2, 6)),
        lrmil.losses.bag_loss(torch.randn(3), torch.randn(3), temperature=1.0),
        lrmil.losses.attention_loss(e, mass, covered=some, temperature=1.0),
        lrmil.losses.ranking_loss(e, mass, covered=some, fraction=0.1, k_max=8),
    ]
    assert all(value.shape == () and value >= 0 for value in scalars)
    parent = torch.tensor([0, 0, 2, 2, 2])
    folded = lrmil.targets.region_targets(torch.randn(5), torch.randn(5, 4), parent, 3)
    assert folded.log_mass.shape == (3,) and folded.mean.shape == (3, 4) and folded.log_mass[1] == -torch.inf
    overlap = lrmil.geometry.token_overlap(7, 4)
    assert overlap.shape == (16, 49) and np.allclose(overlap.sum(1), 1)


def test_training_gives_a_run(tiny_run: TinyRun) -> None:
    for function in (lrmil.train, lrmil.train_steps):
        assert list(inspect.signature(function).parameters)[:4] == ["slides", "labels", "out", "config"]
    assert lrmil.TrainConfig().mpp_lr == 2.0 and inspect.isgeneratorfunction(lrmil.train_steps)
    assert {"folder", "model", "metrics", "failed"} == set(lrmil.Run.__dataclass_fields__)
