"""Opening a slide: um/px from the metadata or from outside, and files that are no slides."""

from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import ResolutionError, SlideError
from lrmil.slides.opening import open_slide
from support.slides import coordinate_pixels, write_pyramid

PIXELS = coordinate_pixels(800, 960)


def test_slide_without_mpp_opens_and_says_how_to_give_it(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.svs", PIXELS, None, style="aperio", power=20)
    with open_slide(path) as slide:
        assert not slide.has_mpp and slide.mpp_source is None
        assert slide.pyramid()[0].shape == PIXELS.shape
        for use in (lambda: slide.mpp, lambda: slide.read_region((0, 0), (1, 1), 1.0), lambda: slide.thumbnail(8.0)):
            with pytest.raises(ResolutionError, match=r"a\.svs: .*mpp=.*--mpp.*mpp column"):
                use()
    with open_slide(path, 0.3) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.3, "override")
    with open_slide(path, objective_power=True) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.5, "objective power 20x")
    with pytest.raises(ResolutionError, match=r"30 um \(override\)"):
        open_slide(path, 30)


def test_aperio_mpp(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "a.svs", PIXELS, 0.25, style="aperio", compression="jpeg")
    with open_slide(path) as slide:
        assert (slide.mpp, slide.mpp_source) == (0.25, "aperio MPP")
        assert len(slide.levels) == 3
        assert np.abs(slide.read_region((100, 100), (64, 64), 0.25).astype(int) - PIXELS[100:164, 100:164]).max() < 12


def test_missing_file_and_other_folder(tmp_path: Path) -> None:
    with pytest.raises(SlideError, match="There is no slide"):
        open_slide(tmp_path / "none.svs")
    with pytest.raises(SlideError, match="is a folder"):
        open_slide(tmp_path)
    (tmp_path / "notes.svs").write_text("not a slide")
    with pytest.raises(SlideError, match="OpenSlide cannot open"):
        open_slide(tmp_path / "notes.svs")


def test_files_that_must_fail_fail_with_one_sentence(shared: Path) -> None:
    paths = sorted((shared / "data/slides/errors").iterdir())
    assert len(paths) >= 3
    for path in paths:
        with pytest.raises(SlideError) as caught:
            open_slide(path)
        assert path.name in str(caught.value) and "\n" not in str(caught.value)


def test_real_slides_open(shared: Path) -> None:
    folder = shared / "data/slides"
    with open_slide(folder / "CMU-1-Small-Region.svs") as slide:
        assert (slide.mpp, slide.mpp_source, slide.dimensions) == (0.499, "aperio MPP", (2220, 2967))
    with open_slide(folder / "other/highdicom_sm_0.dcm") as slide:
        assert slide.reader_name == "openslide" and slide.mpp == 0.499 and slide.bytes_read is None
    with open_slide(folder / "camelyon_level_jpeg.dcm") as slide:
        assert not slide.has_mpp
        with pytest.raises(ResolutionError, match=r"28\.97"):
            _ = slide.mpp
