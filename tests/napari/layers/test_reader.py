"""The reader takes what the core opens as a slide, and says what is wrong with the rest."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import NotificationSeverity, notification_manager

from lrmil.errors import SlideError
from lrmil.io.raster_zarr import write_ome_zarr
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from napari_lrmil.layers import averaged, reader
from napari_lrmil.layers.reader import get_reader, read_slides
from support.dicom_slides import write_series
from support.slides import PATIENT, coordinate_pixels, write_labelled_slide, write_ome_zarr_slide, write_pyramid


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    return write_pyramid(tmp_path / "a b 'ü'.svs", coordinate_pixels(300, 400), 0.5, style="aperio")


def test_slides_are_read(slide: Path, tmp_path: Path) -> None:
    other = write_pyramid(tmp_path / "other.ome.tif", coordinate_pixels(300, 400), 0.25)
    read = get_reader([str(slide), str(other)])
    assert read is not None
    layers = read([str(slide), str(other)])
    assert [keywords["name"] for _, keywords, _ in layers] == ["a b 'ü'", "other"]
    assert [keywords["scale"] for _, keywords, _ in layers] == [(0.5, 0.5), (0.25, 0.25)]
    np.testing.assert_array_equal(np.asarray(layers[0][0][0][:8, :8]), coordinate_pixels(8, 8))


class TestDicom:
    def layers(self, *paths: Path) -> list[str]:
        read = get_reader(list(map(str, paths)))
        assert read is not None
        return [keywords["name"] for _, keywords, _ in read(list(map(str, paths)))]

    def test_a_folder_beside_whose_slide_lies_a_text_is_a_slide(self, tmp_path: Path) -> None:
        write_series(tmp_path / "case", ("IM0", "IM1"))
        (tmp_path / "case/LICENSE").write_text("CC0")
        assert self.layers(tmp_path / "case") == ["case"]

    def test_each_slide_of_a_folder_is_a_layer(self, tmp_path: Path) -> None:
        write_series(tmp_path, ("a0.dcm", "a1.dcm"))
        write_series(tmp_path, ("b0.dcm", "b1.dcm"))
        assert self.layers(tmp_path) == ["a0", "b0"]

    def test_the_files_of_one_slide_are_one_layer(self, tmp_path: Path) -> None:
        write_series(tmp_path / "case")
        assert self.layers(*sorted((tmp_path / "case").iterdir())) == ["case"]
        assert self.layers(tmp_path / "case/level-2.dcm", tmp_path / "case") == ["case"]


def test_what_is_no_slide_is_left_to_others(tmp_path: Path) -> None:
    grey = tmp_path / "stack.tif"
    tifffile.imwrite(grey, np.zeros((5, 40, 40), np.uint16))
    rgb16 = coordinate_pixels(300, 400).astype(np.uint16)
    tifffile.imwrite(tmp_path / "sixteen.ome.tif", rgb16, tile=(64, 64), photometric="rgb")
    (tmp_path / "folder").mkdir()
    for name in ("stack.tif", "sixteen.ome.tif", "folder", "missing.tif"):
        assert get_reader(str(tmp_path / name)) is None, name
    assert get_reader([]) is None


def broken(folder: Path, name: str) -> Path:
    """Make something broken that has the extension of a slide which other readers open too."""
    path = folder / name
    pixels = coordinate_pixels(300, 400)
    if name == "text.tif":
        path.write_text("no image")
    elif name == "empty.tiff":
        path.touch()
    elif name == "cut.ome.tif":
        whole = write_pyramid(folder / "whole.ome.tif", pixels, 0.5, tile=64, factors=()).read_bytes()
        path.write_bytes(whole[: len(whole) // 3])
    elif name in ("folder.svs", "nothing.zarr"):
        path.mkdir()
    else:
        write_ome_zarr_slide(path, pixels, 0.5, factors=(2,), version="0.4")
        if name == "cut.ome.zarr":
            (path / ".zattrs").write_text('{"multiscales": [')
        else:
            shutil.rmtree(path / "0")
    return path


@pytest.mark.parametrize(
    "name",
    ["text.tif", "empty.tiff", "cut.ome.tif", "folder.svs", "nothing.zarr", "cut.ome.zarr", "lost.ome.zarr"],
)
def test_what_is_broken_is_said_in_the_core_s_words(tmp_path: Path, name: str) -> None:
    path = broken(tmp_path, name)
    with pytest.raises(SlideError) as caught:
        open_slide(path)
    read = get_reader(str(path))
    assert read is not None
    with pytest.raises(SlideError) as said:
        read(str(path))
    assert str(said.value) == str(caught.value)


def test_a_broken_slide_is_said(tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"II*\0" + b"\0" * 100)
    read = get_reader(str(broken))
    assert read is not None
    with notification_manager, pytest.raises(SlideError, match=r"broken\.svs") as caught:
        read(str(broken))
    shown = notification_manager.records[-1]
    assert shown.message == str(caught.value) and shown.severity == NotificationSeverity.ERROR


def test_one_broken_slide_does_not_stop_the_others(
    slide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"")
    layers = read_slides([str(broken), str(slide)])
    assert len(layers) == 1


def test_a_missing_resolution_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", said.append)
    path = write_pyramid(tmp_path / "bare.svs", coordinate_pixels(300, 400), None, style="aperio")
    (layer,) = read_slides(str(path))
    assert layer[1]["metadata"]["lrmil"]["mpp"] is None
    assert len(said) == 1 and "um/px of the slide is unknown" in said[0]


def test_real_slides(shared: Path) -> None:
    path = shared / "data/slides/CMU-1-Small-Region.svs"
    read = get_reader(str(path))
    assert read is not None
    ((data, keywords, kind),) = read(str(path))
    assert kind == "image" and keywords["scale"] == (0.499, 0.499)
    level = data[0] if isinstance(data, list) else data
    assert level.shape == (2967, 2220, 3)


def test_an_ome_zarr_is_read_when_it_is_a_slide(tmp_path: Path) -> None:
    pixels = coordinate_pixels(300, 400)
    path = write_ome_zarr_slide(tmp_path / "a.ome.zarr", pixels, 0.5, factors=(2,))
    read = get_reader(str(path))
    assert read is not None
    ((levels, keywords, _),) = read(str(path))
    assert (keywords["name"], keywords["scale"]) == ("a", (0.5, 0.5))
    np.testing.assert_array_equal(np.asarray(levels[0][:50, :60]), pixels[:50, :60])
    write_ome_zarr_slide(tmp_path / "grey.zarr", pixels[..., :1], factors=())
    write_ome_zarr(tmp_path / "a.attention.ome.zarr", Raster(np.ones((2, 2)), np.eye(2, 3)), mpp=0.5)
    for name in ("grey.zarr", "a.attention.ome.zarr"):
        assert get_reader(str(tmp_path / name)) is None, name


def test_what_must_be_known_of_a_slide_goes_with_its_layer(tmp_path: Path) -> None:
    pixels = coordinate_pixels(300, 400)
    rgba = np.dstack([pixels, np.full((300, 400), 255, np.uint8)])
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"], tile=(64, 64))
    ((_, keywords, _),) = read_slides(str(tmp_path / "a.tif"))
    assert "alpha channel" in keywords["metadata"]["lrmil"]["notes"][0]


def test_a_layer_has_neither_the_patient_s_name_nor_the_label(tmp_path: Path) -> None:
    path = write_labelled_slide(tmp_path / "a.svs", coordinate_pixels(1024, 1024))
    ((data, keywords, _),) = read_slides(str(path))
    assert PATIENT not in repr(keywords) and PATIENT not in repr(keywords["metadata"])
    assert all(tuple(level.shape) != (200, 300, 3) for level in data)
    assert not any((np.asarray(level) == (0, 255, 0)).all(axis=-1).any() for level in data)


def test_reading_all_of_a_slide_without_coarse_levels_has_a_progress_bar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari.utils import progress

    slide = write_pyramid(tmp_path / "flat.svs", coordinate_pixels(300, 400), 0.5, factors=(), style="aperio")

    bars: list[tuple[str, int]] = []
    real = progress.update
    monkeypatch.setattr(progress, "update", lambda bar, n=1: (bars.append((bar.desc, bar.total)), real(bar, n)))
    read_slides(str(slide))
    assert not bars, "a small one is read at once"
    monkeypatch.setattr(averaged, "COARSE", 16)  # levels of 400, 200, 100, 50, 25 and 13 px
    monkeypatch.setattr(reader, "MANY_PARTS", 4)
    read_slides(str(slide))
    assert len(bars) == 4 and {total for _, total in bars} == {4} and "flat" in bars[0][0]
    assert not progress._all_instances
