"""The head of a DICOM file says of which series it is, whatever stands before that and whatever is wrong with it."""

import os
from pathlib import Path

import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence

from lrmil.slides.dicom_head import DicomHead, head_of, is_dicom
from support.dicom_slides import CT, WHOLE_SLIDE, write_level

SERIES, OTHER = "1.2.840.1.5", "1.2.840.9.9"
ENDLESS = b"\x08\x00\x06\x00SQ\0\0\xff\xff\xff\xff"  # a sequence of undefined length
ITEM = b"\xfe\xff\x00\xe0\0\0\0\0"


def written(path: Path, data: Dataset, *, implicit: bool, undefined: bool) -> Path:
    """Write a data set with all lengths stated, or with sequences and items that end by a mark."""
    data.file_meta = FileMetaDataset()
    data.file_meta.MediaStorageSOPClassUID, data.file_meta.MediaStorageSOPInstanceUID = WHOLE_SLIDE, "1.2.3"
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1"
    for element in data.iterall():
        if element.VR == "SQ":
            element.is_undefined_length = undefined
            for item in element.value:
                item.is_undefined_length_sequence_item = undefined
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    assert (b"\xfe\xff\x0d\xe0" in path.read_bytes()) is undefined, "the mark at the end of an item"
    return path


def nested(depth: int) -> Sequence:
    """Sequences within sequences, each of which names another series."""
    item = Dataset()
    item.SeriesInstanceUID = OTHER
    if depth:
        item.ReferencedSeriesSequence = nested(depth - 1)
    return Sequence([item, Dataset()])


@pytest.mark.parametrize("implicit", [False, True])
@pytest.mark.parametrize("undefined", [False, True])
@pytest.mark.parametrize("depth", [0, 3])
def test_the_series_is_that_of_the_file_not_of_one_it_refers_to(
    tmp_path: Path, implicit: bool, undefined: bool, depth: int
) -> None:
    data = Dataset()
    data.ImageType, data.Modality, data.SeriesInstanceUID = ["ORIGINAL", "PRIMARY", "LABEL", "NONE"], "SM", SERIES
    data.ReferencedSeriesSequence = nested(depth)  # (0008,1115) stands before the series of the file, (0020,000E)
    data.PatientComments = "x" * 3000
    path = written(tmp_path / "a", data, implicit=implicit, undefined=undefined)
    assert head_of(path) == DicomHead(WHOLE_SLIDE, SERIES, ("ORIGINAL", "PRIMARY", "LABEL", "NONE"), "SM")


def test_a_long_private_value_is_stepped_over(tmp_path: Path) -> None:
    data = Dataset()
    data.SeriesInstanceUID, data.ImageType = SERIES, ["DERIVED", "PRIMARY", "VOLUME"]
    block = data.private_block(0x0009, "TEST", create=True)
    block.add_new(0x01, "OB", bytes(5_000_000))
    head = head_of(written(tmp_path / "a", data, implicit=False, undefined=False))
    assert head is not None and head.series == SERIES and head.is_volume


@pytest.mark.parametrize("kind", ["VOLUME", "LABEL", "OVERVIEW", "THUMBNAIL"])
@pytest.mark.parametrize("storage_class", [WHOLE_SLIDE, CT])
def test_kinds(tmp_path: Path, kind: str, storage_class: str) -> None:
    head = head_of(write_level(tmp_path / "a", series=SERIES, kind=kind, storage_class=storage_class))
    assert head is not None and head.is_whole_slide is (storage_class == WHOLE_SLIDE)
    assert head.is_volume is (storage_class == WHOLE_SLIDE and kind == "VOLUME")


REAL = ("camelyon_level_jpeg", "camelyon_level_j2k_lossless", "other/highdicom_sm_0", "other/openslide_boxes_0")


@pytest.mark.parametrize("name", REAL)
def test_real_files(shared: Path, name: str) -> None:
    path = shared / f"data/slides/{name}.dcm"
    head, expected = head_of(path), pydicom.dcmread(path, stop_before_pixels=True)
    assert head is not None and head.is_volume
    assert (head.series, head.image_type) == (expected.SeriesInstanceUID, tuple(expected.ImageType))


@pytest.mark.parametrize("content", [b"", b"DICM", bytes(131), bytes(128) + b"DICM"[:3], b"II*\0" * 100])
def test_what_is_not_dicom(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.dcm").write_bytes(content)
    assert head_of(tmp_path / "a.dcm") is None and not is_dicom(tmp_path / "a.dcm")


def test_nothing_is_read_of_what_is_no_file(tmp_path: Path) -> None:
    assert not is_dicom(tmp_path) and not is_dicom(tmp_path / "gone")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")
        assert not is_dicom(tmp_path / "pipe"), "a pipe is not waited for"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_file_says_it_is_read_to_an_end(tmp_path: Path, data: st.DataObject) -> None:
    if not (whole := tmp_path / "whole").is_file():
        write_level(whole, series=SERIES)
    changed = bytearray(whole.read_bytes()[:4096])
    for _ in range(data.draw(st.integers(0, 6))):
        changed[data.draw(st.integers(132, len(changed) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / "a"
    path.write_bytes(bytes(changed)[: data.draw(st.integers(132, len(changed)))])
    head = head_of(path)
    assert head is not None and len(head.series) <= 1024 and "\n" not in head.series


@pytest.mark.parametrize(
    "tail",
    [
        pytest.param(ENDLESS + ITEM * 200_000, id="items without end"),
        pytest.param((ENDLESS + ITEM[:4] + b"\xff\xff\xff\xff") * 5000, id="sequences in sequences"),
        pytest.param(bytes(1_000_000), id="zeros"),
    ],
)
def test_endless_nothing_ends(tmp_path: Path, tail: bytes) -> None:
    whole = write_level(tmp_path / "whole", series=SERIES).read_bytes()
    path = tmp_path / "a"
    path.write_bytes(whole[: whole.index(b"\x08\x00\x08\x00CS")] + tail)
    assert head_of(path) == DicomHead(WHOLE_SLIDE)
