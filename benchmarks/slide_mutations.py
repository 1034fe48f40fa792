"""Seeded damage to slide files: cut off, bits flipped, blocks zeroed, TIFF tags and DICOM elements edited, swapped."""

import random
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import tifffile

HEADER = 512  # bytes taken for the header of a file whose structure cannot be read
TIFF_TYPES = range(20)
DICOM_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT", b"SV", b"UV"}
DICOM_NAMES = (b"US", b"UL", b"SQ", b"OB", b"DS", b"IS", b"LO", b"UN", b"FD", b"ZZ")
UNDEFINED = 0xFFFFFFFF
EXTREMES = (0, 1, 2, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)


class Span(NamedTuple):
    """Bytes of a file."""

    start: int
    length: int


class Entry(NamedTuple):
    """A TIFF tag or DICOM element: where it begins, the fields of its head that can be edited, and its value."""

    start: int
    fields: tuple[Span, ...]
    value: Span


class Layout(NamedTuple):
    """What lies where in a slide file."""

    size: int
    order: str
    """"<" or ">" """
    entries: list[Entry]
    pixels: list[Span]

    @property
    def metadata(self) -> list[Span]:
        """All that is not pixels and can be told."""
        spans = [Span(one.start, max(1, one.value.start - one.start)) for one in self.entries]
        return [Span(0, min(HEADER, self.size)), *spans, *(one.value for one in self.entries if one.value.length)]


def mutate(data: bytes, layout: Layout, kind: str, seed: str) -> bytes:
    """Give a damaged copy of a file's bytes; the same kind and seed give the same damage."""
    return KINDS[kind](bytearray(data), layout, random.Random(seed))


def layout_of(path: Path) -> Layout:
    """Find the tags, elements and pixel data of an intact file; a file of another kind has a header alone."""
    data = path.read_bytes()
    if data[128:132] == b"DICM":
        return _dicom_layout(data)
    try:
        with tifffile.TiffFile(path) as tif:
            return _tiff_layout(tif, len(data))
    except Exception:  # noqa: BLE001 - broken files are fuzzed too, and tifffile raises whatever comes
        return Layout(len(data), "<", [], [])


def _tiff_layout(tif: tifffile.TiffFile, size: int) -> Layout:
    wide = 8 if tif.is_bigtiff else 4
    pages = [page for page in tif.pages if isinstance(page, tifffile.TiffPage)]
    entries, pixels = [], []
    for page in pages:
        pixels += [Span(*map(int, one)) for one in zip(page.dataoffsets, page.databytecounts, strict=False)]
        for tag in page.tags:
            head = (Span(tag.offset, 2), Span(tag.offset + 2, 2), Span(tag.offset + 4, wide))
            fields = (*head, Span(tag.offset + 4 + wide, wide))
            entries.append(Entry(tag.offset, fields, Span(tag.valueoffset, tag.valuebytecount)))
    return Layout(size, tif.byteorder, entries, [span for span in pixels if span.length > 0])


def _dicom_layout(data: bytes) -> Layout:
    """Walk a file in explicit little endian; sequences and items are entered, so their inner elements count too."""
    entries, pixels, at = [], [], 132
    while at + 8 <= len(data):
        tag, kind = data[at : at + 4], data[at + 4 : at + 6]
        if tag[:2] == b"\xfe\xff":  # an item or its end
            length, head, fields = struct.unpack_from("<I", data, at + 4)[0], 8, (Span(at + 4, 4),)
            in_pixels = bool(pixels) and tag[2:] == b"\x00\xe0"
            pixels += [Span(at + 8, length)] if in_pixels and length else []
            skip = length if in_pixels else 0
            entries.append(Entry(at, (Span(at, 4), *fields), Span(at + 8, 0)))
        else:
            long = kind in DICOM_LONG
            length = struct.unpack_from("<I" if long else "<H", data, at + (8 if long else 6))[0]
            head = 12 if long else 8
            fields = (Span(at, 4), Span(at + 4, 2), Span(at + 8, 4) if long else Span(at + 6, 2))
            skip = 0 if kind == b"SQ" or length == UNDEFINED else length
            is_pixels = tag == b"\xe0\x7f\x10\x00"
            pixels += [Span(at + head, skip)] if is_pixels else []
            entries.append(Entry(at, fields, Span(at + head, 0 if is_pixels else skip)))
        at += head + skip
    return Layout(len(data), "<", entries, [span for span in pixels if span.length > 0])


