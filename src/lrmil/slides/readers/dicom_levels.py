"""Link one file of a DICOM series into a folder of its own, so that OpenSlide opens one level as a slide.

Its factor is then 1: OpenSlide counts in pixels of the level, and returns them as they are stored.
"""

import shutil
import tempfile
import weakref
from pathlib import Path

from lrmil.slides.readers.dicom_frames import DicomFrames


class DicomLevels:
    """Links to the level files of one slide, each in a temporary folder that is deleted with this object.

    Parameters
    ----------
    frames
        Finds the file of a level.
    """

    def __init__(self, frames: DicomFrames) -> None:
        self._frames = frames
        self._links: dict[tuple[int, int], Path | None] = {}

    def link_to(self, shape: tuple[int, int]) -> Path | None:
        """Return a link to the level with this (height, width); None if its file is unknown or linking fails."""
        if shape not in self._links:
            file = self._frames.file_of(shape)
            self._links[shape] = self._make(file) if file else None
        return self._links[shape]

    def _make(self, file: Path) -> Path | None:
        try:
            folder = Path(tempfile.mkdtemp(prefix="lrmil-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            link = folder / "level.dcm"
            link.symlink_to(file.resolve())
        except OSError:
            return None
        return link
