"""Detect truncated TIFF files that are not slides, such as masks."""

from pathlib import Path

import tifffile

from lrmil.slides.readers.tiff_pages import MALFORMED, collected_errors


def is_whole_tiff(path: Path) -> bool:
    """Return whether the first and the last page of a TIFF are inside the file; False if it cannot be parsed."""
    try:
        with collected_errors(), tifffile.TiffFile(path) as tif:
            pages = [tif.pages[0].aspage(), tif.pages[-1].aspage()]
            ends = [max(map(sum, zip(page.dataoffsets, page.databytecounts, strict=True))) for page in pages]
    except MALFORMED:
        return False
    return max(ends) <= path.stat().st_size
