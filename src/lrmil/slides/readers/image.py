"""Read a PNG or JPEG image as a slide of one level; its pixels are decoded when it is opened."""

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFile, JpegImagePlugin, PngImagePlugin

from lrmil.errors import SlideError
from lrmil.slides.readers.missing_bytes import MISSING_BYTES, has_missing_jpeg_bytes
from lrmil.slides.readers.protocol import ICC_NOTE, Level, not_brightfield, require_inside, unreadable
from lrmil.slides.resolution import Disregarded, MppCandidate
from lrmil.slides.scanner import Scanner

MAX_PIXELS = 1 << 27  # 384 MiB of RGB: a larger image needs a format with random access
OPAQUE = 255
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
UNDECODABLE = (OSError, SyntaxError, ValueError, EOFError, KeyError, IndexError, struct.error, zlib.error)
ALPHA_NOTE = "The file has an alpha channel that is opaque everywhere; it is ignored."


class FlatReader:
    """A PNG or JPEG file; see `lrmil.slides.readers.protocol.Reader`.

    Its dots per inch describe a printer and are ignored.

    Raises
    ------
    SlideError
        If the image is damaged, too large, or not 8-bit RGB.
    """

    name = "pillow"
    origin_yx = (0, 0)
    objective_power: float | Disregarded | None = None
    scanner: Scanner | None = None  # a camera in EXIF would not be one

    def __init__(self, path: Path) -> None:
        self.mpp_candidates: list[MppCandidate | Disregarded] = []
        self._pixels, self.notes = _decode(path)
        self.bytes_read: int | None = path.stat().st_size
        height, width = self._pixels.shape[:2]
        self.levels: tuple[Level, ...] = (Level((height, width), 1.0, (min(height, 256), min(width, 256))),)

    def read(self, level: int, y: int, x: int, h: int, w: int) -> NDArray[np.uint8]:
        """Read an (h, w, 3) rectangle; see `lrmil.slides.readers.protocol.Reader.read`."""
        require_inside(self.levels, level, y, x, h, w)
        part = self._pixels[y : y + h, x : x + w]
        if part.shape[:2] != (h, w):
            raise SlideError("The slide is closed. Open it again.")
        return part.copy()

    def close(self) -> None:
        """Free the pixels."""
        self._pixels = np.empty((0, 0, 3), np.uint8)


def _decode(path: Path) -> tuple[NDArray[np.uint8], tuple[str, ...]]:
    """Decode an image, and return its pixels and notes."""
    try:
        _require_intact_png(path)
        with _open(path) as image:
            _require_small_rgb(path, image)
            pixels = np.asarray(image)
            if not _is_png(path) and has_missing_jpeg_bytes(path.read_bytes(), pixels.shape[0] * pixels.shape[1]):
                raise ValueError(f"it {MISSING_BYTES}")
            notes = (ICC_NOTE,) if image.info.get("icc_profile") else ()
    except SlideError:
        raise
    except UNDECODABLE as error:
        raise unreadable(path, f"the image cannot be decoded ({error})") from error
    if pixels.shape[2] == 3:
        return pixels, notes
    if (pixels[..., 3] != OPAQUE).any():
        raise not_brightfield(path, "an image with transparent pixels")
    return np.ascontiguousarray(pixels[..., :3]), (*notes, ALPHA_NOTE)


def _open(path: Path) -> ImageFile.ImageFile:
    """Read the header without Image.open, whose size limit is a global that other code may change."""
    return PngImagePlugin.PngImageFile(path) if _is_png(path) else JpegImagePlugin.JpegImageFile(path)


def _is_png(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len(PNG_MAGIC)) == PNG_MAGIC


def _require_intact_png(path: Path) -> None:
    """Require a correct checksum of every chunk of a PNG; Pillow does not compare those of pixels."""
    if not _is_png(path):
        return
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(len(PNG_MAGIC))
        kind = b""
        while kind != b"IEND":
            head = file.read(8)
            length, kind = struct.unpack(">I4s", head) if len(head) == 8 else (size, b"")
            if file.tell() + length + 4 > size:
                raise ValueError("it is truncated")
            data, checksum = file.read(length), int.from_bytes(file.read(4), "big")
            if zlib.crc32(data, zlib.crc32(kind)) != checksum:
                raise ValueError("a checksum differs")


def _require_small_rgb(path: Path, image: ImageFile.ImageFile) -> None:
    """Require, before decoding, an image of 8-bit RGB that is not too large."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise SlideError(
            f"Expected an image of at most {MAX_PIXELS // 10**6} million pixels in {path}. Got {width} x {height}. "
            "Convert it to a tiled pyramid, for example with bfconvert or vips."
        )
    raw = str(image.tile[0][3] if image.tile else "")
    if image.mode not in ("RGB", "RGBA") or "16" in raw or "transparency" in image.info:
        what = "16 bits per channel" if "16" in raw else f"the colour mode {image.mode}"
        raise not_brightfield(path, "a transparent colour" if "transparency" in image.info else what)
    if getattr(image, "n_frames", 1) > 1:
        raise not_brightfield(path, f"{image.n_frames} images in one file")  # type: ignore[attr-defined]
