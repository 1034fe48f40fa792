"""Name one file of a DICOM series without the others, so that OpenSlide opens a level as a slide of its own.

Its factor is then 1: OpenSlide counts in the pixels of the level, and gives them as they are stored.
"""

import shutil
import tempfile
import weakref
from pathlib import Path

from lrmil.slides.readers.dicom_frames import DicomFrames


class DicomLevels:
    """Links to the files of the levels of one slide, each in a folder of its own; they go with this object.

    Parameters
    ----------
    frames
        Knows which file holds a level.
    """

    def __init__(self, frames: DicomFrames) -> None:
        self._frames = frames
        self._links: dict[tuple[int, int], Path | None] = {}

    def link_to(self, shape: tuple[int, int]) -> Path | None:
        """Give a link to the level of that (height, width); None where its file is not known, or links are not made."""
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
