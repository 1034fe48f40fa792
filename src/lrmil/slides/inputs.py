"""Keep outputs from replacing inputs: slides with all their files, tables, models, masks."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from lrmil.errors import OverwriteError
from lrmil.slides.parts import parts_of
from lrmil.slides.source import MRXS, SlideSource

Identity = tuple[int, int]


class Inputs:
    """The files and folders that a command reads.

    Paths are compared with links resolved, and files also by device and inode. So a link, a hard link, and a name that
    differs only in case count as the same file.

    Parameters
    ----------
    slides
        Slides, each with all its files.
    others
        Other files and folders; None is skipped.
    """

    def __init__(self, slides: Iterable[SlideSource] = (), others: Iterable[Path | None] = ()) -> None:
        self._by_path: dict[Path, Path] = {}
        self._by_identity: dict[Identity, Path] = {}
        for slide in slides:
            for part in _files_of(slide.path):
                self._add(part)
        for other in others:
            if other is not None:
                self._add(other)

    def hit_by(self, output: Path) -> Path | None:
        """Return the input that an output would replace or lie inside; None if there is none."""
        real = _real(output.parent) / output.name
        for path in (real, *real.parents):
            if path in self._by_path:
                return self._by_path[path]
            if (identity := _identity(path)) in self._by_identity and identity is not None:
                return self._by_identity[identity]
        target = _real(output)  # the output may be a link to an input
        return self._by_path.get(target)

    def require_clear(self, outputs: Sequence[Path]) -> None:
        """Require that no output would replace an input or lie inside one.

        Raises
        ------
        OverwriteError
            If one would; the message names both.
        """
        for output in outputs:
            found = self.hit_by(output)
            if found is not None:
                raise OverwriteError(
                    f"The output '{output.name}' would replace the input '{found.name}' or lie inside it. Choose "
                    "another output folder, then rerun the same command."
                )

    def _add(self, path: Path) -> None:
        self._by_path[_real(path)] = path
        if (identity := _identity(path)) is not None:
            self._by_identity[identity] = path


def local_encoder(name: str | None) -> Path | None:
    """Return the folder that an encoder is read from; None if `name` is not a folder."""
    folder = Path(name.removeprefix("local-dir:")).expanduser() if name else None
    return folder if folder is not None and folder.is_dir() else None


def _files_of(slide: Path) -> list[Path]:
    """Return the files of a slide; of a folder only the folder, since everything inside it counts too."""
    if slide.is_dir():
        return [slide]
    try:
        parts = parts_of(slide)
    except OSError:
        parts = []
    beside = [slide.with_suffix("")] if slide.suffix.lower() == MRXS and slide.with_suffix("").is_dir() else []
    return [slide, *parts, *beside]


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))  # unlike Path.resolve, no error where links lead in a circle


def _identity(path: Path) -> Identity | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
