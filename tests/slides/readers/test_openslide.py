"""The OpenSlide route: same pixels, white where nothing was scanned, and errors that do not stick."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import openslide
import pytest
from PIL import Image

import lrmil.slides.readers.openslide
from lrmil.errors import SlideError
from lrmil.slides.readers.openslide import OpenSlideReader
from support.slides import coordinate_pixels, overwrite, segment_of, shrink, write_pyramid

PIXELS = coordinate_pixels(512, 640)


def test_levels_are_exact(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, style="plain", tile=128, factors=(2, 4))
    reader = OpenSlideReader(path)
    assert [level.shape for level in reader.levels] == [(512, 640), (256, 320), (128, 160)]
    assert reader.levels[1].tile == (128, 128)
    np.testing.assert_array_equal(reader.read(0, 101, 203, 77, 99), PIXELS[101:178, 203:302])
    np.testing.assert_array_equal(reader.read(2, 11, 21, 30, 40), shrink(PIXELS, 4)[11:41, 21:61])
    assert reader.bytes_read is None
    with pytest.raises(ValueError, match="inside level 0"):
        reader.read(0, 500, 0, 20, 20)
    reader.close()


def test_bad_region_is_an_error_and_the_next_one_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, style="plain", tile=128, factors=(), compression="deflate")
    offset, count = segment_of(path, 0, 6)
    overwrite(path, offset, bytes(count))
    reader = OpenSlideReader(path)
    for _ in range(2):
        with pytest.raises(SlideError, match=r"OpenSlide failed at level 0, y=130 x=130"):
            reader.read(0, 130, 130, 10, 10)
        with monkeypatch.context() as patch:
            patch.setattr(
                lrmil.slides.readers.openslide, "_open", None
            )  # the handle was replaced: no need to open again
            np.testing.assert_array_equal(reader.read(0, 0, 0, 100, 100), PIXELS[:100, :100])
    reader.close()


def test_one_thread_s_bad_region_does_not_fail_the_others(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.tif", PIXELS, style="plain", tile=128, factors=(), compression="deflate")
    offset, count = segment_of(path, 0, 6)
    overwrite(path, offset, bytes(count))
    reader = OpenSlideReader(path)

    def read(number: int) -> bool:
        if number % 5 == 0:
            with pytest.raises(SlideError):
                reader.read(0, 130, 130, 10, 10)
            return True
        y = 256 + number % 100
        return bool((reader.read(0, y, 10, 100, 100) == PIXELS[y : y + 100, 10:110]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))
    reader.close()


def test_unscanned_is_white_and_half_transparent_is_mixed_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, 1], rgba[0, 2] = (10, 20, 30, 255), (0, 100, 200, 128)
    monkeypatch.setattr(openslide.OpenSlide, "read_region", lambda *_: Image.fromarray(rgba, "RGBA"), raising=True)
    reader = OpenSlideReader(write_pyramid(tmp_path / "a.tif", PIXELS, style="plain", factors=()))
    got = reader.read(0, 0, 0, 1, 3)
    assert got[0, 0].tolist() == [255, 255, 255] and got[0, 1].tolist() == [10, 20, 30]
    assert np.abs(got[0, 2].astype(int) - [127, 177, 227]).max() <= 1
    reader.close()


def test_unknown_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.svslide").write_bytes(b"nothing")
    with pytest.raises(SlideError, match=r"OpenSlide cannot open .*a\.svslide"):
        OpenSlideReader(tmp_path / "a.svslide")


def test_bounds_and_resolution_come_from_the_properties(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class Scanned:
        level_dimensions = ((100, 50), (25, 12))
        properties = {  # noqa: RUF012
            "openslide.bounds-y": "7",
            "openslide.bounds-x": "9",
            "openslide.mpp-y": "0.25",
            "openslide.mpp-x": "0.26",
            "openslide.objective-power": "40",
        }

    monkeypatch.setattr(openslide, "OpenSlide", lambda path: Scanned())
    reader = OpenSlideReader(tmp_path / "a.svs")
    assert reader.origin_yx == (7, 9)
    assert reader.mpp_candidates == [(0.25, 0.26, "openslide.mpp")] and reader.objective_power == 40
    assert [level.downsample for level in reader.levels] == [1.0, 4.0]


def test_threads_on_a_damaged_dicom_file_do_not_crash_the_process(shared: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "a.dcm"
    data = (shared / "data/slides/camelyon_level_jpeg.dcm").read_bytes()
    damaged.write_bytes(data[: len(data) * 7 // 10])
    code = f"""
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from lrmil.errors import SlideError
from lrmil.slides.opening import open_slide

def lost(corner):
    try:
        slide.read_region(corner, (32, 32), 0.5)
    except SlideError:
        return 1
    return 0

with open_slide(Path({str(damaged)!r}), mpp=0.5) as slide, ThreadPoolExecutor(4) as pool:
    width, height = slide.dimensions
    print(sum(pool.map(lost, [(y, x) for y in range(0, height, 32) for x in range(0, width, 32)])))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0 and int(done.stdout) > 0, done.stderr


@pytest.mark.parametrize("tag", [b"\x48\x00\x06\x00UL\x04\x00", b"\x48\x00\x07\x00UL\x04\x00"])
def test_a_dicom_file_of_endless_size_is_refused_before_openslide_takes_memory(
    shared: Path, tmp_path: Path, tag: bytes
) -> None:
    data = (shared / "data/slides/other/openslide_boxes_0.dcm").read_bytes()
    place = data.index(tag) + len(tag)
    (tmp_path / "a.dcm").write_bytes(data[:place] + (542_393_171).to_bytes(4, "little") + data[place + 4 :])
    with pytest.raises(SlideError, match=r"a\.dcm\. Got a side of 542393171 px"):
        OpenSlideReader(tmp_path / "a.dcm")
