"""Detect bytes that an incomplete copy left out: a long run of zero bytes.

Interrupted copies and incomplete downloads leave zero bytes in whole blocks of the disk. Pixels of a scanner are never
exactly zero for that long: pen and dust are dark, with noise.
"""

import math

import numpy as np
from numpy.typing import NDArray

MISSING_BYTES = "contains a long run of zero bytes, as after an incomplete copy"  # follows the name of a segment
SECTOR = 512  # bytes: the smallest unit that a disk loses
MIN_MISSING_BYTES = 4096  # a block of common file systems, and a page of memory
TAIL_BYTES = 64  # no compressed stream ends in so many zeros; some decoders read them as data
PIXELS_A_BYTE = 128 / 3  # in an image of one colour: a JPEG may use 3 x 4 zero bits for 64 pixels
WEBP_PIXELS_A_BYTE = 128  # a WebP uses less: 200 (its fastest method) to 10,000 pixels of glass per byte were measured
FLAT = 2  # grey values between neighbours where a WebP repeats the pixels above or to the left

END_OF_JPEG = b"\xff\xd9"
SOF_BASELINE, SOF_EXTENDED, DHT, SOS = 0xC0, 0xC1, 0xC4, 0xDA  # markers of a JPEG's segments
END_OF_BLOCK = 0  # a Huffman symbol of JPEG

_ZEROS = bytes(MIN_MISSING_BYTES)


def has_missing_bytes(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Return whether some bytes of uncompressed pixels are missing.

    Parameters
    ----------
    data
        Bytes of a segment.
    pixels
        (h, w, 3) pixels in them, without the padding at the edges of the image, which writers fill with zeros.
    """
    return _ZEROS in pixels.tobytes() or (len(data) >= MIN_MISSING_BYTES and not data.strip(b"\0"))


def touches_missing_bytes(data: bytes) -> bool:
    """Return whether bytes, given with up to 4,095 neighbours on both sides, contain missing ones."""
    return _ZEROS in data


def may_touch_missing_bytes(data: bytes) -> bool:
    """Return whether bytes may contain or touch missing ones; only their neighbours can tell."""
    return not data[0] or not data[-1] or _ZEROS in data


def has_missing_compressed_bytes(data: bytes, area: int, *, pixels_a_byte: float = PIXELS_A_BYTE) -> bool:
    """Return whether bytes of compressed data are missing; many decoders fill the gap without an error.

    Parameters
    ----------
    data
        Bytes of a segment, compressed by any method.
    area
        Number of pixels in them.
    pixels_a_byte
        Smallest number of pixels of one colour that the method may encode as a zero byte.
    """
    length = max(MIN_MISSING_BYTES, round(area / pixels_a_byte))
    return bytes(length) in data


def ends_in_zeros(data: bytes) -> bool:
    """Return whether the end of compressed data is missing: it ends in many zeros."""
    return len(data) > TAIL_BYTES and not data[-TAIL_BYTES:].strip(b"\0")


def has_missing_webp_end(data: bytes, pixels: NDArray[np.uint8]) -> bool:
    """Return whether the end of a WebP is missing: too many zeros for the flat area at the end of the image.

    Parameters
    ----------
    data
        The whole WebP. If it ends in a large area of one colour, zeros at its end are correct.
    pixels
        (h, w, 3) decoded pixels.
    """
    if not ends_in_zeros(data):
        return False
    rows = math.ceil((len(data) - len(data.rstrip(b"\0"))) * WEBP_PIXELS_A_BYTE / pixels.shape[1])
    glass = pixels[-rows:].astype(np.int16)
    return rows > len(pixels) or all(np.abs(np.diff(glass, axis=axis)).max(initial=0) > FLAT for axis in (0, 1))


def has_missing_jpeg_bytes(data: bytes, area: int) -> bool:
    """Return whether bytes are missing in the pixels of a JPEG file; a decoder returns wrong pixels after them.

    If the code that ends a block of brightness has a one bit, every 64 pixels have one, and runs of zeros are short.
    An optimised or progressive JPEG may have long runs, in areas of one colour.

    Parameters
    ----------
    data
        The whole file, which a decoder accepts as JPEG.
    area
        Number of its pixels.
    """
    begin, sets_bits = _jpeg_scan(data)
    pixels = data[begin : max(data.rfind(END_OF_JPEG), begin)]
    return bytes(SECTOR) in pixels if sets_bits else has_missing_compressed_bytes(pixels, area)


def _jpeg_scan(data: bytes) -> tuple[int, bool]:
    """Return the start of the first scan, and whether every block of brightness has a one bit (ITU-T T.81, B)."""
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
    """Return the symbol whose code is all zeros, the first one, of each AC table in a segment."""
    found, position = dict[int, int](), 0
    while position + 17 < len(body):
        if body[position] >> 4 == 1:
            found[body[position] & 15] = body[position + 17]
        position += 17 + sum(body[position + 1 : position + 17])
    return found
