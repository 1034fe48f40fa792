"""Tell the holes that an incomplete copy leaves in a file from data: a hole is a long run of zero bytes.

Copies that stop, and downloads that lack a piece, leave zero bytes in place of whole blocks of the disk. Pixels of a
scanner are never exactly zero for that long: pen and dust are dark, with noise.
"""

import math

import numpy as np
from numpy.typing import NDArray

MISSING_BYTES = "holds a long run of zero bytes, as an incomplete copy leaves"  # said of a segment
SECTOR = 512  # bytes: the least that a disk loses
MIN_MISSING_BYTES = 4096  # a block of the usual file systems, and a page of memory
TAIL_BYTES = 64  # no compressed stream ends in as many zeros; some decoders take them for data
PIXELS_A_BYTE = 128 / 3  # of an image of one colour: a JPEG may spend 3 x 4 zero bits on 64 of its pixels
WEBP_PIXELS_A_BYTE = 128  # a WebP spends less: 200 (its fastest method) to 10,000 pixels of glass a byte were seen
FLAT = 2  # grey values between neighbours where a WebP goes on with what was above or to the left

END_OF_JPEG = b"\xff\xd9"
SOF_BASELINE, SOF_EXTENDED, DHT, SOS = 0xC0, 0xC1, 0xC4, 0xDA  # markers of a JPEG's segments
END_OF_BLOCK = 0  # symbol of a JPEG

_ZEROS = bytes(MIN_MISSING_BYTES)


def has_missing_bytes(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Whether plainly stored pixels are in part a hole.

    Parameters
    ----------
    data
        Bytes of a segment.
    pixels
        (h, w, 3) what they stand for, without the padding at the edges of the image, which writers fill with zeros.
    """
    return _ZEROS in pixels.tobytes() or (len(data) >= MIN_MISSING_BYTES and not data.strip(b"\0"))


def touches_missing_bytes(data: bytes) -> bool:
    """Whether some of the bytes, given with up to 4,095 of their neighbours on both sides, lie in a hole."""
    return _ZEROS in data


def may_touch_missing_bytes(data: bytes) -> bool:
    """Whether bytes lie in a hole as far as can be told without their neighbours."""
    return not data[0] or not data[-1] or _ZEROS in data


def has_missing_compressed_bytes(data: bytes, area: int, *, pixels_a_byte: float = PIXELS_A_BYTE) -> bool:
    """Whether compressed data have a hole: many decoders paint over it without an error.

    Parameters
    ----------
    data
        Bytes of a segment, compressed by whatever method.
    area
        Number of pixels that they stand for.
    pixels_a_byte
        The least number of pixels of one colour for which the method spends a byte of zeros.
    """
    longest = max(MIN_MISSING_BYTES, round(area / pixels_a_byte))
    return bytes(longest) in data


def ends_in_zeros(data: bytes) -> bool:
    """Whether the end of compressed data is missing."""
    return len(data) > TAIL_BYTES and not data[-TAIL_BYTES:].strip(b"\0")


def has_missing_webp_end(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Whether the end of a WebP is missing: its zeros stand for more than the even area at the end of the picture.

    Parameters
    ----------
    data
        The whole WebP. That of a large area of one colour ends in zeros as it should.
    pixels
        (h, w, 3) as decoded.
    """
    if not ends_in_zeros(data):
        return False
    rows = math.ceil((len(data) - len(data.rstrip(b"\0"))) * WEBP_PIXELS_A_BYTE / pixels.shape[1])
    glass = pixels[-rows:].astype(np.int16)
    return rows > len(pixels) or all(np.abs(np.diff(glass, axis=axis)).max(initial=0) > FLAT for axis in (0, 1))


def has_missing_jpeg_bytes(data: bytes, area: int) -> bool:
    """Whether a JPEG file has a hole in its pixels, after which a decoder gives other ones to the end of the picture.

    Where the code that ends a block of brightness is not of zeros alone, every 64 pixels have a bit that is set, and no
    run of zeros can be long. An optimised or progressive JPEG may have long ones, in areas of one colour.

    Parameters
    ----------
    data
        The whole file, which a decoder has found to be a JPEG.
    area
        Number of its pixels.
    """
    begin, sets_bits = _jpeg_scan(data)
    pixels = data[begin : max(data.rfind(END_OF_JPEG), begin)]
    return bytes(SECTOR) in pixels if sets_bits else has_missing_compressed_bytes(pixels, area)


def _jpeg_scan(data: bytes) -> tuple[int, bool]:
    """Where the first scan begins, and whether it sets a bit in every block of brightness (ITU-T T.81, annex B)."""
    position, sequential, first_codes = 2, False, dict[int, int]()
    while data[position : position + 1] == b"\xff" and position + 4 <= len(data):
        marker, length = data[position + 1], int.from_bytes(data[position + 2 : position + 4], "big")
        body = data[position + 4 : position + 2 + length]
        position += 2 + length
        if marker in (SOF_BASELINE, SOF_EXTENDED):
            sequential = True
        elif marker == DHT:
            first_codes |= _first_codes(body)
        elif marker == SOS:
            interleaved = len(body) > 2 and body[0] == 3
            return position, sequential and interleaved and first_codes.get(body[2] & 15, END_OF_BLOCK) != END_OF_BLOCK
    return position, False


def _first_codes(body: bytes) -> dict[int, int]:
    """Of each AC table in a segment, the symbol whose code is of zeros alone: the first of all."""
    found, position = dict[int, int](), 0
    while position + 17 < len(body):
        if body[position] >> 4 == 1:
            found[body[position] & 15] = body[position + 17]
        position += 17 + sum(body[position + 1 : position + 17])
    return found
