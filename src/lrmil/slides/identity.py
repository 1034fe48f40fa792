"""Whether a slide's files are still those that were opened: sizes, times and content by samples, before and after."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISREG
from typing import NamedTuple, Protocol

from lrmil.errors import LrmilError, SlideChangedError, SlideError
from lrmil.slides.parts import fingerprint_of, parts_of


class Identity(NamedTuple):
    """What tells the content of a slide from another without reading all of it."""

    files: dict[Path, tuple[int, int]]
    """Size in bytes and time of the last change in ns of each file."""
    fingerprint: str
    """Hash of the content by samples; see `lrmil.slides.parts.fingerprint_of`."""


class Identified(Protocol):
    """A slide that knows what it was when it was opened, such as `lrmil.slides.slide.Slide`."""

    @property
    def path(self) -> Path:
        """Where it lies."""

    @property
    def identity(self) -> Identity:
        """Its files before anything was read of them."""


def identity_of(path: Path) -> Identity:
    """Identify a slide as its files are now.

    Raises
    ------
    SlideError
        If one of them cannot be read.
    """
    try:
        stats = {part: part.stat() for part in parts_of(path)}
        if not all(S_ISREG(stat.st_mode) for stat in stats.values()):
            raise SlideError(f"Expected a slide of files at {path}; it is a folder, a device or a pipe.")
        files = {part: (stat.st_size, stat.st_mtime_ns) for part, stat in stats.items()}
        return Identity(files, fingerprint_of(path))
    except SlideError:
        raise
    except OSError as error:
        raise SlideError(
            f"Expected to read every file of {path}; the system says: {error.strerror or error}. Check their rights "
            "and that the disk is there."
        ) from error


def find_identity(path: Path) -> Identity | None:
    """Identify a slide before it is opened; None where a file cannot be read, which opening it says better."""
    try:
        return identity_of(path)
    except SlideError:
        return None


def require_unchanged(slide: Identified) -> None:
    """Refuse what was read of a slide if its files are not those that were opened.

    Raises
    ------
    SlideChangedError
        Saying in what they differ.
    """
    if difference := _difference(slide.path, slide.identity):
        raise SlideChangedError(
            f"{slide.path} changed while it was read ({difference}), so nothing of it is kept. Wait until nothing "
            "writes to it any more, then run the same again."
        )


@contextmanager
def unchanged(slide: Identified) -> Iterator[None]:
    """Let what is read within count only if the slide stays as it was; a failure of one that changed says so.

    Raises
    ------
    SlideChangedError
        At the end, or in place of an error that the change may have caused.
    """
    _ = slide.identity
    try:
        yield
    except Exception as error:
        if isinstance(error, LrmilError) and not isinstance(error, SlideError):
            raise  # of the disk or the model, not of the slide
        try:
            require_unchanged(slide)
        except SlideChangedError as changed:
            raise changed from error
        raise
    require_unchanged(slide)


def _difference(path: Path, before: Identity) -> str:
    """Say in what a slide differs from before; "" where it does not."""
    try:
        now = identity_of(path)
    except SlideError:
        return "it cannot be read any more"
    if added := len(now.files.keys() - before.files.keys()):
        return f"{added} of its files came anew"
    if gone := len(before.files.keys() - now.files.keys()):
        return f"{gone} of its files are gone"
    if any(now.files[part][0] != size for part, (size, _) in before.files.items()):
        return "it has another size"
    if now.fingerprint != before.fingerprint:
        return "it has other content"
    return "it was written again" if now.files != before.files else ""
