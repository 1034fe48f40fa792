"""Store the prediction of one slide in the format lrmil.prediction/2, for other tools and later sessions.

<slide_id>.json  <slide_id>.attention.ome.zarr  <slide_id>.geojson  <slide_id>.png
<slide_id>.tissue.ome.zarr     only if the tissue mask was given; `read_tissue` reads it

A mask is the work of a person and is never deleted. A mask that is no longer used is renamed to
<slide_id>.tissue-1.ome.zarr; an edited mask stays.
"""

import time
from collections.abc import Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lrmil import __version__
from lrmil.io import atomic, untrusted
from lrmil.io.ownership import Ours, is_card, is_free, is_map, is_overlay, is_tiles, require_free
from lrmil.io.raster_zarr import read_ome_zarr, write_ome_zarr
from lrmil.patches.mask_files import TISSUE, content_hash, place_mask, require_mask_writable
from lrmil.prediction.card import PredictionCard, patches_in
from lrmil.prediction.clock import with_stage
from lrmil.prediction.exports import write_overlay, write_tiles
from lrmil.prediction.prediction import Prediction
from lrmil.raster import Raster
from lrmil.slides.inputs import Inputs
from lrmil.slides.slide import Slide
from lrmil.tasks.choice import stated_name
from lrmil.tasks.task import Task

FORMAT = "lrmil.prediction/2"
ATTENTION = "{}.attention.ome.zarr"
PREDICTION_FILES: dict[str, Ours] = {
    "{}.json": is_card,
    ATTENTION: is_map,
    "{}.geojson": is_tiles,
    "{}.png": is_overlay,
}
MAX_CARD = 4 << 20  # bytes
NOTICE = "Model output, not a diagnosis."


def write_prediction(
    out: Path,
    slide_id: str,
    prediction: Prediction,
    slide: Slide,
    *,
    key: str,
    tissue: Raster | None = None,
    subtract_bounds: bool = False,
) -> Prediction:
    """Write the files of a prediction. The card is written last, so that its presence means that all files exist.

    An earlier answer is removed when the new one is complete; the same one, of another process, is never absent.

    Parameters
    ----------
    out, slide_id
        Folder, created if absent, and name of the files.
    prediction
        What to write.
    slide
        The open slide, for a picture.
    key
        Hash of everything that the prediction was made from; `read_prediction` compares it.
    tissue
        The mask, if it was given.
    subtract_bounds
        As in `lrmil.prediction.exports.write_tiles`.

    Returns
    -------
    Prediction
        The same, with the seconds of writing (all but the card) in its `timings`.

    Raises
    ------
    OverwriteError
        If another file has the name of an output.
    OutputError
        If a file cannot be written.
    SlideChangedError
        If the slide changed since it was opened.
    """
    start, mpp, source = time.perf_counter(), prediction.mpp, prediction.mpp_source
    require_free_outputs(out, slide_id, tissue)
    written = _mask_as_written(out, slide_id)
    with atomic.scratch(out, slide_id) as made:
        write_overlay(made / f"{slide_id}.png", prediction, slide)  # first: it fails if the slide has changed
        write_ome_zarr(made / ATTENTION.format(slide_id), prediction.attention, mpp=mpp, mpp_source=source)
        write_tiles(made / f"{slide_id}.geojson", slide_id, prediction, slide, subtract_bounds=subtract_bounds)
        mask = place_mask(out / TISSUE.format(slide_id), tissue, written, mpp=mpp, mpp_source=source)
        prediction = replace(prediction, timings=with_stage(prediction.timings, "write", start))
        about = {"version": __version__, "tissue_content": mask}
        document = {"format": FORMAT, "key": key, **about, **_card(prediction), "notice": NOTICE}
        atomic.write_json(made / f"{slide_id}.json", document, is_card)
        _place(made, out, slide_id, key)
    return prediction


def _place(made: Path, out: Path, slide_id: str, key: str) -> None:
    """Move the new files into the folder, the card last."""
    card, new = out / f"{slide_id}.json", {**PREDICTION_FILES}
    stored = read_prediction(out, slide_id, keys=[key])
    if stored is not None and stored.attention.equals(read_ome_zarr(made / ATTENTION.format(slide_id))):
        del new[ATTENTION]  # the same answer; a folder cannot be replaced without an instant in which it is absent
    elif is_card(card):
        remove_prediction(out, slide_id)
    if not is_free(card, is_card):
        atomic.move_aside(card)
    for name, ours in reversed(new.items()):
        require_free(out / name.format(slide_id), ours)
        atomic.put_in_place(made / name.format(slide_id), out / name.format(slide_id))


