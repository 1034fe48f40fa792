"""What OpenSlide gives of levels of any factor is what is stored, not moved and not smoothed."""

import io
import tempfile
from itertools import product
from pathlib import Path

import numpy as np
import openslide
import pydicom
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image
from pydicom.encaps import encapsulate

import lrmil.slides.readers.openslide_regions
from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.openslide import OpenSlideReader
from lrmil.slides.readers.openslide_regions import NEAR, meeting_point, read_stored
from support.slides import overwrite

RANDOM = np.random.default_rng(0)
SIZES = [(400, 320), (399, 321), (613, 460), (667, 500), (250, 200), (1000, 777)]


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return RANDOM.integers(0, 256, (height, width, 3), np.uint8)


def write(path: Path, levels: list[NDArray[np.uint8]], software: str = "") -> Path:
    """Write a TIFF that OpenSlide reads: of Trestle, whose resolution tags hold um/px, or a plain one."""
    options: dict[str, object] = {"photometric": "rgb", "tile": (128, 128), "compression": "deflate", "metadata": None}
    if software:
        about = "Objective Power=20;Background Color=FFFFFF;OverlapsXY=0 0 0 0"
        options |= {"software": software, "description": about, "resolution": (0.5, 0.5), "resolutionunit": 3}
    with tifffile.TiffWriter(path) as tif:
        for number, level in enumerate(levels):
            tif.write(level, subfiletype=0 if software else min(number, 1), **options)
    return path


@pytest.mark.parametrize("size", SIZES)
def test_every_rectangle_of_a_level_is_what_is_stored(tmp_path: Path, size: tuple[int, int]) -> None:
    level = noise(*size)
    with openslide.OpenSlide(write(tmp_path / "a.tif", [noise(1000, 800), level])) as handle:
        for y, x in ((0, 0), (1, 0), (0, 1), (3, 7), (101, 99), (160, 97), (size[0] - 40, size[1] - 30)):
            got = read_stored(handle, 1, y, x, 40, 30)
            np.testing.assert_array_equal(got, level[y : y + 40, x : x + 30])


@pytest.mark.parametrize("downsample", [2.5, 1.25, 4.004])
def test_regions_of_a_slide_at_a_level_s_own_resolution_equal_the_level(tmp_path: Path, downsample: float) -> None:
    size = round(1000 / downsample), round(800 / downsample)
    level = noise(*size)
    with open_slide(write(tmp_path / "a.tif", [noise(1000, 800), level], "MedScan 2.2")) as slide:
        assert slide.reader_name == "openslide" and slide.mpp == 0.5
        step = slide.levels[1].downsample
        for y, x in product((0, 1, 2, 77, 133), repeat=2):
            got = slide.read_region((y * step, x * step), (50, 60), 0.5 * step)
            np.testing.assert_array_equal(got, level[y : y + 50, x : x + 60])
        [first, second] = slide.pyramid()
        np.testing.assert_array_equal(np.asarray(second[7:90, 11:100]), level[7:90, 11:100])
        assert first.shape == (1000, 800, 3)


def test_what_openslide_gives_by_itself_is_moved(tmp_path: Path) -> None:
    """The fault itself: unless OpenSlide moves pixels here, the tests above prove nothing."""
    level = noise(400, 320)
    with openslide.OpenSlide(write(tmp_path / "a.tif", [noise(1000, 800), level])) as handle:
        got = np.asarray(handle.read_region((round(33 * 2.5), 0), 1, (30, 40)).convert("RGB"))
        assert (got != level[:40, 33:63]).any()
        np.testing.assert_array_equal(read_stored(handle, 1, 0, 33, 40, 30), level[:40, 33:63])


def test_a_level_too_large_for_that_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    level = noise(499, 399)
    reader = OpenSlideReader(write(tmp_path / "a.tif", [noise(1999, 1600), level]))
    monkeypatch.setattr(lrmil.slides.readers.openslide_regions, "MAX_PIXELS", 10_000)
    np.testing.assert_array_equal(reader.read(1, 0, 0, 200, 200), level[:200, :200])
    assert reader.notes == ()
    got = reader.read(1, 350, 350, 20, 20)
    assert np.abs(got.astype(int) - level[350:370, 350:370]).mean() < 60
    assert reader.notes == ("Parts of level 1 are shifted by less than a pixel, because its factor is not an integer.",)
    reader.close()


