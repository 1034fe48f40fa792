"""Find a few slides by name in a folder that a run of others names: stop early, never search a whole disk."""

import os
from collections.abc import Collection
from pathlib import Path

from lrmil.slides.source import EXTENSIONS, slide_id_of

MAX_ENTRIES = 200_000  # a few seconds on an idle hard disk
MAX_DEPTH = 12


def find_named(folder: Path, slide_ids: Collection[str]) -> dict[str, Path]:
    """Find slides by their ids.

    The search stops after 200,000 entries, does not follow links, and never starts at the root of a file system.

    Parameters
    ----------
    folder
        Where to search; a file counts if it is one of the slides.
    slide_ids
        Names without extension; see `lrmil.slides.source.slide_id_of`.

    Returns
    -------
    dict
        Path of each slide that was found, by its id.
    """
    wanted, found, seen = set(slide_ids), dict[str, Path](), 0
    if "\0" in str(folder):
        return {}
    top = Path(os.path.realpath(folder))  # unlike Path.resolve, no error where links lead in a circle
    if top.parent == top:
        return {}
    if os.path.isfile(top):  # noqa: PTH113 - unlike Path.is_file, no error if the name is too long
        return {slide_id_of(top): top} if slide_id_of(top) in wanted else {}
    for where, folders, names in os.walk(top):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if len(Path(where).relative_to(top).parts) >= MAX_DEPTH:
            folders.clear()
        for name in sorted(names) + list(folders):
            path = Path(where, name)
            seen += 1
            if path.suffix.lower() in EXTENSIONS or name in folders:
                slide_id = slide_id_of(path)
                if slide_id in wanted and slide_id not in found:
                    found[slide_id] = path
        folders[:] = [name for name in folders if Path(name).suffix.lower() not in EXTENSIONS]
        if found.keys() == wanted or seen > MAX_ENTRIES:
            break
    return found
