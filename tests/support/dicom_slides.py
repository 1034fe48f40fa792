"""Small DICOM whole-slide images for tests: a file for each level, as archives hand them out."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pydicom
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit, generate_uid

from support.slides import PATIENT, coordinate_pixels, shrink

WHOLE_SLIDE, CT = "1.2.840.10008.5.1.4.1.1.77.1.6", "1.2.840.10008.5.1.4.1.1.2"
TILE = 128
PIXELS = coordinate_pixels(320, 384)


def write_level(
    path: Path,
    pixels: NDArray[np.uint8] = PIXELS,
    *,
    series: str,
    mpp: float = 0.5,
    kind: str = "VOLUME",
    storage_class: str = WHOLE_SLIDE,
    compressed: bool = False,
    number: int = 1,
) -> Path:
    """Write one image of a series, TILED_FULL; `kind` is VOLUME, LABEL, OVERVIEW or THUMBNAIL."""
    about = Dataset()
    about.SOPClassUID, about.SOPInstanceUID = storage_class, generate_uid()
    about.StudyInstanceUID, about.SeriesInstanceUID = generate_uid(entropy_srcs=["study"]), series
    about.FrameOfReferenceUID = generate_uid(entropy_srcs=[series])
    about.ImageType = [
        "ORIGINAL" if number == 1 else "DERIVED",
        "PRIMARY",
        kind,
        "NONE" if number == 1 else "RESAMPLED",
    ]
    about.Modality, about.InstanceNumber = "SM" if storage_class == WHOLE_SLIDE else "CT", number
    about.PatientName, about.PatientID = PATIENT, PATIENT
    about.SamplesPerPixel, about.BitsAllocated, about.BitsStored, about.HighBit = 3, 8, 8, 7
    about.PixelRepresentation = about.PlanarConfiguration = 0
    about.PhotometricInterpretation = "YBR_FULL_422" if compressed else "RGB"
    about.Rows = about.Columns = TILE
    about.TotalPixelMatrixRows, about.TotalPixelMatrixColumns = pixels.shape[:2]
    about.DimensionOrganizationType = "TILED_FULL"
    measures, shared = Dataset(), Dataset()
    measures.PixelSpacing = [mpp / 1000, mpp / 1000]
    shared.PixelMeasuresSequence = [measures]
    about.SharedFunctionalGroupsSequence = [shared]
    frames = _frames(pixels)
    about.NumberOfFrames = len(frames)
    about.file_meta = FileMetaDataset()
    about.file_meta.MediaStorageSOPClassUID = storage_class
    about.file_meta.MediaStorageSOPInstanceUID = about.SOPInstanceUID
    about.file_meta.TransferSyntaxUID = JPEGBaseline8Bit if compressed else ExplicitVRLittleEndian
    if compressed:
        about.PixelData = encapsulate([_jpeg(frame) for frame in frames])
        about["PixelData"].is_undefined_length = True
    else:
        about.PixelData = b"".join(frame.tobytes() for frame in frames)
    about["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    pydicom.dcmwrite(path, about, enforce_file_format=True)
    return path


def write_series(
    folder: Path,
    names: Sequence[str] = ("level-0.dcm", "level-1.dcm", "level-2.dcm"),
    pixels: NDArray[np.uint8] = PIXELS,
    *,
    series: str = "",
    compressed: bool = False,
) -> str:
    """Write a slide of one file a level, each half the size of the one before; returns the UID of its series."""
    series = series or generate_uid()
    for number, name in enumerate(names, 1):
        level = pixels if number == 1 else shrink(pixels, 2 ** (number - 1))
        write_level(
            folder / name, level, series=series, mpp=0.5 * 2 ** (number - 1), number=number, compressed=compressed
        )
    return series


def _frames(pixels: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    height, width = (-(-side // TILE) * TILE for side in pixels.shape[:2])
    whole = np.full((height, width, 3), 255, np.uint8)
    whole[: pixels.shape[0], : pixels.shape[1]] = pixels
    rows, columns = range(0, height, TILE), range(0, width, TILE)
    return [np.ascontiguousarray(whole[y : y + TILE, x : x + TILE]) for y in rows for x in columns]


def _jpeg(frame: NDArray[np.uint8]) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "JPEG", quality=95, subsampling=1)
    return stream.getvalue()
