"""The demonstration's slide is drawn once, with its truth."""

import json
from pathlib import Path

from lrmil.demo import slide as module
from lrmil.demo.slide import SIDE, demo_slide
from lrmil.slides.opening import open_slide
from support.runs import stamp_of


def test_it_is_drawn_once_and_again_when_a_part_is_gone(tmp_path: Path) -> None:
    path = demo_slide(tmp_path)
    with open_slide(path) as slide:
        assert slide.levels[0].shape == (SIDE, SIDE)
    truth = tmp_path / f"{module.SLIDE}.json"
    regions = json.loads(truth.read_text())
    assert regions and all(region["label"] == 1 for region in regions)
    before = stamp_of(path)
    assert demo_slide(tmp_path) == path and stamp_of(path) == before
    truth.unlink()
    demo_slide(tmp_path)
    assert json.loads(truth.read_text()) == regions
