"""Recognise the slides that the demonstration draws."""

import re
from pathlib import Path

import tifffile

MPP = 0.5
SYNTHETIC = re.compile(r'UUID="urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"')


def is_synthetic(path: Path) -> bool:
    """Return True if a file is a slide of the demonstration: an OME-TIFF whose id has the form of a pixel hash."""
    if path.is_symlink() or not path.is_file():
        return False
    try:
        with tifffile.TiffFile(path) as tif:
            text = tif.pages.first.description
    except (OSError, ValueError, IndexError, tifffile.TiffFileError):
        return False
    return SYNTHETIC.search(text) is not None and f'PhysicalSizeX="{MPP}"' in text
