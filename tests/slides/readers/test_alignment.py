"""Levels that lie on the first one are found with their factor, padded ones too; others are left out and told."""

import math
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.alignment import Alignment, align
from lrmil.slides.readers.protocol import Level
from lrmil.slides.scanner import Scanner
from support.pictures import TILE, Pixels, padded, picture, reduced
from support.slides import write_ome_zarr_slide


class Arrays:
    """A slide of arrays; it counts what is read of it."""

    name = "arrays"
    origin_yx = (0, 0)
    objective_power: float | None = None
    scanner: Scanner | None = None
    bytes_read: int | None = None
    notes: tuple[str, ...] = ()

    def __init__(self, *pixels: Pixels, tile: int = TILE, damaged: bool = False) -> None:
        self.mpp_candidates: list[object] = []  # type: ignore[assignment]
        self.levels = tuple(Level(one.shape[:2], 1.0, (tile, tile)) for one in pixels)
        self.pixels, self.reads, self.damaged = pixels, 0, damaged

    def read(self, level: int, y: int, x: int, h: int, w: int) -> Pixels:
        self.reads += 1
        if self.damaged:
            raise SlideError("damaged")
        return self.pixels[level][y : y + h, x : x + w]

    def close(self) -> None:
        pass


def aligned(*pixels: Pixels, **options: object) -> Alignment:
    return align(Arrays(*pixels), **options)  # type: ignore[arg-type]


def found(alignment: Alignment) -> list[tuple[tuple[int, int], float]]:
    return [(level.shape, level.downsample) for level in alignment.levels]


class TestPlainLevels:
    @pytest.mark.parametrize("factors", [(2, 4), (4, 8), (2, 8), (8,), (16,), (3,), (5, 10), (2, 4, 8, 16, 32)])
    def test_any_factor_and_nothing_is_read_for_it(self, factors: tuple[int, ...]) -> None:
        pixels = picture(707, 903)
        reader = Arrays(pixels, *(reduced(pixels, factor) for factor in factors))
        result = align(reader)  # type: ignore[arg-type]
        assert [level.downsample for level in result.levels] == [1, *factors] and result.notes == ()
        assert result.kept == tuple(range(len(factors) + 1)) and reader.reads == 0

    def test_two_and_a_half(self) -> None:
        pixels = picture(707, 903)
        for height, width in ((283, 361), (282, 361), (283, 362)):
            assert aligned(pixels, pixels[:height, :width]).levels[1].downsample == 2.5

    @given(st.integers(200, 60_000), st.integers(200, 60_000), st.integers(2, 40), st.booleans())
    def test_rounding_of_either_kind_hides_no_factor(self, height: int, width: int, factor: int, up: bool) -> None:
        shape = tuple((math.ceil if up else math.floor)(side / factor) for side in (height, width))
        reader = Arrays(np.zeros((1, 1, 3), np.uint8))
        reader.levels = (Level((height, width), 1.0, (7, 7)), Level((shape[0], shape[1]), 1.0, (9973, 9973)))
        (_, level) = align(reader).levels  # type: ignore[arg-type]
        assert all(abs(side - full / level.downsample) <= 1 for side, full in zip(shape, (height, width), strict=True))
        if min(shape) > 2 * factor:
            assert level.downsample == factor

    def test_one_of_other_proportions_is_left_out_and_told(self) -> None:
        pixels = picture(640, 512)
        result = aligned(pixels, pixels[:320, :250], reduced(pixels, 4))
        assert [level.downsample for level in result.levels] == [1, 4] and result.kept == (0, 2)
        assert result.notes == (
            "1 of 3 levels are skipped: judged by their sizes and pixels, they do not match the first level.",
        )