def test_damage_beside_a_region_does_not_spoil_it(tmp_path: Path) -> None:
    level = noise(399, 321)
    path = write(tmp_path / "a.tif", [noise(1000, 800), level])
    with tifffile.TiffFile(path) as tif:
        page = tif.pages[1]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    overwrite(path, offset, bytes(count))
    reader = OpenSlideReader(path)
    got = reader.read(1, 300, 200, 30, 30)
    assert np.abs(got.astype(int) - level[300:330, 200:230]).mean() < 60 and len(reader.notes) == 1
    with pytest.raises(SlideError, match="OpenSlide failed at level 1"):
        reader.read(1, 100, 100, 30, 30)
    reader.close()


@given(st.integers(0, 3000), st.floats(1.0, 64.0))
def test_both_grids_meet_where_it_is_said(corner: int, downsample: float) -> None:
    found = meeting_point(corner, downsample)
    assert 0 <= found <= corner
    assert abs(found * downsample - round(found * downsample)) <= NEAR * downsample
    later = range(found + 1, corner + 1)
    assert all(abs(one * downsample - round(one * downsample)) >= NEAR * downsample for one in later)
    assert meeting_point(corner, float(round(downsample))) == corner


def dicom_level(
    path: Path, pixels: NDArray[np.uint8], spacing: float, ids: list[str], template: Path
) -> NDArray[np.uint8]:
    """Write one level of a DICOM slide, and give its pixels as they decode."""
    side, data = 128, pydicom.dcmread(template)
    rows, columns = (-(-one // side) for one in pixels.shape[:2])
    padded = np.full((rows * side, columns * side, 3), 255, np.uint8)
    padded[: pixels.shape[0], : pixels.shape[1]] = pixels
    frames, decoded = list[bytes](), np.empty_like(padded)
    for y, x in product(range(0, rows * side, side), range(0, columns * side, side)):
        frame = io.BytesIO()
        Image.fromarray(padded[y : y + side, x : x + side]).save(frame, "JPEG", quality=95, subsampling=0)
        frames.append(frame.getvalue())
        decoded[y : y + side, x : x + side] = np.asarray(Image.open(frame))
    first = spacing == 0.0005
    data.ImageType = ["ORIGINAL" if first else "DERIVED", "PRIMARY", "VOLUME", "NONE" if first else "RESAMPLED"]
    data.SeriesInstanceUID, data.StudyInstanceUID, data.FrameOfReferenceUID = ids
    data.SOPInstanceUID = data.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
    data.Rows = data.Columns = side
    data.TotalPixelMatrixRows, data.TotalPixelMatrixColumns = pixels.shape[:2]
    data.PhotometricInterpretation, data.DimensionOrganizationType = "YBR_FULL_422", "TILED_FULL"
    data.InstanceNumber, data.NumberOfFrames = 1 if first else 2, len(frames)
    data.ImagedVolumeWidth, data.ImagedVolumeHeight = pixels.shape[1] * spacing, pixels.shape[0] * spacing
    data.TotalPixelMatrixFocalPlanes = data.NumberOfOpticalPaths = 1
    if "PerFrameFunctionalGroupsSequence" in data:
        del data["PerFrameFunctionalGroupsSequence"]
    data.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [spacing, spacing]
    data.PixelData = encapsulate(frames)
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.50"
    data.save_as(path)
    return decoded[: pixels.shape[0], : pixels.shape[1]]


def test_levels_of_dicom_are_read_alone_however_large_they_are(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lrmil.slides.readers.openslide_regions, "MAX_PIXELS", 1)
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    template = shared / "data/slides/camelyon_level_jpeg.dcm"
    ids = [pydicom.uid.generate_uid() for _ in range(3)]
    smooth = Image.fromarray(noise(60, 50)).resize((998, 1001), Image.Resampling.BICUBIC)
    dicom_level(tmp_path / "a.dcm", np.asarray(smooth), 0.0005, ids, template)
    level = dicom_level(tmp_path / "b.dcm", np.asarray(smooth.resize((249, 250))), 0.002, ids, template)
    reader = OpenSlideReader(tmp_path / "a.dcm")
    assert [one.shape for one in reader.levels] == [(1001, 998), (250, 249)]
    for y, x in ((0, 0), (33, 77), (120, 111)):
        assert np.abs(reader.read(1, y, x, 90, 100).astype(int) - level[y : y + 90, x : x + 100]).max() <= 1
    assert reader.notes == ()
    assert [path.is_symlink() for path in temporary.rglob("*.dcm")] == [True]
    reader.close()
    del reader
    assert list(temporary.iterdir()) == []
