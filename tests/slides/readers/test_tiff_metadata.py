"""The um/px that a TIFF states, in the words of each dialect."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from lrmil.errors import ResolutionError
from lrmil.slides.opening import open_slide
from support.slides import write_pyramid

NOISE = np.random.default_rng(0).integers(0, 256, (256, 256, 3), np.uint8)


def test_imagej_states_it_in_its_own_words(tmp_path: Path) -> None:
    for unit in ("um", "micron", "\\u00B5m"):
        path = tmp_path / "a.tif"
        tifffile.imwrite(path, NOISE, imagej=True, resolution=(2.0, 2.0), metadata={"unit": unit, "axes": "YXS"})
        with open_slide(path) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.5, "ImageJ unit")
    tifffile.imwrite(path, NOISE, imagej=True, resolution=(2.0, 2.0), metadata={"unit": "pixel", "axes": "YXS"})
    with open_slide(path) as slide:
        assert not slide.has_mpp


def test_hamamatsu_states_it_in_the_tiff_tags(shared: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrmil.slides.readers.tiff_pages.fluorescence_in", lambda series: "")
    with open_slide(shared / "data/slides/other/hamamatsu_test3-DAPI-2_387.ndpi") as slide:
        assert slide.mpp == pytest.approx(1e4 / 43826) and slide.mpp_source == "TIFF resolution"


@pytest.mark.parametrize(
    ("style", "y", "x", "message"),
    [
        *((style, 0.5, 0.6, "square") for style in ("ome", "tiff", "imagej")),  # Aperio states one number
        *((style, 0.001, 0.001, "0.05 to 5") for style in ("ome", "aperio", "imagej")),
        *((style, 50, 50, "Got 50 um") for style in ("ome", "aperio", "imagej")),
        # the dots per inch of a printer
        *(("tiff", one, one, "um/px of the slide is unknown") for one in (0.001, 50)),
    ],
)
def test_implausible_and_oblong_values_are_refused(
    tmp_path: Path, style: str, y: float, x: float, message: str
) -> None:
    path = tmp_path / "a.tif"
    if style == "ome":
        sizes = {"PhysicalSizeY": y, "PhysicalSizeX": x}
        tifffile.imwrite(path, NOISE, ome=True, photometric="rgb", metadata={"axes": "YXS", **sizes})
    elif style == "aperio":
        write_pyramid(path, NOISE, x, style="aperio", factors=())
    elif style == "imagej":
        tifffile.imwrite(path, NOISE, imagej=True, resolution=(1 / x, 1 / y), metadata={"unit": "um", "axes": "YXS"})
    else:
        tifffile.imwrite(path, NOISE, photometric="rgb", resolution=(1e4 / x, 1e4 / y), resolutionunit=3)
    with open_slide(path) as slide:
        with pytest.raises(ResolutionError, match=message):
            _ = slide.mpp
        assert not slide.has_mpp
    with open_slide(path, 0.4) as slide:
        assert slide.mpp == 0.4
