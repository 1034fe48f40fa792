"""Open a slide of any format."""

from pathlib import Path

from lrmil.errors import ResolutionError
from lrmil.io.zarr_folders import ZARR_SUFFIX
from lrmil.slides.checksums import NOT_COMPARED, comparison, verify
from lrmil.slides.discovery import slide_file
from lrmil.slides.identity import Identity, find_identity
from lrmil.slides.parts import parts_of
from lrmil.slides.readers.choice import open_reader
from lrmil.slides.resolution import Resolution, require_possible_size, resolve_mpp
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource


def open_slide(path: str | Path, mpp: float | None = None, *, objective_power: bool = False) -> Slide:
    """Open a slide for reading; use it in a ``with`` block, or close it.

    tifffile reads TIFF, SVS, OME-TIFF and NDPI; zarr reads OME-Zarr; Pillow reads PNG and JPEG images, which need
    `mpp`. OpenSlide reads the rest, and SVS in JPEG 2000 with subsampled colours.

    Parameters
    ----------
    path
        A slide file, an OME-Zarr folder, or the folder of one DICOM slide.
    mpp
        um/px of level 0; overrides the metadata.
    objective_power
        Whether the magnification may replace a missing um/px (10 / magnification).

    Raises
    ------
    SlideError
        If the file does not exist, is not a slide, is truncated, or its pixels are not RGB.
    ResolutionError
        If `mpp` is implausible, or makes the slide larger than a microscope slide. A slide without um/px opens; only
        its `mpp` raises.
    """
    path = Path(path)
    # An OME-Zarr may have a hundred thousand files: its identity is computed only when needed.
    identity = None if path.suffix.lower() == ZARR_SUFFIX else find_identity(path)
    return _open(path, mpp, objective_power=objective_power, identity=identity)


def _open(path: Path, mpp: float | None, *, objective_power: bool, identity: Identity | None) -> Slide:
    reader = open_reader(slide_file(path))
    try:
        found = resolve_mpp(mpp, reader.mpp_candidates, power=reader.objective_power, objective_power=objective_power)
        resolution: Resolution | ResolutionError = require_possible_size(found, *reader.levels[0].shape)
    except ResolutionError as error:
        if mpp is not None:
            reader.close()
            raise
        resolution = error
    return Slide(path, reader, resolution, identity=identity)


def open_source(source: SlideSource) -> Slide:
    """Open a slide with the resolution that its source states, after comparing its checksums; see `open_slide`.

    Raises
    ------
    SlideError
        As `open_slide`, or if a file does not match its checksum: nothing of such a slide is read.
    ResolutionError
        As `open_slide`.
    """
    identity = find_identity(source.path)
    verify(source.checksums)
    compared = comparison(source.checksums, parts_of(source.path)) if source.checksums else NOT_COMPARED
    slide = _open(source.path, source.mpp, objective_power=source.objective_power, identity=identity)
    slide.checksum = compared
    return slide