class TestPaddedLevels:
    def test_they_are_cropped_to_what_they_cover(self) -> None:
        pixels = picture(650, 525)
        result = aligned(pixels, padded(reduced(pixels, 2)), padded(reduced(pixels, 4)), padded(reduced(pixels, 8)))
        assert found(result) == [((650, 525), 1), ((325, 262), 2), ((162, 131), 4), ((81, 65), 8)]

    def test_also_where_the_first_one_is_padded(self) -> None:
        pixels = picture(650, 525)
        result = aligned(*(padded(reduced(pixels, factor)) for factor in (1, 2, 4)))
        assert found(result) == [((704, 576), 1), ((352, 288), 2), ((176, 144), 4)]

    @pytest.mark.parametrize("side", [650, 640, 470])
    def test_a_square_whose_sizes_agree_with_another_factor(self, side: int) -> None:
        """650 px: 384 px in place of 325 are 1.69 in both directions."""
        pixels = picture(side, side)
        for first in (pixels, padded(pixels)):
            result = aligned(first, *(padded(reduced(pixels, factor)) for factor in (2, 4, 8)))
            assert [level.downsample for level in result.levels] == [1, 2, 4, 8]

    def test_two_of_one_size(self) -> None:
        pixels = picture(450, 450)
        levels = [padded(reduced(pixels, factor), 512) for factor in (1, 2, 4)]
        result = align(Arrays(*levels, tile=512))  # type: ignore[arg-type]
        assert [level.downsample for level in result.levels] == [1, 2, 4]

    @settings(deadline=None, max_examples=25)
    @given(
        st.tuples(st.integers(260, 900), st.integers(260, 900)),
        st.lists(st.sampled_from([2, 3, 4, 5, 8]), min_size=1, max_size=2, unique=True),
        st.booleans(),
        st.integers(0, 5),
    )
    def test_whatever_is_kept_is_right(self, size: tuple[int, int], factors: list[int], first: bool, seed: int) -> None:
        pixels, factors = picture(*size, seed=seed), sorted(factors)
        result = aligned(padded(pixels) if first else pixels, *(padded(reduced(pixels, factor)) for factor in factors))
        expected = [1, *factors]
        assert [level.downsample for level in result.levels] == [expected[place] for place in result.kept]
        assert result.kept == tuple(range(len(expected)))

    def test_they_may_be_filled_up_to_the_tiles_of_the_first_one(self) -> None:
        """As where the first one was filled up, shrunken, and then cut itself."""
        pixels = picture(650, 525)
        small = reduced(padded(pixels, 256), 4)
        reader = Arrays(pixels, small)
        reader.levels = (Level((650, 525), 1.0, (256, 256)), Level((192, 192), 1.0, (TILE, TILE)))
        assert found(align(reader)) == [((650, 525), 1), ((162, 131), 4)]  # type: ignore[arg-type]

    def test_one_that_was_stretched_over_whole_tiles_is_left_out(self) -> None:
        pixels = picture(650, 525)
        stretched = np.asarray(Image.fromarray(pixels).resize((320, 384)))
        result = aligned(pixels, stretched)
        assert len(result.levels) == 1 and "1 of 2 levels are skipped" in result.notes[0]

    def test_one_of_another_picture_is_left_out(self) -> None:
        result = aligned(picture(650, 525), padded(reduced(picture(650, 525, seed=1), 2)))
        assert len(result.levels) == 1 and result.notes

    @pytest.mark.parametrize("side", [256, 512])
    def test_fine_noise_alone_leaves_an_exact_factor(self, side: int) -> None:
        """Shrunken noise is nearly even: the right factor shows little, and wrong ones are contradicted by chance."""
        noise = np.random.default_rng(0).normal((200, 130, 180), 25, (4 * side, 4 * side, 3))
        full = np.clip(noise, 1, 255).astype(np.uint8)
        result = align(Arrays(full, reduced(full, 4), tile=256))  # type: ignore[arg-type]
        assert [level.downsample for level in result.levels] == [1.0, 4.0] and not result.notes

    def test_bare_glass_and_damage_leave_the_one_factor_that_whole_tiles_allow(self) -> None:
        glass = np.full((650, 525, 3), 245, np.uint8)
        assert found(aligned(glass, padded(reduced(glass, 2)))) == [((650, 525), 1), ((325, 262), 2)]
        assert len(aligned(glass, padded(reduced(glass, 8))).levels) == 1  # two tiles: 6, 8, 10 ...
        pixels = picture(650, 525)
        damaged = Arrays(pixels, padded(reduced(pixels, 2)), padded(reduced(pixels, 8)), damaged=True)
        assert align(damaged).kept == (0, 1)  # type: ignore[arg-type]
        square = picture(650, 650)
        damaged = Arrays(square, padded(reduced(square, 2)), damaged=True)
        assert align(damaged).kept == (0,)  # type: ignore[arg-type]

    @pytest.mark.parametrize("factor", [2, 4, 8])
    def test_a_biopsy_on_much_glass(self, factor: int) -> None:
        pixels = np.full((2100, 1700, 3), 243, np.uint8)
        pixels[900:1000, 700:800] = picture(100, 100)
        level = padded(reduced(pixels, factor))
        assert found(aligned(pixels, level)) == [((2100, 1700), 1), ((2100 // factor, 1700 // factor), factor)]
        assert aligned(pixels, reduced(pixels, factor), unmarked=(1,)).kept == (0, 1)
        assert aligned(pixels, reduced(pixels[::-1], factor), unmarked=(1,)).kept == (0,)

    def test_what_is_read_for_it_does_not_grow_with_the_slide(self) -> None:
        pixels = picture(1300, 1050)
        reader = Arrays(pixels, padded(reduced(pixels, 2), 128), tile=128)
        align(reader)  # type: ignore[arg-type]
        assert 0 < reader.reads <= 2 * 16


class TestStatedFactors:
    def test_they_decide_and_nothing_is_read(self) -> None:
        pixels = picture(650, 650)
        levels = [padded(reduced(pixels, factor)) for factor in (1, 2, 4)]
        for stated in ((1.0, 2.0, 4.0), (1.0, 2.003, 3.99)):  # written with few digits
            reader = Arrays(*levels)
            result = align(reader, factors=stated)  # type: ignore[arg-type]
            assert found(result) == [((704, 704), 1), ((352, 352), 2), ((176, 176), 4)] and reader.reads == 0

    @pytest.mark.parametrize("stated", [1.0, 2.5, 4.0, math.nan])
    def test_a_level_whose_size_contradicts_them_is_left_out(self, stated: float) -> None:
        pixels = picture(650, 650)
        result = aligned(pixels, reduced(pixels, 2), factors=(1.0, stated))
        assert len(result.levels) == 1 and "judged by their scale" in result.notes[0]

    @pytest.mark.parametrize("stated", [3.0, 8.0])
    @pytest.mark.parametrize("side", [(650, 525), (512, 1024)])
    def test_a_good_level_of_a_wrong_scale_is_no_padded_one(self, side: tuple[int, int], stated: float) -> None:
        pixels = picture(*side)
        result = aligned(pixels, reduced(pixels, 2), factors=(1.0, stated))
        assert len(result.levels) == 1 and "judged by their scale" in result.notes[0]

    def test_a_level_that_states_none_is_told_by_its_size(self) -> None:
        pixels = picture(650, 650)
        result = aligned(pixels, reduced(pixels, 2), reduced(pixels, 4), factors=(1.0, None, 4.0))
        assert [level.downsample for level in result.levels] == [1, 2, 4]


class TestUnmarkedPictures:
    def test_pixels_that_agree_make_them_levels(self) -> None:
        pixels = picture(640, 512)
        assert aligned(pixels, reduced(pixels, 2), unmarked=(1,)).kept == (0, 1)

    def test_others_are_no_levels_and_none_is_missed(self) -> None:
        result = aligned(picture(640, 512), reduced(picture(640, 512, seed=1), 2), unmarked=(1,))
        assert result.kept == (0,) and result.notes == ()
        glass = np.full((640, 512, 3), 245, np.uint8)
        assert aligned(glass, reduced(glass, 2), unmarked=(1,)).kept == (0,)


class TestFiles:
    """The same through the readers: a region at the level's resolution is that of level 0, averaged."""

    @pytest.mark.parametrize("kind", ["svs", "ome", "plain"])
    @pytest.mark.parametrize("first", [False, True])
    def test_padded_tiff(self, tmp_path: Path, kind: str, first: bool) -> None:
        pixels = picture(650, 525)
        levels = [padded(pixels) if first else pixels, *(padded(reduced(pixels, factor)) for factor in (2, 4))]
        options: dict[str, object] = {"tile": (TILE, TILE), "photometric": "rgb", "compression": "deflate"}
        path = tmp_path / ("a.svs" if kind == "svs" else "a.tif")
        with tifffile.TiffWriter(path, ome=kind == "ome") as tif:
            for place, level in enumerate(levels):
                about: dict[str, object] = {"metadata": {"axes": "YXS"} if kind == "ome" and place == 0 else None}
                if kind == "svs":
                    about["description"] = "Aperio Image Library v12\r\n525x650 (64x64) JPEG|MPP = 0.5"
                elif place:
                    about["subfiletype"] = 1
                elif kind == "ome":
                    about["subifds"] = 2
                tif.write(level, **options, **about)
        self.check(path, pixels)

    def test_padded_ome_zarr(self, tmp_path: Path) -> None:
        pixels = picture(650, 525)
        path = write_ome_zarr_slide(tmp_path / "a.zarr", pixels, factors=(2, 4), chunk=TILE)
        import zarr

        group = zarr.open_group(path, mode="r+")
        for name, factor in (("1", 2), ("2", 4)):
            level = padded(reduced(pixels, factor)).transpose(2, 0, 1)
            array = group.create_array(
                name, shape=level.shape, dtype="uint8", chunks=(1, TILE, TILE), fill_value=0, overwrite=True
            )
            array[...] = level
        self.check(path, pixels)

    @staticmethod
    def check(path: Path, pixels: Pixels) -> None:
        with open_slide(path, 0.5) as slide:
            assert [level.downsample for level in slide.levels] == [1, 2, 4] and slide.notes == ()
            for factor in (2, 4):
                corner, size = (300, 260), (300 // factor, 240 // factor)
                got = slide.read_region(corner, size, 0.5 * factor).astype(int)
                expected = reduced(np.ascontiguousarray(pixels[300:600, 260:500]), factor)
                assert np.abs(got - expected[: size[0], : size[1]]).max() <= 2
