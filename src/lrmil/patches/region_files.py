"""Find and read the files of regions: annotations by QuPath (GeoJSON), one file for each slide."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from lrmil.errors import ConfigError, FormatError, TissueError
from lrmil.io.ownership import is_from_tiles
from lrmil.patches.drawn_regions import Regions
from lrmil.patches.geojson_masks import read_areas, require_within
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource

ENDINGS = (".geojson", ".geojson.gz")


def read_regions(path: Path, slide: Slide, *, subtract_bounds: bool = False) -> Regions:
    """Read the regions of a slide.

    Parameters
    ----------
    path
        A GeoJSON file; areas of which the class begins with Ignore or Exclude are left out.
    slide
        The open slide.
    subtract_bounds
        Whether its coordinates start at the corner of the scanned area (`Slide.origin_yx`), as QuPath shows MRXS.

    Raises
    ------
    TissueError
        If the file has no regions, or those of a slide of another size.
    """
    try:
        regions = Regions(tuple(read_areas(path)))
        if subtract_bounds:
            regions = regions.moved(slide.origin_yx)
        require_within(regions.areas, slide.dimensions)
    except (FormatError, OSError, ValueError) as error:
        reason = str(error).replace(str(path), path.name)
        raise TissueError(f"The regions of {slide.slide_id} cannot be used. {reason}") from error
    return regions


def find_regions(
    location: Path, sources: Sequence[SlideSource], *, subtract_bounds: bool = False
) -> dict[str, Callable[[Slide], Regions]]:
    """Return what reads the regions of each slide, by its id, when the slide is open.

    A slide without a file fails then: the answer for all of it is not what was asked for, and would stand in one table
    with the others.

    Parameters
    ----------
    location
        The one file of the only slide, or a folder of files with the ids or file names of the slides.
    sources
        The slides.
    subtract_bounds
        As for `read_regions`.

    Raises
    ------
    ConfigError
        If there is no file for any slide, several for one, or one file is given for several slides.
    """
    if location.is_file():
        if len(sources) != 1:
            raise ConfigError(
                f"One file of regions, {location.name}, cannot serve {len(sources)} slides. Pass a folder of files."
            )
        found = {sources[0].slide_id: location}
    elif location.is_dir():
        found = {one.slide_id: path for one in sources if (path := _file_of(location, one)) is not None}
    else:
        raise ConfigError(f"There is no file and no folder of regions at {location}.")
    if not found:
        name = sources[0].slide_id if sources else "SLIDE"
        raise ConfigError(
            f"There are no regions of these slides in {location}. Files have names such as {name}.geojson."
        )
    return {
        one.slide_id: _reader(found.get(one.slide_id), location, subtract_bounds=subtract_bounds) for one in sources
    }


def _reader(path: Path | None, location: Path, *, subtract_bounds: bool) -> Callable[[Slide], Regions]:
    if path is None:
        return functools.partial(_refuse, location.name)
    return functools.partial(read_regions, path.absolute(), subtract_bounds=subtract_bounds)  # for other processes, too


def _refuse(folder: str, slide: Slide) -> Regions:
    raise TissueError(
        f"There are no regions of {slide.slide_id} in {folder}. Draw them and export them to {slide.slide_id}.geojson, "
        "or classify the whole slide in a call without regions."
    )


def _file_of(location: Path, source: SlideSource) -> Path | None:
    names = dict.fromkeys((source.slide_id, source.path.name, source.path.stem))
    paths = dict.fromkeys(location / f"{name}{ending}" for name in names for ending in ENDINGS)
    files = [path for path in paths if path.is_file() and not is_from_tiles(path)]  # a prediction's own
    if len(files) > 1:
        raise ConfigError(
            f"The slide {source.slide_id} has several files of regions in {location}: "
            f"{' and '.join(path.name for path in files)}. Remove all but one."
        )
    return files[0] if files else None
