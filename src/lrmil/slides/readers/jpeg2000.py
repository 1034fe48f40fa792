"""Decode JPEG 2000, and read how a codestream stores its colours (ITU-T T.800, annex A)."""

from typing import NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image

START = b"\xff\x4f\xff\x51"  # start of the codestream, and the segment SIZ that must follow
COD, FIRST_TILE = 0x52, 0x90  # markers: the coding style, and the end of the main header
COMPONENTS = 38  # bytes from a SIZ marker to the number of components: 2 + Lsiz .. YTOsiz
HEADER_BYTES = 1 << 12  # enough for the main header


class Colours(NamedTuple):
    """How a codestream stores its three colours.

    Parameters
    ----------
    transformed
        Whether decoders convert its components to RGB (the multiple component transform).
    subsampled
        Whether some components have fewer pixels than the others.
    """

    transformed: bool
    subsampled: bool


def read_colours(data: bytes) -> Colours | None:
    """Parse the main header in the first bytes of a codestream, raw or inside a JP2 file; None if there is none."""
    position = data.find(START, 0, HEADER_BYTES) + 2
    count = int.from_bytes(data[position + COMPONENTS : position + COMPONENTS + 2], "big")
    parts = data[position + COMPONENTS + 2 : position + COMPONENTS + 2 + 3 * count]
    if position < 2 or not count or len(parts) < 3 * count:
        return None
    subsampled = any(parts[3 * one + 1 : 3 * one + 3] != b"\x01\x01" for one in range(count))
    while data[position : position + 1] == b"\xff" and position + 9 <= len(data) and data[position + 1] != FIRST_TILE:
        if data[position + 1] == COD:
            return Colours(bool(data[position + 8]), subsampled)
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return None


def decode_jpeg2000(data: bytes, *, ycbcr: bool) -> NDArray[np.uint8]:
    """Decode a codestream to RGB.

    Parameters
    ----------
    data
        The codestream, raw or inside a JP2 file.
    ycbcr
        Whether its components are YCbCr, unless its header says that decoders transform them.

    Returns
    -------
    NDArray
        (h, w, channels) pixels.
    """
    pixels = np.asarray(imagecodecs.jpeg2k_decode(data))
    colours = read_colours(data) if ycbcr else None
    return ycbcr_to_rgb(pixels) if colours and not colours.transformed and pixels.shape[2:] == (3,) else pixels


def ycbcr_to_rgb(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Convert (h, w, 3) full-range YCbCr, as JPEG defines it (ITU-T T.871), to RGB."""
    height, width = pixels.shape[:2]
    return np.array(Image.frombytes("YCbCr", (width, height), pixels.tobytes()).convert("RGB"))
