"""How well tissue is told from glass and pen: stains x glasses made of real tissue, drawn pens, and real pictures.

    python benchmarks/tissue.py --shared ../shared [--part stains glasses pens real]


Real H&E (CMU-1-Small-Region) is taken apart into haematoxylin and eosin, and put together with other stains (Ruifrok
and Johnston 2001, ImageJ Colour Deconvolution), strengths and glasses. The truth is the mask on white glass. Two
versions are compared by running it with each of them in PYTHONPATH.
"""

import argparse
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image, ImageDraw, ImageFilter

from lrmil.patches.tissue import tissue_mask

H = np.array([0.644, 0.717, 0.267])
E = np.array([0.093, 0.954, 0.283])
STAINS = {
    "eosin": (0.07, 0.99, 0.11),
    "Alcian blue": (0.875, 0.458, 0.158),
    "light green": (0.947, 0.258, 0.196),
    "DAB": (0.268, 0.570, 0.776),
    "methyl green": (0.98, 0.144, 0.133),
    "methyl blue": (0.799, 0.591, 0.105),
    "aniline blue": (0.853, 0.508, 0.113),
    "acid fuchsin": (0.1, 0.737, 0.668),
    "azocarmine": (0.710, 0.422, 0.563),
    "fast red": (0.214, 0.851, 0.478),
    "fast blue": (0.749, 0.606, 0.267),
    "PAS": (0.175, 0.972, 0.154),
    "AEC": (0.274, 0.679, 0.680),
    "Feulgen": (0.464, 0.830, 0.308),
    "Giemsa blue": (0.834, 0.513, 0.196),
    "orange G": (0.1, 0.34, 0.93),
    "toluidine blue": (0.8, 0.55, 0.25),
    "Congo red": (0.15, 0.7, 0.7),
    "oil red O": (0.1, 0.75, 0.65),
}
GLASSES = [(243, 243, 243), (200, 200, 200), (255, 255, 255), (240, 225, 205), (215, 215, 245), (255, 240, 200)]
GLASSES += [(200, 220, 255), (210, 230, 210), (225, 245, 225), (255, 230, 230), (245, 225, 240), (200, 255, 255)]
GLASSES += [(255, 255, 200), (220, 200, 200), (200, 200, 255), (250, 200, 200), (255, 200, 255)]
INKS = [(210, 30, 45), (40, 150, 110), (40, 100, 210), (30, 30, 35), (65, 32, 45), (40, 40, 160), (20, 120, 60)]
STROKES = {
    "on glass": [(20, 270), (150, 285), (300, 260), (330, 190)],
    "over tissue": [(75, 40), (150, 140), (290, 160)],
}


class Sample:
    """Real tissue at 8 um/px in the middle of bare glass, as optical density, and its parts of both stains."""

    def __init__(self, shared: Path) -> None:
        pixels = tifffile.imread(shared / "data/slides/CMU-1-Small-Region.svs")
        small = np.asarray(Image.fromarray(pixels).reduce(16), float)
        canvas = np.full((300, 360, 3), 243.0)
        canvas[50 : 50 + small.shape[0], 70 : 70 + small.shape[1]] = small
        self.density = (-np.log(np.clip(canvas, 1, 255) / 243)).clip(0)
        parts = (self.density.reshape(-1, 3) @ np.linalg.pinv(np.array([H, E]))).clip(0)
        self.h, self.e = (parts[:, index].reshape(*canvas.shape[:2], 1) for index in (0, 1))
        self.truth = tissue_mask(picture(self.density))

    def stained(self, vector: tuple[float, ...], *, strength: float, haematoxylin: float) -> np.ndarray:
        """Optical density with another stain in place of eosin."""
        return haematoxylin * self.h * H + strength * self.e * np.array(vector)


def picture(density: np.ndarray, glass: object = 243.0, *, noise: float = 0.6) -> np.ndarray:
    """What a scanner would give for an optical density on a glass, with noise."""
    values = np.asarray(glass, float) * np.exp(-density)
    return np.clip(values + np.random.default_rng(0).normal(0, noise, values.shape), 0, 255).astype(np.uint8)


def compare(mask: np.ndarray, truth: np.ndarray) -> str:
    """Share of the tissue that is lost, and what is taken for tissue beyond it, as a share of the tissue."""
    return f"lost {1 - (mask & truth).sum() / truth.sum():4.0%}  gained {(mask & ~truth).sum() / truth.sum():5.0%}"


