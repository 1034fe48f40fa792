"""The demonstration's slide: synthetic, positive, and drawn without torch so that it opens quickly."""

from pathlib import Path

from lrmil.demo.synthetic import is_synthetic, make_slide, write_pyramid
from lrmil.io import atomic
from lrmil.io.ownership import is_truth

STRENGTH = 2.0  # how much positive nuclei differ: enough for a network with random weights
SLIDE, SIDE, SEED = "synthetic-positive", 3072, (4242, 1)


def demo_slide(folder: Path) -> Path:
    """Draw a positive synthetic slide of 3,072 px a side, with its truth, unless both exist; return its path."""
    path = folder / f"{SLIDE}.ome.tif"
    truth = folder / f"{SLIDE}.json"
    if not (is_synthetic(path) and is_truth(truth)):
        slide = make_slide("positive", seed=SEED, size=SIDE, strength=STRENGTH)
        write_pyramid(path, slide.pixels)
        regions = [{"yx": list(one.yx), "size": one.size, "label": 1} for one in slide.regions]
        atomic.write_json(truth, regions, is_truth)
    return path
