"""Facts of a slide before anything is computed."""

from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import ResolutionError
from lrmil.patches.inspection import inspect_slide
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from support.slides import write_pyramid


def test_um_per_px_that_no_glass_is_long_enough_for_are_refused(tmp_path: Path) -> None:
    path = write_pyramid(tmp_path / "long.tif", np.full((16, 70_000, 3), 200, np.uint8), None)
    with open_slide(path, mpp=4.0) as slide:
        assert slide.mpp == 4.0
    with pytest.raises(ResolutionError, match=r"300 mm.* 70000 x 16 px of 5 um .*, 350 mm"):
        open_slide(path, mpp=5.0)
    stated = write_pyramid(tmp_path / "stated.tif", np.full((16, 70_000, 3), 200, np.uint8), 5.0)
    facts = inspect_slide(SlideSource("a", stated), lr=2.0, size=16)
    assert facts["mpp"] is None and "350 mm" in str(facts["message"])


def test_inspect_tells_a_missing_resolution_from_an_implausible_one(tmp_path: Path) -> None:
    pixels = np.full((64, 64, 3), 200, np.uint8)
    missing = write_pyramid(tmp_path / "missing.svs", pixels, None, style="aperio")
    wrong = write_pyramid(tmp_path / "wrong.svs", pixels, 25.0, style="aperio")
    said = [str(inspect_slide(SlideSource("a", path), lr=2.0, size=16)["message"]) for path in (missing, wrong)]
    assert "is unknown" in said[0] and "--mpp" in said[0]
    assert "25 um (aperio MPP)" in said[1] and "--mpp" in said[1]