def stains(sample: Sample, shared: Path) -> None:
    """Print the worst case of every stain."""
    for name, vector in STAINS.items():
        cases = [(s, h, g) for s in (0.5, 1, 2, 3) for h in (1, 0.3) for g in (243, (240, 225, 205))]
        masks = [tissue_mask(picture(sample.stained(vector, strength=s, haematoxylin=h), g)) for s, h, g in cases]
        worst = min(range(len(cases)), key=lambda index: (masks[index] & sample.truth).sum())
        strength, haematoxylin, glass = cases[worst]
        said = f"strength {strength}, haematoxylin {haematoxylin}, glass {glass}"
        print(f"{name:15} worst: {compare(masks[worst], sample.truth)}  ({said})")


def glasses(sample: Sample, shared: Path) -> None:
    """Print every glass, even, with noise, with a gradient, and beside white or black fill."""
    height, width = sample.truth.shape
    y, x = (grid[..., None] for grid in np.mgrid[:height, :width] / np.array([height, width])[:, None, None])
    shades = {
        "even": np.ones_like(x),
        "gradient": 1 - 0.2 * x * [0.6, 0.8, 1],
        "vignette": 1 - 0.3 * ((x - 0.5) ** 2 + (y - 0.5) ** 2),
    }
    for glass in GLASSES:
        found = {name: picture(sample.density, glass * shade) for name, shade in shades.items()}
        found["noise 6"] = picture(sample.density, glass, noise=6)
        for fill in (255, 0):
            filled = picture(sample.density, glass)
            filled[:40] = filled[-30:] = filled[:, :50] = fill
            found[f"fill {fill}"] = filled
        for name, pixels in found.items():
            print(f"{glass!s:16} {name:9} {compare(tissue_mask(pixels), sample.truth)}")


def pens(sample: Sample, shared: Path) -> None:
    """Print how much of a drawn stroke is taken for tissue, and how much of the tissue beside it is kept."""
    slides = {"H&E": sample.density}
    slides |= {n: sample.stained(STAINS[n], strength=1, haematoxylin=1) for n in ("Alcian blue", "light green", "DAB")}
    for name, density in slides.items():
        for place, points in STROKES.items():
            drawn = Image.new("L", sample.truth.shape[::-1])
            ImageDraw.Draw(drawn).line(points, fill=255, width=14, joint="curve")
            alpha = np.asarray(drawn.filter(ImageFilter.GaussianBlur(1.5)), float)[..., None] / 255
            stroke = alpha[..., 0] > 0.5
            for ink in INKS:
                mask = tissue_mask(picture(density - alpha * np.log(np.array(ink) / 243)))
                beside = sample.truth & (alpha[..., 0] == 0)
                print(
                    f"{name:12} {place:12} {ink!s:15} stroke taken for tissue {mask[stroke].mean():4.0%}  "
                    f"tissue kept {mask[beside].mean():4.0%}"
                )


def real(sample: Sample, shared: Path) -> None:
    """Print the share of tissue on real thumbnails, and how many real images of H&E would be refused."""
    for path in sorted((shared / "data/thumbs").glob("*.png")):
        print(f"{path.name:45} {tissue_mask(np.asarray(Image.open(path).convert('RGB'))).mean():6.1%}")
    for name, shrink in (("glas", 13), ("osteosarcoma60", 8)):
        found = []
        for path in sorted((shared / "data" / name / "images").iterdir()):
            image = Image.open(path).convert("RGB")
            for corner in [(x, y) for x in range(0, image.width - 499, 500) for y in range(0, image.height - 499, 500)]:
                crop = image.crop((*corner, corner[0] + 500, corner[1] + 500)).reduce(shrink)
                found.append(tissue_mask(np.asarray(crop)).mean())
        shares = np.array(found)
        refused = f"{(shares < 0.25).sum()} of {len(shares)} below a quarter, {(shares == 0).sum()} empty"
        print(f"{name}, crops of 500 px: mean {shares.mean():.1%}, {refused}")


PARTS: dict[str, Callable[[Sample, Path], None]] = {"stains": stains, "glasses": glasses, "pens": pens, "real": real}


def main() -> None:
    """Print the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, required=True, help="folder with the data")
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS))
    options = parser.parse_args()
    sample = Sample(options.shared)
    for part in options.part:
        print(f"-- {part}")
        PARTS[part](sample, options.shared)


if __name__ == "__main__":
    main()
