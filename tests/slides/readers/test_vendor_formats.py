"""Formats of vendors that OpenSlide reads, on slides made here: pixels, um/px, scanned regions, bounds, refusals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from lrmil.errors import ResolutionError, SlideError
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.options import PredictOptions
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.openslide import OpenSlideReader, fluorescence_in
from lrmil.slides.readers.tiff import TiffReader
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import tiny_bundle
from support.slides import coordinate_pixels
from support.vendor_slides import write_bif, write_mrxs, write_philips, write_scn, write_trestle, write_vms

PIXELS = coordinate_pixels(512, 640)
JPEG_TOLERANCE = 6  # grey values, of JPEG at the quality the slides are written with

Write = Callable[[Path, np.ndarray], Path]


@pytest.mark.parametrize(
    ("write", "name", "downsamples"),
    [
        (write_philips, "a.tiff", [1, 2]),
        (write_trestle, "a.tif", [1, 2]),
        (write_bif, "a.bif", [1, 2]),
        (write_vms, "a.vms", [1, 2, 4, 8, 16, 32, 64]),
    ],
)
def test_each_gives_its_pixels_and_its_resolution(
    tmp_path: Path, write: Write, name: str, downsamples: list[int]
) -> None:
    path = write(tmp_path / name, PIXELS)
    with open_slide(path) as slide:
        assert (slide.reader_name, slide.mpp, slide.mpp_source) == ("openslide", 0.5, "openslide.mpp")
        assert [level.downsample for level in slide.levels] == downsamples and slide.notes == ()
        got = slide.read_region((32, 64), (400, 500), 0.5).astype(int)
        half = slide.read_region((64, 64), (100, 100), 1.0).astype(int)
    assert np.abs(got - PIXELS[32:432, 64:564]).max() <= JPEG_TOLERANCE
    assert np.abs(half - PIXELS[64:264:2, 64:264:2]).max() <= JPEG_TOLERANCE
    assert find_slides(tmp_path) == [path]


def test_regions_and_bounds_of_an_scn_are_said_and_its_rest_is_white(tmp_path: Path) -> None:
    with open_slide(write_scn(tmp_path / "a.scn", PIXELS)) as slide:
        assert (slide.dimensions, slide.mpp, slide.origin_yx) == ((2000, 1500), 0.5, (200, 100))
        for corner in ((200, 100), (300, 1000)):
            got = slide.read_region(corner, (512, 640), 0.5).astype(int)
            assert np.abs(got - PIXELS).max() <= JPEG_TOLERANCE
        assert (slide.read_region((0, 0), (200, 2000), 0.5) == 255).all()
        assert slide.notes == (
            "The slide has 2 scanned regions; they are read as one image, each at its position.",
            "The scanned area begins at x=100, y=200 (OpenSlide's bounds). Coordinates are relative to the corner of "
            "the whole slide.",
        )


class TestMrxs:
    """A file that is itself a JPEG (a preview of the slide with its label), and a folder of the same name."""

    @pytest.fixture
    def slide(self, tmp_path: Path) -> Path:
        path = write_mrxs(tmp_path / "a.mrxs", PIXELS)
        Image.fromarray(PIXELS[:100, :200]).save(path, "JPEG")
        return path

    @pytest.mark.parametrize("preview", [True, False])
    def test_pixels_resolution_and_bounds_are_those_of_the_folder(self, slide: Path, preview: bool) -> None:
        if not preview:
            slide.write_bytes(b"")
        with open_slide(slide) as opened:
            assert (opened.reader_name, opened.mpp, opened.mpp_source) == ("openslide", 0.5, "openslide.mpp")
            assert (opened.dimensions, opened.origin_yx) == ((1024, 768), (256, 256))
            assert [level.downsample for level in opened.levels] == [1, 2]
            assert "begins at x=256, y=256" in " ".join(opened.notes)
            got = opened.read_region((256, 256), (512, 640), 0.5).astype(int)
            half = opened.read_region((256, 256), (256, 320), 1.0).astype(int)
            assert (opened.read_region((0, 0), (256, 1024), 0.5) == 255).all()
        assert np.abs(got - PIXELS).max() <= JPEG_TOLERANCE
        assert np.abs(half - PIXELS[::2, ::2]).max() <= JPEG_TOLERANCE
        assert find_slides(slide.parent) == [slide]

    def test_fluorescence_is_refused(self, tmp_path: Path) -> None:
        path = write_mrxs(tmp_path / "a.mrxs", PIXELS, slide_type="SLIDE_TYPE_FLUORESCENCE")
        with pytest.raises(SlideError, match="fluorescence"):
            open_slide(path)

    def test_the_file_without_its_folder_is_no_picture(self, slide: Path) -> None:
        shutil.rmtree(slide.with_suffix(""))
        with pytest.raises(SlideError, match=r"The folder a .*a\.mrxs is missing"):
            open_slide(slide, mpp=0.5)

    @pytest.mark.parametrize("name", ["Slidedat.ini", "Index.dat"])
    def test_a_description_that_is_lost_is_a_sentence(self, slide: Path, name: str) -> None:
        (slide.with_suffix("") / name).unlink()
        with pytest.raises(SlideError, match=r"OpenSlide cannot open .*a\.mrxs"):
            open_slide(slide)

    def test_pixels_that_are_lost_are_unreadable_and_the_rest_reads(self, slide: Path) -> None:
        data = slide.with_suffix("") / "Data0000.dat"
        whole = data.read_bytes()
        first = whole.index(b"\xff\xd9") + 2
        data.write_bytes(bytes(first) + whole[first:])
        with open_slide(slide) as opened:
            with pytest.raises(SlideError, match="OpenSlide failed"):
                opened.read_region((256, 256), (128, 128), 0.5)
            got = opened.read_region((256, 384), (512, 512), 0.5).astype(int)
        assert np.abs(got - PIXELS[:, 128:]).max() <= JPEG_TOLERANCE

    def test_geojson_counts_from_the_scanned_area_when_asked(self, slide: Path, tmp_path: Path) -> None:
        source = SlideSource("a", slide)
        for subtract in (False, True):
            out = tmp_path / str(subtract)
            last(predict_slides([source], tiny_bundle(), out, PredictOptions(device="cpu", subtract_bounds=subtract)))
        read = [json.loads((tmp_path / str(subtract) / "a.geojson").read_text()) for subtract in (False, True)]
        corners = [np.array(one["features"][0]["geometry"]["coordinates"][0]) for one in read]
        np.testing.assert_array_equal(corners[0] - corners[1], np.full_like(corners[0], 256))


def test_fluorescence_is_refused_as_its_scanner_says(tmp_path: Path) -> None:
    with pytest.raises(SlideError):  # OpenSlide leaves such images out, then finds none
        open_slide(write_scn(tmp_path / "a.scn", PIXELS, source="fluorescence"))
    kind = "dicom.OpticalPathSequence[0].IlluminationTypeCodeSequence[0].CodeMeaning"
    for name, value, expected in (
        ("mirax.GENERAL.SLIDE_TYPE", "SLIDE_TYPE_FLUORESCENCE", True),
        ("mirax.GENERAL.SLIDE_TYPE", "SLIDE_TYPE_BRIGHTFIELD", False),
        (kind, "Epifluorescence illumination", True),
        (kind, "Brightfield illumination", False),
        ("hamamatsu.;NDP Shading Data;Version 0004;ID", "4;Name=DAPI;ExcitationName=387/11-25;Exc", True),
        ("openslide.comment", "no fluorescence here", False),
    ):
        assert bool(fluorescence_in({name: value})) is expected


def test_fluorescence_of_hamamatsu_is_refused_on_this_route_too(shared: Path) -> None:
    with pytest.raises(SlideError, match="fluorescence"):
        OpenSlideReader(shared / "data/slides/other/hamamatsu_test3-DAPI-2_387.ndpi")


def test_a_colour_profile_is_said(shared: Path) -> None:
    with open_slide(shared / "data/slides/other/highdicom_sm_0.dcm") as slide:
        assert slide.notes == ("The file has an ICC colour profile. It is not applied; colours are read as stored.",)
    with open_slide(shared / "data/slides/camelyon_level_jpeg.dcm") as slide:
        assert slide.notes == ()


@pytest.mark.parametrize("compression", ["jpeg", "lzw", "deflate", None])
def test_both_routes_give_the_same_pixels_of_a_made_tiff(tmp_path: Path, compression: str | None) -> None:
    """Losslessly stored pixels are equal; JPEG may differ by 1, since the two have their own copy of the decoder."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(128, 128), compression=compression)
    direct, openslide = TiffReader(path), OpenSlideReader(path)
    ours, theirs = (reader.read(0, 3, 5, 500, 630).astype(int) for reader in (direct, openslide))
    assert np.abs(ours - theirs).max() <= (1 if compression == "jpeg" else 0)
    direct.close()
    openslide.close()


