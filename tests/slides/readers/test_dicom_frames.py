"""Holes in the frames of DICOM slides are found before a decoder paints over them; what is unclear is left alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil.errors import SlideError
from lrmil.prediction.inference import predict
from lrmil.slides.opening import open_slide
from lrmil.slides.readers.dicom_frames import COLUMNS, ENCAPSULATED, ITEM, ROW_BY_ROW, ROWS, DicomFrames, sides_of
from support.runs import tiny_bundle

JPEG, JPEG_2000 = "camelyon_level_jpeg.dcm", "camelyon_level_j2k_lossless.dcm"
SHAPES = {JPEG: (700, 1152), JPEG_2000: (812, 1696)}
TILE = 256
SERIES_TAG = b"\x20\x00\x0e\x00UI"  # Series Instance UID


def items(data: bytes) -> list[tuple[int, int]]:
    """Where the content of each frame lies, naively: item after item behind the table of offsets."""
    place, found = data.index(ENCAPSULATED) + len(ENCAPSULATED), []
    while data[place : place + 4] == ITEM:
        length = int.from_bytes(data[place + 4 : place + 8], "little")
        found.append((place + 8, length))
        place += 8 + length
    return found[1:]


def zero(path: Path, frame: int, count: int = 4096, *, end: bool = False) -> None:
    data = bytearray(path.read_bytes())
    offset, length = items(bytes(data))[frame]
    start = offset + (length - count if end else (length - count) // 2)
    data[start : start + count] = bytes(count)
    path.write_bytes(data)


@pytest.fixture(params=[JPEG, JPEG_2000])
def slide(request: pytest.FixtureRequest, shared: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(shared / "data/slides" / request.param, tmp_path / request.param))


@pytest.mark.parametrize("frame", [0, 6, 13])
def test_the_frame_with_a_hole_is_unreadable_and_every_other_reads(slide: Path, frame: int) -> None:
    height, width = SHAPES[slide.name]
    columns = -(-width // TILE)
    with open_slide(slide, mpp=1.0) as intact:
        before = intact.read_region((0, 0), (height, width), 1.0)
    zero(slide, frame)
    with open_slide(slide, mpp=1.0) as opened:
        for number in range(columns * -(-height // TILE)):
            y, x = number // columns * TILE, number % columns * TILE
            size = min(TILE, height - y), min(TILE, width - x)
            if number == frame:
                with pytest.raises(SlideError, match=rf"frame {frame} .*zero bytes"):
                    opened.read_region((y, x), size, 1.0)
            else:
                got = opened.read_region((y, x), size, 1.0)
                np.testing.assert_array_equal(got, before[y : y + size[0], x : x + size[1]])


def test_the_decoder_of_jpeg_2000_alone_would_have_painted_over_it(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slide = Path(shutil.copy(shared / "data/slides" / JPEG_2000, tmp_path / "a.dcm"))
    with open_slide(slide, mpp=1.0) as intact:
        before = intact.read_region((0, 0), SHAPES[JPEG_2000], 1.0)
    zero(slide, 6)
    monkeypatch.setattr(DicomFrames, "require_whole_frames", lambda *_: None)
    with open_slide(slide, mpp=1.0) as opened:
        assert (opened.read_region((0, 0), SHAPES[JPEG_2000], 1.0) != before).any()


def test_an_incomplete_end_is_found(shared: Path, tmp_path: Path) -> None:
    """Of JPEG 2000 the end may be lost without a word, and of JPEG its last mark."""
    for name, said in ((JPEG, "incomplete JPEG"), (JPEG_2000, "long run of zero bytes")):
        slide = Path(shutil.copy(shared / "data/slides" / name, tmp_path / name))
        zero(slide, 1, 100, end=True)
        with open_slide(slide, mpp=1.0) as opened, pytest.raises(SlideError, match=f"frame 1 .*{said}"):
            opened.read_region((0, TILE), (TILE, TILE), 1.0)


def test_a_prediction_counts_what_was_lost(slide: Path) -> None:
    zero(slide, 6)
    with open_slide(slide, mpp=0.5) as opened:
        found = predict(opened, tiny_bundle(), "cpu")
    assert found.failed_patches > 0 and "could not be read" in " ".join(found.notes)


def test_a_frame_is_looked_at_once(slide: Path) -> None:
    """What is lost after a frame was found intact is not looked for again; a frame that was not read yet is."""
    height, width = SHAPES[slide.name]
    frames = DicomFrames(slide)
    frames.require_whole_frames((height, width), 0, 0, 1, 1)
    for number in (0, 1):
        zero(slide, number)
    for _ in range(3):
        frames.require_whole_frames((height, width), 0, 0, TILE, TILE)
    with pytest.raises(SlideError, match="frame 1 "):
        frames.require_whole_frames((height, width), 0, 0, 1, TILE + 1)
    with pytest.raises(SlideError, match="frame 0 "):
        DicomFrames(slide).require_whole_frames((height, width), 0, 0, 1, 1)


def test_the_file_of_a_level_is_found_among_those_beside(shared: Path, tmp_path: Path) -> None:
    """A second level in a file of its own, here the same frames under another size, and one of another series."""
    first = Path(shutil.copy(shared / "data/slides" / JPEG, tmp_path / "1.dcm"))
    data = first.read_bytes()
    place, (height, width) = data.index(SERIES_TAG) + 8, SHAPES[JPEG]
    for name, number, series in (("2.dcm", 1, data[place]), ("3.dcm", 2, data[place] ^ 1)):
        other = bytearray(data)
        other[place] = series
        for tag, side in ((ROWS, height + number), (COLUMNS, width + number)):
            at = data.index(tag) + len(tag)
            other[at : at + 4] = side.to_bytes(4, "little")
        (tmp_path / name).write_bytes(other)
        zero(tmp_path / name, 6)
    frames = DicomFrames(first)
    frames.require_whole_frames((height, width), 0, 0, height, width)
    frames.require_whole_frames((height + 2, width + 2), 0, 0, height, width)  # of another slide
    frames.require_whole_frames((height + 1, width + 1), 0, 0, TILE, TILE)
    with pytest.raises(SlideError, match=r"2\.dcm.*frame 6"):
        frames.require_whole_frames((height + 1, width + 1), 0, 0, height, width)


@pytest.mark.parametrize("replaced", [(ROW_BY_ROW, ROW_BY_ROW[:-4] + b"SOME"), (ENCAPSULATED, bytes(12))])
def test_what_is_not_understood_is_left_to_openslide(slide: Path, replaced: tuple[bytes, bytes]) -> None:
    zero(slide, 6)
    slide.write_bytes(slide.read_bytes().replace(*replaced))
    DicomFrames(slide).require_whole_frames(SHAPES[slide.name], 0, 0, *SHAPES[slide.name])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_file_says_frames_lie_within_it(shared: Path, tmp_path: Path, data: st.DataObject) -> None:
    whole = (shared / "data/slides" / JPEG).read_bytes()
    changed = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        place = data.draw(st.integers(0, len(whole) - 1) | st.integers(0, 4096))
        changed[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    path = tmp_path / "a.dcm"
    path.write_bytes(changed[:cut])
    shape = sides_of(bytes(changed[:cut])) or SHAPES[JPEG]
    try:
        DicomFrames(path).require_whole_frames(shape, 0, 0, *(max(1, min(side, 4096)) for side in shape))
    except SlideError as error:
        assert "frame " in str(error)
