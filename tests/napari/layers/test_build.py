"""What is drawn lies where the model looked: half-pixel conventions, scales, masks that come back."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.prediction.attention import ends
from lrmil.prediction.inference import predict, predict_steps
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from napari.layers import Image, Labels, Shapes
from napari_lrmil.layers.build import (
    KEY,
    SlideFile,
    attention_layer,
    attention_values,
    patches_layer,
    placed,
    slide_layer,
    tissue_layer,
    tissue_of,
)
from support.runs import tiny_bundle
from support.slides import COHORT_SIDE, coordinate_pixels, shrink, write_pyramid


@pytest.fixture(scope="module")
def prediction(cohort: Path) -> Prediction:
    return predict(cohort / "slides/demo-001.ome.tif", tiny_bundle(), "cpu")


def test_a_slide_is_lazy_in_microns_and_says_what_it_is(cohort: Path) -> None:
    with open_slide(cohort / "slides/demo-001.ome.tif") as slide:
        data, keywords, kind = slide_layer(slide)
        assert kind == "image" and [level.shape for level in data] == [(*level.shape, 3) for level in slide.levels]
        before = slide.bytes_read
        layer = Image(data, **keywords)
        assert layer.name == "demo-001" and layer.rgb and tuple(layer.scale) == (0.5, 0.5)
        assert [str(unit) for unit in layer.units] == ["micrometer", "micrometer"]
        about = layer.metadata[KEY]
        assert (about["mpp"], about["mpp_source"], about["dimensions"]) == (
            0.5,
            "OME PhysicalSize",
            (COHORT_SIDE, COHORT_SIDE),
        )
        level0 = COHORT_SIDE**2
        assert before is not None and slide.bytes_read is not None and slide.bytes_read - before < level0 / 8


def test_a_slide_without_resolution_stays_in_pixels(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", coordinate_pixels(300, 400), None, style="plain")
    with open_slide(path) as slide:
        data, keywords, _ = slide_layer(slide)
        assert keywords["metadata"][KEY]["mpp"] is None and "scale" not in keywords
        assert [str(unit) for unit in Image(data, **keywords).units] == ["pixel", "pixel"]


def test_a_slide_without_coarse_levels_is_drawn_with_averaged_ones(tmp_path: Path) -> None:
    pixels = coordinate_pixels(600, 2100)
    with open_slide(write_pyramid(tmp_path / "flat.tif", pixels, 0.5, factors=(), style="aperio")) as slide:
        data, keywords, _ = slide_layer(slide)
        assert keywords["multiscale"] and [level.shape[:2] for level in data] == [(600, 2100), (300, 1050), (150, 525)]
        np.testing.assert_array_equal(np.asarray(data[1]), shrink(pixels, 2))
        assert [level.shape for level in slide.levels] == [(600, 2100)], "models see what is stored"


@given(
    origin=st.tuples(st.floats(-50, 5000), st.floats(-50, 5000)),
    cell=st.floats(1, 900),
    mpp=st.floats(0.05, 5),
    at=st.tuples(st.floats(0, 2.999), st.floats(0, 3.999)),
)
def test_a_place_is_in_the_same_cell_on_the_slide_and_in_the_raster(
    origin: tuple[float, float], cell: float, mpp: float, at: tuple[float, float]
) -> None:
    """Level-0 place p (0.5 is the middle of the first pixel) lies at world (p - 0.5) * mpp, as on the slide's layer."""
    raster = Raster.on_lattice(np.zeros((3, 4)), cell_level0=cell, origin_yx=origin)
    values = Image(raster.array, **placed(raster, mpp))
    slide = Image(np.zeros((4, 4)), scale=(mpp, mpp))
    level0 = np.array(origin) + np.array(at) * cell
    world = slide.data_to_world(level0 - 0.5)
    np.testing.assert_allclose(np.array(values.world_to_data(world)) + 0.5, at, atol=1e-6)


def test_attention_values_and_their_limits(prediction: Prediction) -> None:
    raw, limits = attention_values(prediction, "raw")
    np.testing.assert_array_equal(raw, prediction.attention.array)
    assert limits == (0.0, pytest.approx(prediction.patch_attention.max(), rel=1e-5))
    ranks, limits = attention_values(prediction, "percentile")
    assert limits == (0.0, 1.0) and np.nanmax(ranks) == 1.0 and np.nanmin(ranks) == 0.0
    np.testing.assert_array_equal(np.isnan(ranks), np.isnan(raw))


def test_the_attention_layer_describes_itself_and_lets_low_values_through(prediction: Prediction) -> None:
    data, keywords, _ = attention_layer(prediction, kind="raw", opacity=0.3)
    layer = Image(data, **keywords)
    about = layer.metadata[KEY]
    assert layer.name == "attention, raw (sums to 1)" and layer.opacity == 0.3
    assert layer.blending == "translucent_no_depth"
    assert about["label"] == prediction.label and about["probabilities"] == prediction.probabilities
    assert about["bundle_sha256"] == prediction.bundle_sha256 and "diagnosis" in about["notice"]
    alpha = layer.colormap.map(np.array([0.0, 0.3, 0.7, 1.0]))[:, 3]
    assert alpha[0] == 0 and alpha[3] == 1 and (np.diff(alpha) >= 0).all()
    assert layer.colormap.map(np.array([np.nan]))[0, 3] == 0


def test_a_partial_prediction_without_patches_can_be_drawn(cohort: Path) -> None:
    first = next(iter(predict_steps(cohort / "slides/demo-001.ome.tif", tiny_bundle(), "cpu", live=True))).result
    assert first is not None and len(first.patches) == 0
    for kind in ("raw", "percentile"):
        data, keywords, _ = attention_layer(first, kind=kind)
        assert np.isnan(data).all() and Image(data, **keywords).contrast_limits == [0, 1]


def test_a_mask_comes_back_only_when_it_was_changed() -> None:
    mask = Raster.on_lattice(np.eye(5, dtype=bool), cell_level0=(15.9, 16.0), origin_yx=(3.0, 7.0))
    data, keywords, _ = tissue_layer(mask, 0.5, of=SlideFile("a", Path("a.svs"), "f"))
    layer = Labels(data, **keywords)
    assert tissue_of(layer.data, layer.metadata) is None
    layer.data[0, 4] = 3
    edited = tissue_of(layer.data, layer.metadata)
    assert edited is not None and edited.array.dtype == bool and edited.array.sum() == 6
    np.testing.assert_array_equal(edited.to_level0, mask.to_level0)


def test_patches_are_squares_around_what_the_model_saw(prediction: Prediction) -> None:
    highest = ends(prediction.patch_attention, 4).highest
    data, keywords, _ = patches_layer(prediction, highest.tolist(), name="top", color="black", edge_um=3.0)
    layer = Shapes(data, **keywords)
    assert layer.nshapes == 4 and layer.features["rank"].tolist() == [1, 2, 3, 4]
    slide = Image(np.zeros((4, 4)), scale=(prediction.mpp,) * 2)
    for square, position in zip(layer.data, highest, strict=True):
        corner = np.array(slide.world_to_data(layer.data_to_world(square[0]))) + 0.5
        np.testing.assert_allclose(corner, prediction.patches.level0_yx[position])
        side = (square[2] - square[0]) / prediction.mpp
        np.testing.assert_allclose(side, prediction.patches.size_level0)
