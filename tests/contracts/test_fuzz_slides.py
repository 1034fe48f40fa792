"""Slides damaged by seed are refused with a sentence or read: no crash, no hang, no traceback, no memory without end.

A small sample of what `benchmarks/fuzz_slides.py` does at length; its figures are in docs/reliability.md.
"""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from support.paths import REPOSITORY
from support.slides import coordinate_pixels, write_pyramid

SCRIPT = REPOSITORY / "benchmarks/fuzz_slides.py"
KINDS = 7
REAL = (
    "CMU-1-Small-Region.svs",
    "camelyon_level_jpeg.dcm",
    "other/openslide_boxes.tiff",
    "other/openslide_boxes_0.dcm",
)

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="each case is a forked child with limits of its own"),
]


def damaged(folder: Path, out: Path, *, rounds: int) -> Counter[str]:
    """Damage each slide of a folder in every kind, `rounds` times, and count how it ended."""
    command = [sys.executable, SCRIPT, "--slides", folder, "--each", rounds * KINDS, "--out", out]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-4000:]
    cases = json.loads((out / "fuzz.json").read_text())
    assert len({case["kind"] for case in cases}) == KINDS
    return Counter(case["outcome"] for case in cases)


def test_slides_made_here(tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    pixels = coordinate_pixels(640, 640)
    write_pyramid(folder / "jpeg.tif", pixels, 0.5, style="plain", compression="jpeg")
    write_pyramid(folder / "deflate.ome.tif", pixels, 0.5, style="ome", compression="deflate")
    write_pyramid(folder / "plain.tif", pixels, 0.5, style="plain", compression=None)
    outcomes = damaged(folder, tmp_path / "out", rounds=4)
    assert sum(outcomes.values()) == 3 * 4 * KINDS
    assert outcomes["refused with a sentence"] and outcomes["same prediction"], "both occur: the damage is real"


def test_real_slides(shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "slides"
    folder.mkdir()
    for name in REAL:
        shutil.copy(shared / "data/slides" / name, folder)
    outcomes = damaged(folder, tmp_path / "out", rounds=2)
    assert sum(outcomes.values()) == len(REAL) * 2 * KINDS and outcomes["refused with a sentence"]
