"""Tell the holes that an incomplete copy leaves in a file from data: a hole is a long run of zero bytes.

Copies that stop, and downloads that lack a piece, leave zero bytes in place of whole blocks of the disk. Pixels of a
scanner are never exactly zero for that long: pen and dust are dark, with noise.
"""

import numpy as np
from numpy.typing import NDArray

HOLE = "holds a long run of zero bytes, as an incomplete copy leaves"  # said of a segment
HOLE_BYTES = 4096  # a block of the usual file systems, and a page of memory
TAIL_BYTES = 64  # no compressed stream ends in as many zeros; some decoders take them for data
PIXELS_A_BYTE = 128 / 3  # of an image of one colour: a JPEG may spend 3 x 4 zero bits on 64 of its pixels

_ZEROS = bytes(HOLE_BYTES)


def is_hole(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Whether plainly stored pixels are in part a hole.

    Parameters
    ----------
    data
        Bytes of a segment.
    pixels
        (h, w, 3) what they stand for, without the padding at the edges of the image, which writers fill with zeros.
    """
    return _ZEROS in pixels.tobytes() or (len(data) >= HOLE_BYTES and not data.strip(b"\0"))


def is_hole_around(data: bytes) -> bool:
    """Whether some of the bytes, given with up to 4,095 of their neighbours on both sides, lie in a hole."""
    return _ZEROS in data


def may_touch_hole(data: bytes) -> bool:
    """Whether bytes lie in a hole as far as can be told without their neighbours."""
    return not data[0] or not data[-1] or _ZEROS in data


def has_compressed_hole(data: bytes, area: int) -> bool:
    """Whether compressed data have a hole: many decoders paint over it without an error.

    Parameters
    ----------
    data
        Bytes of a segment, compressed by whatever method.
    area
        Number of pixels that they stand for.
    """
    longest = max(HOLE_BYTES, round(area / PIXELS_A_BYTE))
    return bytes(longest) in data


def ends_in_zeros(data: bytes) -> bool:
    """Whether the end of compressed data is missing."""
    return len(data) > TAIL_BYTES and not data[-TAIL_BYTES:].strip(b"\0")
