"""napari's reader for whole slides: drag and drop, File > Open."""

from collections.abc import Callable
from pathlib import Path

from lrmil.errors import LrmilError, SlideError
from lrmil.slides.discovery import dicom_slides, slide_path
from lrmil.slides.opening import open_slide
from lrmil.slides.source import OPENSLIDE_EXTENSIONS
from napari_lrmil.layers.averaged import first_look_steps
from napari_lrmil.layers.build import LayerData, slide_layer
from napari_lrmil.layers.completeness import is_complete

# Other readers open .tif, .tiff, .btf and .zarr too, and images that are not slides.
OWN_EXTENSIONS = (".svs", ".ndpi", *OPENSLIDE_EXTENSIONS)
ZARR_SUFFIX = ".zarr"
MANY_PARTS = 8  # of about 17 megapixels
Read = Callable[[str | list[str]], list[LayerData]]


def get_reader(path: str | list[str]) -> Read | None:
    """Return the function that reads `path`, or None for a complete file that is not a slide, for other readers.

    Parameters
    ----------
    path
        A slide file, an OME-Zarr, the folder of DICOM slides, or several of them.
    """
    paths = [Path(one) for one in ([path] if isinstance(path, str) else path)]
    return read_slides if paths and all(_is_ours(one) for one in paths) else None


def read_slides(path: str | list[str]) -> list[LayerData]:
    """Open slides as lazy layers in microns, or in pixels if the resolution is unknown.

    Parameters
    ----------
    path
        As in `get_reader`.

    Raises
    ------
    SlideError
        If none of them can be opened; the message says of each why.
    """
    layers, problems = [], []
    for one in _slides_at([Path(one) for one in ([path] if isinstance(path, str) else path)]):
        try:
            layers.append(slide_layer(open_slide(one)))
            _look(layers[-1])
        except LrmilError as error:
            problems.append(str(error))
    if problems and not layers:
        _say(" ".join(problems))  # napari's own message has another sentence, which is cut off
        raise SlideError(" ".join(problems))
    for problem in problems:
        _warn(problem)
    for _, keywords, _ in layers:
        if problem := keywords["metadata"]["lrmil"]["mpp_problem"]:
            _warn(f"{problem} It is shown in pixels, without a scale bar in um, until its um/px are set.")
    return layers


def _look(layer: LayerData) -> None:
    """Make the coarse levels of a slide that has none, with napari's progress bar if that takes a while."""
    from napari.utils import progress

    steps = first_look_steps(layer[0]) if layer[1]["multiscale"] else iter(())
    first = next(steps, None)
    if first is None or first.total is None or first.total < MANY_PARTS:
        return
    with progress(total=first.total, desc=f"{layer[1]['name']} has no coarse level: reading all of it") as bar:
        bar.update()
        for _ in steps:
            bar.update()


def _slides_at(paths: list[Path]) -> list[Path]:
    """Return each slide once: a DICOM slide may be given by several of its files, or by its folder."""
    found: list[Path] = []
    for path in paths:
        among = dicom_slides(path).slides if path.is_dir() else ()
        found += [slide.path for slide in among] or [slide_path(path)]
    return list(dict.fromkeys(found))


def _is_ours(path: Path) -> bool:
    """Whether to read a path. A broken slide is ours too, since our error says what is wrong with it."""
    suffix = path.suffix.lower()
    if path.is_dir() and suffix != ZARR_SUFFIX and suffix not in OWN_EXTENSIONS:
        inside = dicom_slides(path)
        return bool(inside.slides) or inside.is_lost
    if suffix in OWN_EXTENSIONS:
        return True
    try:
        with open_slide(path):
            return True
    except LrmilError:
        return path.exists() and not is_complete(path)


def _warn(message: str) -> None:
    from napari.utils.notifications import show_warning

    show_warning(message)


def _say(message: str) -> None:
    from napari.utils.notifications import show_error

    show_error(message)
