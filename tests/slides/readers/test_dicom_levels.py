"""Levels of DICOM slides: where whole tiles are counted, PixelSpacing tells their factor; focal planes are refused."""

import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image

from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.dicom_frames import FOCAL_PLANES, focal_planes_of, pixel_spacings
from support.pictures import padded, picture, reduced

TILE = 128
PIXELS = picture(650, 525)


def write_slide(
    folder: Path,
    spacings: tuple[float | tuple[float, float] | None, ...] = (0.5, 1.0, 2.0),
    *,
    whole_tiles: bool = True,
    planes: int = 1,
) -> Path:
    """Write a level for each spacing (um, or y and x), each half the size of the one before."""
    folder.mkdir()
    ids = [pydicom.uid.generate_uid() for _ in range(3)]
    for number, spacing in enumerate(spacings):
        level, frames = reduced(PIXELS, 2**number), padded(reduced(PIXELS, 2**number), TILE)
        rows, columns = frames.shape[0] // TILE, frames.shape[1] // TILE
        grid = frames.reshape(rows, TILE, columns, TILE, 3).swapaxes(1, 2).reshape(-1, TILE, TILE, 3)
        about = pydicom.Dataset()
        about.SOPClassUID, about.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.77.1.6", pydicom.uid.generate_uid()
        about.StudyInstanceUID, about.SeriesInstanceUID, about.FrameOfReferenceUID = ids
        about.ImageType = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED" if number else "NONE"]
        about.Modality, about.InstanceNumber, about.PatientName = "SM", number, ""
        about.SamplesPerPixel, about.BitsAllocated, about.BitsStored, about.HighBit = 3, 8, 8, 7
        about.PixelRepresentation = about.PlanarConfiguration = 0
        about.PhotometricInterpretation, about.DimensionOrganizationType = "YBR_FULL_422", "TILED_FULL"
        about.Rows = about.Columns = TILE
        stated = frames if whole_tiles else level
        about.TotalPixelMatrixRows, about.TotalPixelMatrixColumns = stated.shape[:2]
        about.TotalPixelMatrixFocalPlanes, about.NumberOfFrames = planes, len(grid)
        measures, shared = pydicom.Dataset(), pydicom.Dataset()
        if spacing is not None:
            y, x = spacing if isinstance(spacing, tuple) else (spacing, spacing)
            measures.PixelSpacing = [y / 1000, x / 1000]
        shared.PixelMeasuresSequence = [measures]
        about.SharedFunctionalGroupsSequence = [shared]
        about.PixelData = pydicom.encaps.encapsulate([jpeg(frame) for frame in grid])
        about["PixelData"].VR, about["PixelData"].is_undefined_length = "OB", True
        about.file_meta = pydicom.dataset.FileMetaDataset()
        about.file_meta.TransferSyntaxUID = pydicom.uid.JPEGBaseline8Bit
        about.file_meta.MediaStorageSOPClassUID = about.SOPClassUID
        about.file_meta.MediaStorageSOPInstanceUID = about.SOPInstanceUID
        pydicom.dcmwrite(folder / f"{number}.dcm", about, enforce_file_format=True)
    return folder


def jpeg(frame: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=95, subsampling=1)
    return stream.getvalue()


@pytest.mark.parametrize("whole_tiles", [True, False])
def test_regions_of_every_level_are_those_of_the_first(tmp_path: Path, whole_tiles: bool) -> None:
    with open_slide(write_slide(tmp_path / "s", whole_tiles=whole_tiles)) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2, 4] and slide.notes == ()
        full = (768, 640) if whole_tiles else (650, 525)
        assert [level.shape for level in slide.levels] == [
            full,
            *(tuple(-(-side // factor) for side in full) for factor in (2, 4)),
        ]
        for factor in (2, 4):
            got = slide.read_region((320, 260), (320 // factor, 260 // factor), 0.5 * factor).astype(int)
            expected = reduced(np.ascontiguousarray(PIXELS[320:640, 260:520]), factor)
            assert np.abs(got - expected).mean() < 6


def test_a_spacing_that_contradicts_the_size_leaves_the_level_out(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s", (0.5, 0.5, 2.0))) as slide:
        assert [level.downsample for level in slide.levels] == [1, 4]
        assert slide.notes == ("1 of 3 levels are skipped: judged by their scale, they do not match the first level.",)
        for factor in (2, 4):  # the first of them from level 0
            got = slide.read_region((320, 260), (320 // factor, 260 // factor), 0.5 * factor).astype(int)
            expected = reduced(np.ascontiguousarray(PIXELS[320:640, 260:520]), factor)
            assert np.abs(got - expected).mean() < 6


def test_a_level_that_is_stretched_is_left_out(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s", (0.5, (1.0, 1.1), 2.0)), 0.5) as slide:
        assert [level.downsample for level in slide.levels] == [1, 4]


def test_without_spacing_the_pixels_decide(tmp_path: Path) -> None:
    with open_slide(write_slide(tmp_path / "s", (None, None, None)), 0.5) as slide:
        assert [level.downsample for level in slide.levels] == [1, 2, 4]


def test_focal_planes_are_counted(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="3 focal planes"):
        open_slide(write_slide(tmp_path / "s", (0.5,), planes=3))


class TestHeads:
    """What is taken from the bytes of a file, without a library that could be led astray by the rest of it."""

    def test_focal_planes(self) -> None:
        begin = bytes(128) + b"DICM"
        assert focal_planes_of(begin + FOCAL_PLANES + struct.pack("<I", 7)) == 7
        assert focal_planes_of(begin) == 1
        assert focal_planes_of(FOCAL_PLANES + struct.pack("<I", 7)) == 1  # no DICOM file

    def test_spacings_are_those_of_pydicom(self, tmp_path: Path) -> None:
        folder = write_slide(tmp_path / "s", ((0.25, 0.2500125), 1.0))
        shapes = [(768, 640), (384, 384)]
        expected = {
            (int(one.TotalPixelMatrixRows), int(one.TotalPixelMatrixColumns)): tuple(
                map(float, one.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing)
            )
            for one in map(pydicom.dcmread, sorted(folder.iterdir()))
        }
        assert pixel_spacings(folder / "0.dcm", shapes) == expected
        assert list(pixel_spacings(folder / "0.dcm", shapes[:1])) == shapes[:1]

    @pytest.mark.parametrize("text", [b"0\\0", b"1e999\\1", b"-1\\-1", b"x\\y", b"1..2\\3"])
    def test_absurd_ones_are_none(self, tmp_path: Path, text: bytes) -> None:
        path = write_slide(tmp_path / "s", (0.5,)) / "0.dcm"
        data = path.read_bytes()
        place = data.index(b"\x28\x00\x30\x00DS") + 8
        length = int.from_bytes(data[place - 2 : place], "little")
        path.write_bytes(data[:place] + text.ljust(length)[:length] + data[place + length :])
        assert pixel_spacings(path, [(768, 640)]) == {}
