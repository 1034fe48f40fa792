"""Which picture of a TIFF is the slide: the scan, never a label or a photo; which pages are its levels; stacks."""

import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lrmil.errors import ResolutionError, SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.ome_xml import ome_images
from lrmil.slides.readers.protocol import is_associated
from lrmil.slides.slide import Slide
from support.pictures import picture, reduced
from support.slides import coordinate_pixels, shrink, write_ome_zarr_slide

SCAN = picture(200, 260)
PHOTO = np.full((300, 400, 3), (200, 30, 30), np.uint8)  # larger than the scan
TILED: dict[str, object] = {"tile": (64, 64), "compression": "deflate"}
STRIPS: dict[str, object] = {"rowsperstrip": 16, "compression": "deflate"}
APERIO = "Aperio Image Library v12\r\n260x200 [0,0 260x200] (64x64) JPEG/RGB|AppMag = 20|MPP = 0.5"
PAGE_NAME, LENS = 285, 65421


def write(path: Path, *pages: tuple[np.ndarray, dict[str, object]]) -> Path:
    with tifffile.TiffWriter(path) as tif:
        for pixels, options in pages:
            tif.write(pixels, **{"photometric": "rgb", "metadata": None, **options})
    return path


def write_ome(path: Path, *images: tuple[np.ndarray, str], **options: object) -> Path:
    with tifffile.TiffWriter(path, ome=True) as tif:
        for pixels, name in images:
            about = {"axes": "YXS", "Name": name, "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            tif.write(pixels, photometric="rgb", metadata=about, **{**TILED, **options})
    return path


def assert_is_the_scan(path: Path) -> None:
    with open_slide(path, 0.5) as slide:
        assert slide.dimensions == (260, 200) and slide.notes == ()
        np.testing.assert_array_equal(slide.read_region((0, 0), (200, 260), 0.5), SCAN)


def text(tag: int, value: str) -> dict[str, object]:
    return {"extratags": [(tag, "s", 0, value, True)]}


class TestPicturesBeside:
    @pytest.mark.parametrize(
        "photo",
        [
            {**STRIPS, "description": "Aperio\r\nmacro 400x300", "subfiletype": 9},
            {**STRIPS, "description": "Aperio\r\nlabel 400x300|User = x", "subfiletype": 1},
            {**STRIPS, "subfiletype": 1},
            STRIPS,
            {**TILED, "description": "Aperio\r\nmacro 400x300"},
            {**TILED, "subfiletype": 9},
            TILED,
        ],
    )
    @pytest.mark.parametrize("first", [False, True])
    def test_of_an_svs(self, tmp_path: Path, photo: dict[str, object], first: bool) -> None:
        scan = (SCAN, {**TILED, "description": APERIO})
        thumbnail = (shrink(SCAN, 2), {**STRIPS, "description": "Aperio\r\nthumbnail"})
        pages = [scan, thumbnail, (PHOTO, photo)]
        if first and "description" in photo:
            pages = pages[::-1]
        assert_is_the_scan(write(tmp_path / "a.svs", *pages))

    @pytest.mark.parametrize(
        "photo",
        [
            {**TILED, "description": "Macro"},
            {**TILED, "description": "Label Image"},
            {**TILED, "description": "low resolution overview"},
            {**TILED, "description": "scanner x\nthumbnail\ny"},
            {**TILED, "description": "<Image><ImageType>Overview</ImageType></Image>"},
            {**TILED, "description": '{"name": "slide_label"}'},
            {**TILED, **text(PAGE_NAME, "barcode")},
            {**TILED, "extratags": [(LENS, "f", 1, -1.0, True)]},
            {**TILED, "subfiletype": 8},
            {**TILED, "subfiletype": 9},
            {**TILED, "subfiletype": 1},
            STRIPS,
        ],
    )
    def test_of_a_plain_tiff(self, tmp_path: Path, photo: dict[str, object]) -> None:
        assert_is_the_scan(write(tmp_path / "a.tif", (SCAN, TILED), (PHOTO, photo)))

    @pytest.mark.parametrize(
        "name", ["macro image", "Label", "LabelImage", "Overview", "thumbnail", "slide_macro", "x.svs [macro image]"]
    )
    def test_of_an_ome_tiff(self, tmp_path: Path, name: str) -> None:
        assert_is_the_scan(write_ome(tmp_path / "a.ome.tif", (SCAN, "scan"), (PHOTO, name)))
        assert_is_the_scan(write_ome(tmp_path / "b.ome.tif", (PHOTO, name), (SCAN, "")))

    def test_without_a_name_the_one_that_was_measured_is_the_scan(self, tmp_path: Path) -> None:
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
            tif.write(PHOTO, photometric="rgb", metadata={"axes": "YXS"}, **TILED)
            about = {"axes": "YXS", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
            tif.write(SCAN, photometric="rgb", metadata=about, **TILED)
        assert_is_the_scan(tmp_path / "a.ome.tif")

    def test_the_file_s_own_name_in_its_images_says_nothing(self, tmp_path: Path) -> None:
        path = write_ome(tmp_path / "macro_7.ome.tif", (SCAN, "macro_7 [0]"), (PHOTO, "macro_7 [label]"))
        assert_is_the_scan(path)

    def test_words_within_words_are_none(self) -> None:
        assert not any(map(is_associated, ("macrophages", "unlabelled", "labelling", "previewed", "Macrodissection")))

    def test_a_description_that_speaks_of_a_label_is_none(self, tmp_path: Path) -> None:
        for words in (f"{APERIO}|Filename = macro 3|Title = label", "label = none\nscanned without a macro photo"):
            assert_is_the_scan(write(tmp_path / "a.svs", (SCAN, {**TILED, "description": words})))

    @pytest.mark.parametrize("options", [{"description": "label 1x1"}, {"subfiletype": 9}, {"subfiletype": 1}])
    def test_a_file_of_them_alone_is_refused(self, tmp_path: Path, options: dict[str, object]) -> None:
        with pytest.raises(SlideError, match="no scan of tissue"):
            open_slide(write(tmp_path / "a.tif", (PHOTO, {**STRIPS, **options})), 0.5)

    def test_also_as_ome_tiff_and_ome_zarr(self, tmp_path: Path) -> None:
        with pytest.raises(SlideError, match="no scan of tissue"):
            open_slide(write_ome(tmp_path / "a.ome.tif", (PHOTO, "macro")), 0.5)
        with pytest.raises(SlideError, match="no scan of tissue"):
            open_slide(write_ome_zarr_slide(tmp_path / "a.zarr", PHOTO, factors=(), name="label image"))

    def test_a_level_cut_out_of_a_pyramid_is_a_slide(self, tmp_path: Path) -> None:
        assert_is_the_scan(write(tmp_path / "a.tif", (SCAN, {**TILED, "subfiletype": 1})))

    def test_none_stands_in_for_a_grey_scan(self, tmp_path: Path) -> None:
        grey = (np.zeros((200, 260), np.uint8), {**TILED, "photometric": "minisblack"})
        with pytest.raises(SlideError, match="8-bit RGB"):
            open_slide(write(tmp_path / "a.tif", grey, (PHOTO, {**TILED, "description": "macro"})), 0.5)


def downsamples(slide: Slide) -> list[float]:
    return [level.downsample for level in slide.levels]


class TestLevels:
    PIXELS = picture(500, 420)

    def pages(self, factors: Sequence[int], **options: object) -> list[tuple[np.ndarray, dict[str, object]]]:
        return [
            (reduced(self.PIXELS, factor), {**TILED, "subfiletype": int(factor > 1), **options})
            for factor in (1, *factors)
        ]

    @pytest.mark.parametrize("factors", [(4, 8), (2, 8), (8,), (16,), (2, 4, 8, 16), (3,), (5, 10)])
    @pytest.mark.parametrize("name", ["a.svs", "a.tif"])
    def test_of_any_factor(self, tmp_path: Path, factors: tuple[int, ...], name: str) -> None:
        pages = self.pages(factors)
        if name == "a.svs":
            pages[0][1]["description"] = APERIO
        with open_slide(write(tmp_path / name, *pages), 0.5) as slide:
            assert downsamples(slide) == [1, *factors] and slide.notes == ()
            last = factors[-1]
            got = slide.read_region((0, 0), (400 // last, 400 // last), 0.5 * last)
            np.testing.assert_array_equal(got, reduced(self.PIXELS, last)[: 400 // last, : 400 // last])

    def test_of_an_svs_that_marks_none(self, tmp_path: Path) -> None:
        pages = self.pages((2, 4, 8), subfiletype=0, description=APERIO)
        with open_slide(write(tmp_path / "a.svs", *pages), 0.5) as slide:
            assert downsamples(slide) == [1, 2, 4, 8]

    def test_the_thumbnail_of_an_svs_is_none(self, tmp_path: Path) -> None:
        thumbnail = (reduced(self.PIXELS, 2), STRIPS)
        first, *rest = self.pages((4,), subfiletype=0, description=APERIO)
        with open_slide(write(tmp_path / "a.svs", first, thumbnail, *rest), 0.5) as slide:
            assert downsamples(slide) == [1, 4]

    def test_in_any_order(self, tmp_path: Path) -> None:
        with open_slide(write(tmp_path / "a.tif", *self.pages((2, 8))[::-1]), 0.5) as slide:
            assert slide.dimensions == (420, 500) and downsamples(slide) == [1, 2, 8]

    def test_unmarked_ones_count_where_their_pixels_agree(self, tmp_path: Path) -> None:
        with open_slide(write(tmp_path / "a.tif", *self.pages((2, 8), subfiletype=0)), 0.5) as slide:
            assert downsamples(slide) == [1, 2, 8] and slide.notes == ()
        other = picture(250, 210, seed=3)
        with open_slide(write(tmp_path / "b.tif", (self.PIXELS, TILED), (other, TILED)), 0.5) as slide:
            assert downsamples(slide) == [1]

    def test_of_two_pyramids_each_has_its_own(self, tmp_path: Path) -> None:
        small = [(pixels[:400, :300], options) for pixels, options in self.pages((2, 4))]
        pages = [*self.pages((2, 4)), (small[0][0], TILED), (small[0][0][::2, ::2], {**TILED, "subfiletype": 1})]
        with open_slide(write(tmp_path / "a.tif", *pages), 0.5) as slide:
            assert downsamples(slide) == [1, 2, 4] and "scene 1 of 2" in slide.notes[0]

    def test_of_another_colour_space_or_with_alpha_lost_are_none(self, tmp_path: Path) -> None:
        grey = (reduced(self.PIXELS, 2)[..., 0], {**TILED, "photometric": "minisblack", "subfiletype": 1})
        with open_slide(write(tmp_path / "a.tif", *self.pages(()), grey, *self.pages((4,))[1:]), 0.5) as slide:
            assert downsamples(slide) == [1, 4]


class TestStacks:
    STACK = np.stack([SCAN] * 5)

    @pytest.mark.parametrize("options", [{}, {"tile": (64, 64)}, {"metadata": {"axes": "ZYXS", "truncate": True}}])
    def test_of_a_plain_tiff(self, tmp_path: Path, options: dict[str, object]) -> None:
        tifffile.imwrite(tmp_path / "a.tif", self.STACK, photometric="rgb", **options)
        with pytest.raises(SlideError, match="Got 5 focal planes, or "):
            open_slide(tmp_path / "a.tif", 0.5)

    def test_a_volume(self, tmp_path: Path) -> None:
        path = tmp_path / "a.tif"
        tifffile.imwrite(
            path, np.stack([SCAN] * 3), photometric="rgb", tile=(16, 64, 64), volumetric=True, metadata=None
        )
        with pytest.raises(SlideError, match="3 focal planes"):
            open_slide(path)

    @pytest.mark.parametrize(("axis", "words"), [("Z", "5 focal planes"), ("T", "5 time points")])
    def test_of_an_ome_tiff(self, tmp_path: Path, axis: str, words: str) -> None:
        tifffile.imwrite(tmp_path / "a.ome.tif", self.STACK, photometric="rgb", metadata={"axes": f"{axis}YXS"})
        with pytest.raises(SlideError, match=f"Got {words}"):
            open_slide(tmp_path / "a.ome.tif", 0.5)

    def test_of_imagej(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", self.STACK, imagej=True, metadata={"axes": "ZYXS"})
        with pytest.raises(SlideError, match="5 focal planes"):
            open_slide(tmp_path / "a.tif", 0.5)

    def test_of_an_svs(self, tmp_path: Path) -> None:
        page = (SCAN, {**TILED, "description": APERIO})
        thumbnail = (shrink(SCAN, 2), STRIPS)
        with pytest.raises(SlideError, match="3 focal planes"):
            open_slide(write(tmp_path / "a.svs", page, thumbnail, page, page), 0.5)

    @pytest.mark.parametrize(("axes", "words"), [("zcyx", "4 focal planes"), ("tcyx", "4 time points")])
    def test_of_an_ome_zarr(self, tmp_path: Path, axes: str, words: str) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", SCAN, factors=(), axes=axes)
        import zarr

        array = zarr.open_group(path, mode="r+")
        array.create_array("0", shape=(4, 3, 200, 260), dtype="uint8", chunks=(1, 1, 64, 64), overwrite=True)
        with pytest.raises(SlideError, match=words):
            open_slide(path)


class TestSeveralScans:
    """A reduced page behind several scans is a level of the one whose pixels it has."""

    OTHER = reduced(picture(200, 260, seed=1), 2)  # of the proportions of SCAN

    @pytest.mark.parametrize("order", [(0, 1, 2, 3), (2, 3, 0, 1), (0, 2, 3, 1), (2, 0, 1, 3)])
    def test_of_the_same_proportions(self, tmp_path: Path, order: tuple[int, ...]) -> None:
        pages = [(SCAN, 0), (reduced(SCAN, 4), 1), (self.OTHER, 0), (reduced(self.OTHER, 4), 1)]
        written = [(pixels, {**TILED, "subfiletype": kind}) for pixels, kind in (pages[place] for place in order)]
        with open_slide(write(tmp_path / "a.tif", *written), 0.5) as slide:
            assert all(level.downsample in (1, 4) for level in slide.levels)
            for level in slide.levels:
                size, factor = level.shape, int(level.downsample)
                got = slide.read_region((0, 0), size, 0.5 * factor).astype(int)
                assert np.abs(got - reduced(SCAN, factor)).max() <= 1

    def test_a_level_of_one_and_a_half(self, tmp_path: Path) -> None:
        scan = picture(300, 390)
        half = np.asarray(Image.fromarray(scan).resize((260, 200), Image.Resampling.BOX))
        with open_slide(write(tmp_path / "a.tif", (scan, TILED), (half, TILED)), 0.5) as slide:
            assert downsamples(slide) == [1, 1.5] and slide.notes == ()


class TestSetsOfFiles:
    """OME-TIFF: one description, in several files."""

    OTHER = picture(200, 260, seed=1)

    def write_set(self, folder: Path, *, with_uuid: bool = True) -> list[Path]:
        ids = [f"urn:uuid:{uuid.uuid4()}" for _ in range(2)]
        images = "".join(image(number, ids[number], f"s{number}.ome.tif") for number in range(2))
        paths = [folder / f"s{number}.ome.tif" for number in range(2)]
        for path, own, pixels in zip(paths, ids, (SCAN, self.OTHER), strict=True):
            described = description(images, own if with_uuid else None)
            write(path, (pixels, {**TILED, "description": described}))
        return paths

    def check(self, path: Path, pixels: np.ndarray, mpp: float, scene: int) -> None:
        with open_slide(path) as slide:
            assert (slide.mpp, slide.mpp_source) == (mpp, "OME PhysicalSize")
            np.testing.assert_array_equal(slide.read_region((0, 0), (200, 260), mpp), pixels)
            assert slide.notes == (
                f"The file belongs to a set with 2 scenes. Only the one in this file is read: scene {scene} of 2.",
            )

    @pytest.mark.parametrize("with_uuid", [True, False])
    def test_each_gives_its_own_pixels_and_resolution(self, tmp_path: Path, with_uuid: bool) -> None:
        first, second = self.write_set(tmp_path, with_uuid=with_uuid)
        self.check(first, SCAN, 0.25, 1)
        self.check(second, self.OTHER, 0.5, 2)
        first.unlink()
        self.check(second, self.OTHER, 0.5, 2)

    def test_a_file_is_known_by_its_uuid_whatever_its_name(self, tmp_path: Path) -> None:
        first, second = self.write_set(tmp_path)
        first.unlink()
        self.check(second.rename(first), self.OTHER, 0.5, 2)

    def test_a_renamed_file_that_is_described_alone_keeps_its_resolution(self, tmp_path: Path) -> None:
        described = description(image(0, "urn:uuid:1", "before.ome.tif"), None)
        with open_slide(write(tmp_path / "after.ome.tif", (SCAN, {**TILED, "description": described}))) as slide:
            assert slide.mpp == 0.25

    def test_planes_in_other_files_are_told(self, tmp_path: Path) -> None:
        planes = "".join(
            f'<TiffData IFD="0" FirstZ="{z}" PlaneCount="1"><UUID FileName="{z}">urn:uuid:{z}</UUID></TiffData>'
            for z in range(3)
        )
        described = description(image(0, "", "").replace('SizeZ="1"', 'SizeZ="3"'), "urn:uuid:1", planes)
        with open_slide(write(tmp_path / "a.ome.tif", (SCAN, {**TILED, "description": described}))) as slide:
            assert slide.mpp == 0.25 and "in other files of its set" in slide.notes[0]

    def test_a_page_that_no_image_of_this_file_describes_has_no_resolution(self, tmp_path: Path) -> None:
        described = description(image(0, "urn:uuid:1", "other.ome.tif"), "urn:uuid:2")
        with open_slide(write(tmp_path / "a.ome.tif", (SCAN, {**TILED, "description": described}))) as slide:
            assert not slide.has_mpp

    def test_a_uuid_is_the_same_in_capitals(self, tmp_path: Path) -> None:
        images = "".join(image(number, f"urn:uuid:{number}a", f"s{number}.ome.tif") for number in range(2))
        described = description(images, "urn:uuid:1A")
        path = write(tmp_path / "renamed.ome.tif", (self.OTHER, {**TILED, "description": described}))
        self.check(path, self.OTHER, 0.5, 2)

    def test_images_of_which_no_page_is_stated_follow_each_other(self, tmp_path: Path) -> None:
        described = description(image(0, "", "") + image(1, "", ""), None)
        pages = [(SCAN, {**TILED, "description": described}), (PHOTO, TILED)]
        with open_slide(write(tmp_path / "a.ome.tif", *pages)) as slide:
            assert not slide.has_mpp and slide.dimensions == (400, 300)
        with open_slide(write(tmp_path / "b.ome.tif", pages[0], (self.OTHER[:100], TILED))) as slide:
            assert slide.mpp == 0.25

    @pytest.mark.parametrize("companion", ["", '<BinaryOnly MetadataFile="a.companion.ome" UUID="urn:uuid:7"/>'])
    def test_a_description_of_other_files_alone_is_told(self, tmp_path: Path, companion: str) -> None:
        images = companion or "".join(image(n, f"urn:uuid:{n}", f"s{n}.ome.tif") for n in range(2))
        path = write(tmp_path / "q.ome.tif", (SCAN, {**TILED, "description": description(images, "urn:uuid:9")}))
        with open_slide(path) as slide, pytest.raises(ResolutionError, match="OME metadata describe no page of this"):
            _ = slide.mpp

    @pytest.mark.parametrize(
        "xml", ["", "<OME", "<OME><Image/></OME>", '<OME><Image><Pixels SizeZ="x"/></Image></OME>']
    )
    def test_what_cannot_be_understood_describes_no_page(self, xml: str) -> None:
        assert not any(one.pages for one in ome_images(xml, "a.ome.tif", 1))


def image(number: int, own: str, file: str) -> str:
    mpp = (0.25, 0.5)[number]
    data = f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="{file}">{own}</UUID></TiffData>' if own else "DATA"
    return (
        f'<Image ID="Image:{number}" Name="scene {number}"><Pixels ID="Pixels:{number}" DimensionOrder="XYCZT" '
        f'Type="uint8" SizeX="260" SizeY="200" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="{mpp}" '
        f'PhysicalSizeY="{mpp}"><Channel ID="Channel:{number}:0" SamplesPerPixel="3"/>{data}</Pixels></Image>'
    )


def description(images: str, own: str | None, data: str = "") -> str:
    uuid_of = f' UUID="{own}"' if own else ""
    return (
        f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"{uuid_of}>{images.replace("DATA", data)}</OME>'
    )


def test_levels_behind_one_that_is_left_out_are_read(tmp_path: Path) -> None:
    pixels = picture(400, 320)
    levels = [(level, {**TILED, "subfiletype": place}) for place, level in enumerate((pixels, pixels[:200, :100]))]
    path = write(tmp_path / "a.tif", *levels, (reduced(pixels, 4), {**TILED, "subfiletype": 1}))
    with open_slide(path, 0.5) as slide:
        assert downsamples(slide) == [1, 4] and slide.notes[0].startswith("1 of 3 levels are skipped")
        np.testing.assert_array_equal(slide.read_region((0, 0), (100, 80), 2.0), reduced(pixels, 4))


def test_the_whole_of_a_large_scene_is_read(tmp_path: Path) -> None:
    """Two scans, neither marked: the larger one, and a note."""
    large = coordinate_pixels(320, 300)
    with open_slide(write(tmp_path / "a.tif", (SCAN, TILED), (large, TILED)), 0.5) as slide:
        np.testing.assert_array_equal(slide.read_region((0, 0), (320, 300), 0.5), large)
        assert "scene 2 of 2" in slide.notes[0]


@pytest.mark.parametrize("marked", [True, False])
def test_a_level_that_contradicts_itself_is_left_out_and_told(tmp_path: Path, marked: bool) -> None:
    pixels = picture(400, 300)
    levels = [(reduced(pixels, factor), {**TILED, "subfiletype": int(marked and factor > 1)}) for factor in (1, 2, 4)]
    path = write(tmp_path / "a.tif", *levels)
    with tifffile.TiffFile(path, mode="r+") as tif:
        tif.pages[1].tags["TileOffsets"].overwrite(tif.pages[1].dataoffsets[:-1])
    with open_slide(path, 0.5) as slide:
        assert downsamples(slide) == [1, 4]
        assert bool(slide.notes) is marked and all("levels may be missing" in note for note in slide.notes)
