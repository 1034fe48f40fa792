"""A damaged level is read from the next finer intact one, as if the slide had no such level, and the slide says so."""

import csv
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from lrmil.errors import SlideError
from lrmil.features.extraction import extract_features
from lrmil.features.slide_features import unreadable_note
from lrmil.features.store import read_card
from lrmil.models.bundle import Bundle
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches.inspection import inspect_slide
from lrmil.patches.plan import PatchPlan
from lrmil.patches.tissue import segment_tissue
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.files import read_prediction
from lrmil.prediction.inference import predict
from lrmil.reports.case_page import render_case
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import ON_CPU, tiny_bundle, tiny_encoder
from support.slides import overwrite, segment_of, write_pyramid

pytestmark = pytest.mark.long

SIDE = 2048
RANDOM = np.random.default_rng(0)
TEXTURE = ndimage.gaussian_filter(RANDOM.normal(0, 60, (SIDE, SIDE, 3)), (2, 2, 0)) * 4
TISSUE = np.clip(np.array([210, 140, 185]) + TEXTURE, 1, 255).astype(np.uint8)
TISSUE[:, :256] = 245


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_bundle()


def damage(path: Path, level: int, segments: Sequence[int] | None = None) -> Path:
    """Spoil some tiles of a level, or all."""
    count = max(1, SIDE // 4**level // 256) ** 2
    for index in range(count) if segments is None else segments:
        offset, length = segment_of(path, level, index)
        overwrite(path, offset, RANDOM.bytes(length))
    return path


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
class TestOneDamagedLevel:
    def test_the_prediction_is_that_of_a_slide_without_the_level(
        self, tmp_path: Path, bundle: Bundle, compression: str
    ) -> None:
        path = damage(write_pyramid(tmp_path / "a.tif", TISSUE, compression=compression), 1)
        without = write_pyramid(tmp_path / "b.tif", TISSUE, factors=(16,), compression=compression)
        got, expected = predict(path, bundle, "cpu"), predict(without, bundle, "cpu")
        assert got.probabilities == expected.probabilities and got.failed_patches == 0
        np.testing.assert_array_equal(got.patch_attention, expected.patch_attention)
        intact = predict(write_pyramid(tmp_path / "c.tif", TISSUE, compression=compression), bundle, "cpu")
        assert list(got.probabilities.values()) == pytest.approx(list(intact.probabilities.values()), abs=0.01)
        assert not intact.notes and expected.notes[0].startswith("No level is near 2 um/px")
        assert got.notes == (f"Level 1 is damaged. The finer level 0 was read instead in {len(got.patches)} regions.",)

    def test_only_where_it_is_damaged(self, tmp_path: Path, compression: str) -> None:
        path = damage(write_pyramid(tmp_path / "a.tif", TISSUE, compression=compression), 1, [1])
        intact = write_pyramid(tmp_path / "b.tif", TISSUE, compression=compression)
        without = write_pyramid(tmp_path / "c.tif", TISSUE, factors=(), compression=compression)
        with open_slide(path) as slide, open_slide(intact) as whole, open_slide(without) as single:
            for origin, reference in (((0, 0), whole), ((0, 1024), single), ((900, 1000), single), ((1024, 0), whole)):
                got = slide.read_region(origin, (64, 64), 2.0)
                np.testing.assert_array_equal(got, reference.read_region(origin, (64, 64), 2.0))
            slide.read_region((0, 1024), (64, 64), 2.0)  # again: it counts once
            assert slide.notes == ("Level 1 is damaged. The finer level 0 was read instead in 2 regions.",)

    def test_the_thumbnail_too(self, tmp_path: Path, compression: str) -> None:
        path = damage(write_pyramid(tmp_path / "a.tif", TISSUE, compression=compression), 2)
        without = write_pyramid(tmp_path / "b.tif", TISSUE, factors=(4,), compression=compression)
        with open_slide(path) as slide, open_slide(without) as other:
            got, expected = slide.thumbnail(8.0), other.thumbnail(8.0)
            assert slide.notes == ("Level 2 is damaged. The finer level 1 was read instead in 1 region.",)
        np.testing.assert_array_equal(got.array, expected.array)
        assert got.cell_level0 == expected.cell_level0 and not got.failed.any()


def test_the_next_intact_level_stands_in_and_never_a_coarser_one(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", TISSUE, factors=(2, 4, 8))
    for level, side in ((1, 1024), (2, 512)):
        for index in range((side // 256) ** 2):
            offset, length = segment_of(path, level, index)
            overwrite(path, offset, RANDOM.bytes(length))
    with open_slide(path) as slide:
        slide.read_region((0, 0), (32, 32), 2.0)
        assert slide.notes == ("Level 2 is damaged. The finer level 0 was read instead in 1 region.",)
    for index in range(64):
        offset, length = segment_of(path, 0, index)
        overwrite(path, offset, RANDOM.bytes(length))
    with open_slide(path) as slide:
        with pytest.raises(SlideError, match="level 2"):
            slide.read_region((0, 0), (32, 32), 2.0)
        assert slide.read_region((0, 0), (32, 32), 4.0).shape == (32, 32, 3)
        assert slide.notes == ()


def test_a_place_that_is_lost_on_every_level_is_lost(tmp_path: Path, bundle: Bundle) -> None:
    path = write_pyramid(tmp_path / "a.tif", TISSUE)
    damage(path, 1, [3])  # a quarter of the slide
    whole = predict(path, bundle, "cpu")
    assert whole.failed_patches == 0
    damage(path, 0, range(36, 64, 8))  # a column of tiles in that quarter
    torn = predict(path, bundle, "cpu")
    assert torn.failed_patches > 0 and len(torn.patches) == len(whole.patches) - torn.failed_patches
    for corner in torn.patches.level0_yx.tolist():
        assert not (corner[0] >= 1024 and 1024 <= corner[1] < 1280), "what cannot be read is not invented"


def test_too_large_a_stand_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = damage(write_pyramid(tmp_path / "a.tif", TISSUE), 1)
    monkeypatch.setattr("lrmil.slides.fallback.LevelFallback.sample.__kwdefaults__", {"max_pixels": 256 * 256})
    with open_slide(path) as slide:
        slide.read_region((0, 0), (64, 64), 2.0)
        with pytest.raises(SlideError, match="level 1"):
            slide.read_region((0, 0), (65, 65), 2.0)


def test_threads_read_and_count_alike(tmp_path: Path) -> None:
    path = damage(write_pyramid(tmp_path / "a.tif", TISSUE), 1)
    corners = [(y, x) for y in range(0, 1024, 64) for x in range(0, 1024, 128)]
    with open_slide(path) as slide, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda corner: slide.read_region(corner, (16, 16), 2.0), corners * 3))
        assert slide.notes[0].endswith(f"in {len(corners)} regions.")


class TestLostTissue:
    """What is lost of a slide counts, also where nobody can tell whether it was tissue."""

    def torn(self, path: Path, share: float) -> Path:
        """Spoil the left `share` of every level of a slide of tissue."""
        for level, columns in ((0, 8), (1, 2), (2, 1)):
            for row in range(columns):
                for column in range(int(columns * share)):
                    damage(path, level, [row * columns + column])
        return damage(path, 2)  # one tile: the thumbnail is read from finer levels

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        pixels = np.ascontiguousarray(TISSUE[:, ::-1])  # glass on the right
        return write_pyramid(tmp_path / "a.tif", pixels)

    def test_half_a_slide_is_no_answer(self, path: Path, bundle: Bundle) -> None:
        total = len(predict(path, bundle, "cpu").patches)
        with pytest.raises(SlideError, match=rf"at most 20% unreadable patches. Got \d+ of {total};"):
            predict(self.torn(path, 0.5), bundle, "cpu")

    def test_a_little_is_counted_and_said(self, path: Path, bundle: Bundle) -> None:
        whole = predict(path, bundle, "cpu")
        damage(path, 1, [0]), damage(path, 2)
        for row in range(3):
            damage(path, 0, [8 * row, 8 * row + 1])
        torn = predict(path, bundle, "cpu")
        lost = len(whole.patches) - len(torn.patches)
        assert 0 < lost == torn.failed_patches
        assert torn.notes[-1].startswith(f"{lost} of {len(whole.patches)} patches (")
        assert torn.notes[-1].endswith("%) could not be read and were left out.")
        assert torn.tissue_mm2 < whole.tissue_mm2

    def test_a_given_mask_knows(self, path: Path, bundle: Bundle) -> None:
        with open_slide(path) as slide:
            mask = segment_tissue(slide)
        mask.array[:, : mask.array.shape[1] // 2] = False
        result = predict(self.torn(path, 0.5), bundle, "cpu", tissue=mask)
        assert result.failed_patches == 0 and len(result.patches) > 0


def test_the_share_that_is_lost() -> None:
    assert unreadable_note(0, 300) == ()
    assert unreadable_note(12, 300) == ("12 of 300 patches (4 %) could not be read and were left out.",)
    assert unreadable_note(1, 300) == ("1 of 300 patches (less than 1 %) could not be read and were left out.",)


class TestNotesAreCarriedOn:
    """What happened while a slide was read stands wherever its answer stands."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        path = damage(write_pyramid(tmp_path / "a.tif", TISSUE), 1)
        return damage(path, 0, [63])

    def expected(self, notes: tuple[str, ...]) -> None:
        assert notes[0].startswith("Level 1 is damaged. The finer level 0 was read instead in")
        assert notes[1].endswith("could not be read and were left out.")

    def test_table_and_prediction_file(self, path: Path, bundle: Bundle, tmp_path: Path) -> None:
        (row,) = last(predict_slides([SlideSource("a", path)], bundle, tmp_path / "out", ON_CPU))
        self.expected(row.notes)
        with (tmp_path / "out/predictions.csv").open(newline="", encoding="utf-8") as file:
            (line,) = csv.DictReader(file)
        assert line["notes"] == " ".join(row.notes) and line["status"] == "ok"
        read = read_prediction(tmp_path / "out", "a")
        assert read is not None and read.notes == row.notes

    def test_a_prediction_file_without_notes_is_read(self, path: Path, bundle: Bundle, tmp_path: Path) -> None:
        list(predict_slides([SlideSource("a", path)], bundle, tmp_path / "out", ON_CPU))
        card = json.loads((tmp_path / "out/a.json").read_text(encoding="utf-8"))
        del card["prediction"]["notes"], card["prediction"]["checksum"]  # as earlier versions wrote it
        (tmp_path / "out/a.json").write_text(json.dumps(card), encoding="utf-8")
        read = read_prediction(tmp_path / "out", "a")
        assert read is not None and read.notes == () and read.checksum == "not compared"

    def test_features(self, path: Path, tmp_path: Path) -> None:
        encoder = PatchEncoder(tiny_encoder(), torch.device("cpu"), batch_size=64)
        list(extract_features([SlideSource("a", path)], encoder, "x", tmp_path / "out", PatchPlan(mpp=2.0, size=64)))
        self.expected(read_card(tmp_path / "out/a.zarr").notes)

    def test_case_page(self, path: Path, bundle: Bundle) -> None:
        with open_slide(path) as slide:
            prediction = predict(slide, bundle, "cpu")
            page = render_case(prediction, slide, bundle.card)
        self.expected(prediction.notes)
        assert all(note in page for note in prediction.notes)

    def test_inspection(self, path: Path) -> None:
        damage(path, 2)
        facts = inspect_slide(SlideSource("a", path), lr=2.0, size=64)
        assert "Level 2 is damaged. The finer level 0" in str(facts["notes"])
        assert re.match(r"[1-9]\d* ", str(facts["unreadable"]))
