"""The synthetic cohort: what is written, where it is positive, and that low resolution hardly sees it."""

import csv
import hashlib
import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from lrmil.demo.synthetic import LABELS, MIN_SIZE, SyntheticSlide, make_cohort_steps, make_slide
from lrmil.errors import ConfigError
from lrmil.steps import Step

SLIDES = 12


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> list[Step[Path]]:
    folder = tmp_path_factory.mktemp("cohort")
    return list(make_cohort_steps(folder, slides=SLIDES, size=MIN_SIZE, seed=5))


@pytest.fixture(scope="module")
def cohort(steps: list[Step[Path]]) -> Path:
    folder = steps[-1].result
    assert folder is not None
    return folder


@pytest.fixture(scope="module")
def pair() -> tuple[SyntheticSlide, SyntheticSlide]:
    """The same slide twice, without and with the difference of its positive regions."""
    even, clumped = (make_slide("positive", seed=3, size=1280, strength=strength) for strength in (0.0, 1.0))
    return even, clumped


def test_steps_count_slides_and_end_with_the_folder(steps: list[Step[Path]]) -> None:
    assert [(step.done, step.total) for step in steps] == [(number + 1, SLIDES) for number in range(SLIDES)]
    assert [step.result is None for step in steps] == [True] * (SLIDES - 1) + [False]


def test_labels_name_every_slide_and_every_split_has_both_classes(cohort: Path) -> None:
    rows = _labels(cohort)
    assert [row["slide_id"] for row in rows] == sorted(
        path.name.removesuffix(".ome.tif") for path in (cohort / "slides").iterdir()
    )
    assert len({row["case_id"] for row in rows}) == SLIDES
    assert sorted(row["label"] for row in rows) == sorted(LABELS * (SLIDES // 2))
    for split in ("train", "val", "test"):
        assert {row["label"] for row in rows if row["split"] == split} == set(LABELS)
    assert [sum(row["split"] == split for row in rows) for split in ("train", "val", "test")] == [6, 2, 4]


def test_truth_has_regions_inside_positive_slides_only(cohort: Path) -> None:
    for row in _labels(cohort):
        truth = json.loads((cohort / "truth" / f"{row['slide_id']}.json").read_text())
        assert len(truth) in (range(1, 5) if row["label"] == "positive" else (0,))
        for region in truth:
            assert region["label"] == 1
            assert 0.25 * MIN_SIZE < region["size"] <= 0.4 * MIN_SIZE
            assert all(0 <= start <= MIN_SIZE - region["size"] for start in region["yx"])


def test_slides_are_tiled_jpeg_pyramids_with_a_pixel_size(cohort: Path) -> None:
    with tifffile.TiffFile(cohort / "slides" / "demo-001.ome.tif") as tif:
        levels = tif.series[0].levels
        assert [level.shape for level in levels] == [(MIN_SIZE // factor,) * 2 + (3,) for factor in (1, 4, 16)]
        pages = [level.pages[0] for level in levels]
        assert all(page.is_tiled and page.compression == tifffile.COMPRESSION.JPEG for page in pages)
        pixels = [page.asarray().astype(float) for page in pages]
        assert tif.ome_metadata is not None
        assert all(f'PhysicalSize{axis}="0.5"' in tif.ome_metadata for axis in "XY")
        assert all(f'PhysicalSize{axis}Unit="µm"' in tif.ome_metadata for axis in "XY")
    drawn = make_slide("positive", seed=(5, 1), size=MIN_SIZE).pixels
    for factor, level in zip((1, 4, 16), pixels, strict=True):
        wanted = np.asarray(Image.fromarray(drawn).reduce(factor), float)
        assert np.abs(level - wanted).mean() < 7  # JPEG, which halves the resolution of colour


def test_equal_arguments_give_equal_bytes(cohort: Path, tmp_path: Path) -> None:
    list(islice(make_cohort_steps(tmp_path, slides=SLIDES, size=MIN_SIZE, seed=5), 2))
    for name in ("demo-000.ome.tif", "demo-001.ome.tif"):
        first, second = (hashlib.sha256((root / "slides" / name).read_bytes()) for root in (cohort, tmp_path))
        assert first.digest() == second.digest()
    assert not (tmp_path / "labels.csv").exists()  # the cohort is not complete


def test_seeds_give_different_slides() -> None:
    slides = [make_slide("negative", seed=seed, size=MIN_SIZE).pixels for seed in (0, 0, 1)]
    np.testing.assert_array_equal(slides[0], slides[1])
    assert np.abs(slides[0].astype(float) - slides[2]).mean() > 5


def test_slides_look_like_stained_tissue_on_glass() -> None:
    pixels = make_slide("negative", seed=1, size=MIN_SIZE).pixels.reshape(-1, 3).astype(float)
    glass = (pixels > 225).all(1)
    assert 0.05 < glass.mean() < 0.8
    red, green, blue = pixels[~glass].mean(0)
    assert red > green + 30  # pink
    assert blue > green + 30
    dark = pixels[pixels[:, 0] < 130]  # nuclei are blue-purple
    assert 0.01 < len(dark) / len(pixels[~glass]) < 0.4
    assert dark.mean(0)[2] > dark.mean(0)[0] + 15


def test_strength_changes_positive_regions_alone(pair: tuple[SyntheticSlide, SyntheticSlide]) -> None:
    even, clumped = pair
    assert even.regions == clumped.regions
    inside = np.zeros(even.pixels.shape[:2], bool)
    for (top, left), side in even.regions:
        inside[max(0, top - 16) : top + side + 16, max(0, left - 16) : left + side + 16] = True
    np.testing.assert_array_equal(even.pixels[~inside], clumped.pixels[~inside])


def test_positive_regions_keep_the_mean_colour_and_differ_most_at_high_resolution(
    pair: tuple[SyntheticSlide, SyntheticSlide],
) -> None:
    detail = {}
    for factor in (1, 4):
        even, clumped = (_in_first_region(slide, factor) for slide in pair)
        assert (np.abs(even.mean((0, 1)) - clumped.mean((0, 1))) < (1, 1, 2)).all()  # grey levels of 255
        detail[factor] = _detail(clumped) / _detail(even)
    assert detail[1] > 1.2
    assert 1 < detail[4] < 1 + 0.7 * (detail[1] - 1)


@pytest.mark.parametrize(
    ("label", "size", "strength"), [("benign", 1024, 1.0), ("positive", 1023, 1.0), ("positive", 1024, -0.1)]
)
def test_impossible_slides_are_refused(label: str, size: int, strength: float) -> None:
    with pytest.raises(ConfigError, match="Expected a label"):
        make_slide(label, seed=0, size=size, strength=strength)  # type: ignore[arg-type]


def test_cohorts_too_small_for_three_splits_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="at least 12"):
        next(make_cohort_steps(tmp_path, slides=11))


def _labels(cohort: Path) -> list[dict[str, str]]:
    with (cohort / "labels.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def _in_first_region(slide: SyntheticSlide, factor: int) -> NDArray[np.float64]:
    (top, left), side = slide.regions[0]
    crop = slide.pixels[top : top + side, left : left + side]
    return np.asarray(Image.fromarray(crop).reduce(factor), float)


def _detail(pixels: NDArray[np.float64]) -> float:
    """Energy of differences between neighbouring pixels."""
    return float((np.diff(pixels, axis=0) ** 2).mean() + (np.diff(pixels, axis=1) ** 2).mean())