def _truncate(data: bytearray, layout: Layout, draw: random.Random) -> bytes:
    length = draw.randrange(len(data)) if draw.random() < 0.7 else draw.randrange(min(4096, len(data)))
    return bytes(data[:length])


def _flip(spans: Callable[[Layout], list[Span]]) -> Callable[[bytearray, Layout, random.Random], bytes]:
    """Flip 1 to 8 bits in one of the spans."""

    def flip(data: bytearray, layout: Layout, draw: random.Random) -> bytes:
        span = draw.choice([one for one in spans(layout) if one.start < len(data)] or [Span(0, len(data))])
        end = min(span.start + span.length, len(data))
        for _ in range(draw.choice((1, 1, 2, 8))):
            data[draw.randrange(span.start, max(end, span.start + 1))] ^= 1 << draw.randrange(8)
        return bytes(data)

    return flip


def _zero_block(data: bytearray, layout: Layout, draw: random.Random) -> bytes:
    """Zero one aligned block, as an incomplete copy leaves it."""
    side = draw.choice((512, 4096, 65_536, 1 << 20))
    start = draw.randrange(0, len(data), side) if len(data) > side else draw.randrange(len(data))
    length = min(side, len(data) - start)
    data[start : start + length] = bytes(length)
    return bytes(data)


def _edit_entry(data: bytearray, layout: Layout, draw: random.Random) -> bytes:
    """Put an extreme or odd number into the code, type, count or offset of one entry, or its value."""
    if not layout.entries:
        return _flip(lambda one: one.metadata)(data, layout, draw)
    entry = draw.choice(layout.entries)
    places = [*entry.fields, *([entry.value] if entry.value.length else [])]
    span = draw.choice(places)
    for start, length in _numbers(span, draw):
        number = draw.choice((*EXTREMES, *TIFF_TYPES, draw.getrandbits(8 * length), layout.size - 1))
        new = (number & ((1 << 8 * length) - 1)).to_bytes(length, "little" if layout.order == "<" else "big")
        if length == 2 and layout.entries and draw.random() < 0.1:
            new = draw.choice(DICOM_NAMES)
        data[start : start + length] = new
    return bytes(data)


def _numbers(span: Span, draw: random.Random) -> Iterator[tuple[int, int]]:
    """One or a few numbers within a span."""
    width = min(draw.choice((2, 4, 4, 8)), span.length)
    for _ in range(draw.choice((1, 1, 1, 4))):
        yield span.start + draw.randrange(max(1, span.length // width)) * width, width


def _swap_entries(data: bytearray, layout: Layout, draw: random.Random) -> bytes:
    """Swap the fields of two entries, or their values."""
    if len(layout.entries) < 2:
        return _flip(lambda one: one.metadata)(data, layout, draw)
    first, second = draw.sample(layout.entries, 2)
    pairs = list(zip(first.fields, second.fields, strict=False))
    chosen = [draw.choice(pairs)] if draw.random() < 0.7 else pairs[1:] or pairs
    chosen = [(first.value, second.value)] if draw.random() < 0.3 else chosen
    for one, other in chosen:
        length = min(one.length, other.length)
        a, b = data[one.start : one.start + length], data[other.start : other.start + length]
        data[one.start : one.start + length], data[other.start : other.start + length] = b, a
    return bytes(data)


KINDS: dict[str, Callable[[bytearray, Layout, random.Random], bytes]] = {
    "truncated": _truncate,
    "bits of the header": _flip(lambda one: [Span(0, min(HEADER, one.size))]),
    "bits of the metadata": _flip(lambda one: one.metadata),
    "bits of the pixels": _flip(lambda one: one.pixels),
    "block of zeros": _zero_block,
    "entry edited": _edit_entry,
    "entries swapped": _swap_entries,
}