def test_all_files_of_a_vms_count_for_its_fingerprint(tmp_path: Path) -> None:
    path = write_vms(tmp_path / "a.vms", PIXELS)
    with open_slide(path) as slide:
        before = slide.fingerprint
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"\0")
    with open_slide(path) as slide:
        assert slide.fingerprint != before


@pytest.mark.parametrize(("y", "x", "message"), [("0.5", "0.6", "square"), ("30", "30", r"30 um \(openslide.mpp\)")])
def test_implausible_and_oblong_values_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, y: str, x: str, message: str
) -> None:
    real = OpenSlideReader.__init__

    def init(self: OpenSlideReader, path: Path) -> None:
        real(self, path)
        self.mpp_candidates = [type(self.mpp_candidates[0])(float(y), float(x), "openslide.mpp")]

    monkeypatch.setattr(OpenSlideReader, "__init__", init)
    with open_slide(write_philips(tmp_path / "a.tiff", PIXELS)) as slide, pytest.raises(ResolutionError, match=message):
        _ = slide.mpp


class TestRealFiles:
    def test_tiffs(self, shared: Path) -> None:
        strips = shared / "data/slides/other/histolab_kidney-48-5_IHC_strip.tif"
        with open_slide(strips, 0.5) as slide:
            assert (slide.reader_name, slide.dimensions, len(slide.levels)) == ("tifffile", (1493, 901), 1)
            np.testing.assert_array_equal(slide.read_region((0, 0), (901, 1493), 0.5), tifffile.imread(strips))
        path = shared / "data/slides/other/openslide_boxes.tiff"
        with open_slide(path) as slide:
            assert not slide.has_mpp and "ICC" in slide.notes[0]  # 72 dots per inch
        direct, openslide = TiffReader(path), OpenSlideReader(path)
        assert [level.shape for level in direct.levels] == [level.shape for level in openslide.levels]
        for index, level in enumerate(direct.levels):
            whole = (index, 0, 0, *level.shape)
            np.testing.assert_array_equal(direct.read(*whole), openslide.read(*whole))
        direct.close()
        openslide.close()

    @pytest.mark.parametrize(
        ("name", "size"),
        [
            ("camelyon_level_jpeg.dcm", (1152, 700)),
            ("camelyon_level_j2k_lossless.dcm", (1696, 812)),
            ("other/highdicom_sm_0.dcm", (50, 50)),
        ],
    )
    def test_dicom_files(self, shared: Path, name: str, size: tuple[int, int]) -> None:
        with open_slide(shared / "data/slides" / name, 0.5) as slide:
            assert (slide.reader_name, slide.dimensions) == ("openslide", size)
            assert slide.read_region((0, 0), (50, 50), 0.5).shape == (50, 50, 3)
            assert slide.pyramid()[0][:20, :20].compute().shape == (20, 20, 3)

    def test_a_dicom_folder(self, shared: Path, tmp_path: Path) -> None:
        folder = tmp_path / "case.7"
        folder.mkdir()
        for number in (0, 1):
            name = f"openslide_boxes_{number}.dcm"
            (folder / name).write_bytes((shared / "data/slides/other" / name).read_bytes())
        assert find_slides(tmp_path) == [folder]
        with open_slide(folder) as slide:
            assert (slide.slide_id, slide.mpp) == ("case.7", 0.499)


def test_a_format_that_openslide_does_not_know_is_refused_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "a.czi").write_bytes(b"ZISRAWFILE".ljust(2000, b"\0"))
    with pytest.raises(SlideError, match=r"Zeiss CZI is not read: .*a\.czi.*OME-TIFF"):
        open_slide(tmp_path / "a.czi")
    for name, words in (("b.VSI", "Olympus VSI"), ("c.isyntax", "Philips iSyntax")):
        (tmp_path / name).write_bytes(b"no image".ljust(2000, b"\0"))
        with pytest.raises(SlideError, match=rf"{words} is not read: .*OME-TIFF") as caught:
            open_slide(tmp_path / name)
        assert "lrmil doctor" not in str(caught.value)