def read_prediction(
    out: Path, slide_id: str, *, keys: Collection[str] = (), task: Task | None = None
) -> Prediction | None:
    """Read what `write_prediction` wrote; return None if it is absent, incomplete, invalid or of another version.

    Parameters
    ----------
    out, slide_id
        Folder and name of the files.
    keys
        Accepted keys; without them, any.
    task
        The task that it must answer, such as the same classes in any order; without it, any.
    """
    try:
        document = untrusted.read_json(out / f"{slide_id}.json", max_bytes=MAX_CARD, printable=False)
        if not isinstance(document, dict) or document.get("format") != FORMAT:
            return None
        card = PredictionCard.model_validate(document)
        saved = card.prediction
        if (keys and card.key not in keys) or (task and not saved.is_of(task)):
            return None
        attention = read_ome_zarr(out / f"{slide_id}.attention.ome.zarr")
        patches, values = patches_in(attention, card.grid.grid)
        lists = {name: tuple(value) for name, value in saved if isinstance(value, list)}
        plain = {
            **saved.model_dump(),
            **lists,
            "task": saved.answered,
            "escalation": saved.escalation,
            "regions": saved.regions,
        }
        return Prediction(**plain, attention=attention, patches=patches, patch_attention=values)
    except (OSError, ValueError):  # FormatError and pydantic's ValidationError are ValueErrors
        return None


def read_tissue(folder: Path, slide_id: str) -> Raster | None:
    """Read the tissue mask of a slide from ``<slide_id>.tissue.ome.zarr``; return None if it is absent.

    Parameters
    ----------
    folder, slide_id
        Folder and name of the mask.

    Returns
    -------
    Raster or None
        Boolean; values above 0.5 are tissue.

    Raises
    ------
    FormatError
        If the file is not a mask.
    """
    path = folder / TISSUE.format(slide_id)
    if not path.exists():
        return None
    raster = read_ome_zarr(path)
    return Raster(raster.array.astype(float) > 0.5, raster.to_level0)


def require_free_outputs(out: Path, slide_id: str, tissue: Raster | None = None, inputs: Inputs | None = None) -> None:
    """Require that no foreign file and no input has the name of an output.

    Parameters
    ----------
    out, slide_id, tissue
        As in `write_prediction`.
    inputs
        What is read. The mask is not compared with it, since the given mask may be the stored one.

    Raises
    ------
    OverwriteError
        With the name of the file.
    """
    paths = {out / name.format(slide_id): ours for name, ours in PREDICTION_FILES.items()}
    if inputs is not None:
        inputs.require_clear(list(paths))
    card = out / f"{slide_id}.json"
    damaged = is_map(out / ATTENTION.format(slide_id)) and not is_card(card)  # `write_prediction` renames it
    for path, ours in paths.items():
        if not (damaged and path == card):
            require_free(path, ours)
    require_mask_writable(out / TISSUE.format(slide_id), tissue, _mask_as_written(out, slide_id))


def is_mask_edited(out: Path, slide_id: str) -> bool:
    """Return whether the mask beside a prediction was changed since it was written.

    Parameters
    ----------
    out, slide_id
        Folder and name of the prediction.
    """
    written = _mask_as_written(out, slide_id)
    return bool(written) and content_hash(out / TISSUE.format(slide_id)) != written


def remove_prediction(out: Path, slide_id: str) -> None:
    """Delete a prediction, its card first; keep masks and files that lrmil did not write.

    Parameters
    ----------
    out, slide_id
        Folder and name of the prediction.
    """
    paths = {out / name.format(slide_id): ours for name, ours in PREDICTION_FILES.items()}
    for path in [path for path, ours in paths.items() if ours(path)]:
        atomic.remove(path)


def _mask_as_written(out: Path, slide_id: str) -> str:
    """Return the hash of the mask that lrmil wrote beside a prediction; "" if there is none or it is unknown."""
    try:
        card: Any = untrusted.read_json(out / f"{slide_id}.json", printable=False)
        return str(card["tissue_content"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _card(prediction: Prediction) -> dict[str, object]:
    elsewhere = ("attention", "patches", "patch_attention", "task", "escalation", "regions")
    plain = {name: getattr(prediction, name) for name in prediction.__slots__ if name not in elsewhere}
    stated = {"task": prediction.task.to_dict()} if stated_name(prediction.task) else {}
    stated |= {"escalation": prediction.escalation.to_dict()} if prediction.escalation else {}
    stated |= {"regions": prediction.regions.to_dict()} if prediction.regions else {}
    return {"grid": asdict(prediction.patches.grid), "prediction": {**plain, **stated}}
