"""Outlines as other programs write them, and the mask that they mean."""

from typing import Any

import numpy as np

WIDTH, HEIGHT = 1200, 800  # px at 1 um/px: a mask of 150 x 100 cells of 8 um

Ring = list[list[float]]


def box(left: float, top: float, right: float, bottom: float) -> Ring:
    return [[left, top], [right, top], [right, bottom], [left, bottom], [left, top]]


def feature(*rings: Ring, **properties: object) -> dict[str, Any]:
    return {"type": "Feature", "properties": properties, "geometry": {"type": "Polygon", "coordinates": list(rings)}}


def collection(*features: object) -> dict[str, Any]:
    return {"type": "FeatureCollection", "features": list(features)}


def expected(*boxes: tuple[int, int, int, int]) -> np.ndarray:
    """Cells of 8 px in boxes of left, top, right, bottom in level-0 px."""
    mask = np.zeros((HEIGHT // 8, WIDTH // 8), bool)
    for left, top, right, bottom in boxes:
        mask[top // 8 : bottom // 8, left // 8 : right // 8] = True
    return mask
