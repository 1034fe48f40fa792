"""Where the answers of several models lie: those of the first where they always lay, those of others apart from them.

The folder of a slide holds the answer of the model that answered first, and in it a folder for the answer of each other
model, whose name ends with the hash of the model. The tables of a list follow the same rule.
"""

import csv
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrmil.io import hashing, untrusted
from napari_lrmil.state.known_models import SHOWN, folder_name, known_models
from napari_lrmil.state.worklist_memory import list_file, stamp_of

if TYPE_CHECKING:
    from lrmil.prediction.prediction import Prediction

IN_REGIONS = "regions"  # folder of the answers in regions, beside those of the whole slide


def case_folder(results: Path, slide_id: str, path: Path) -> Path:
    """Return the folder of one slide's predictions; slides of one name in two folders have two.

    Parameters
    ----------
    results
        Folder of all results.
    slide_id, path
        The slide.
    """
    real = os.path.realpath(path)  # unlike Path.resolve, no error for a circle of links
    return results / f"{slide_id}-{hashing.sha256_of(real)[:8]}"


def answers_of(results: Path, slide_id: str, path: Path, *, part: str = "") -> dict[str, Path]:
    """Return the models that answered to a slide, and the folder of each answer, the latest last.

    Parameters
    ----------
    results
        Folder of all results.
    slide_id, path
        The slide.
    part
        `IN_REGIONS` for the answers in regions; "" for those of the whole slide.

    Returns
    -------
    dict
        Hash of the model -> folder.
    """
    case, card = case_folder(results, slide_id, path) / part, f"{slide_id}.json"
    places = [one for one in (case, *_folders_in(case)) if (one / card).is_file()]
    found: dict[str, Path] = {}
    for place in sorted(places, key=lambda one: (_changed_at(one / card), one)):
        if sha256 := _model_of(place / card):
            found[sha256] = place
    return found


def answer_folder(results: Path, slide_id: str, path: Path, sha256: str, *, part: str = "") -> Path:
    """Return the folder for the answer of a model to a slide: that of its earlier answer, or one without an answer.

    Parameters
    ----------
    results
        Folder of all results.
    slide_id, path
        The slide.
    sha256
        Hash of the model.
    part
        As in `answers_of`.
    """
    case, answers = case_folder(results, slide_id, path) / part, answers_of(results, slide_id, path, part=part)
    if sha256 in answers:
        return answers[sha256]
    if case not in answers.values():
        return case
    own = [one for one in _folders_in(case) if one.name.endswith(f"-{sha256[:SHOWN]}")]
    return own[0] if own else case / folder_name(sha256, known_models(results))


def mask_folder(results: Path, slide_id: str, path: Path, sha256: str) -> Path | None:
    """Return the folder whose tissue mask a first answer of a model is to use: it was painted for that of another one.

    Parameters
    ----------
    results, slide_id, path, sha256
        As in `answer_folder`.

    Returns
    -------
    Path or None
        None if the model has answered, or if its own folder or none has a mask.
    """
    from lrmil.patches.mask_files import TISSUE

    answers = answers_of(results, slide_id, path)
    own, mask = answer_folder(results, slide_id, path, sha256), TISSUE.format(slide_id)
    if sha256 in answers or (own / mask).exists():
        return None
    return next((one for one in reversed(answers.values()) if (one / mask).exists()), None)


def table_file(results: Path, folder: Path, sha256: str) -> Path:
    """Return the table of a list for the answers of a model; one with rows of another model is left alone.

    Parameters
    ----------
    results
        Folder of all results.
    folder
        Folder of the slides.
    sha256
        Hash of the model.
    """
    first = list_file(results, folder, ".csv")
    if not first.is_file() or not _models_in(first) - {sha256}:
        return first
    own = sorted(first.parent.glob(f"{first.stem}.*-{sha256[:SHOWN]}.csv"))
    return own[0] if own else first.with_name(f"{first.stem}.{folder_name(sha256, known_models(results))}.csv")


def is_of_file(path: Path, prediction: "Prediction", card: Path) -> bool:
    """Return whether a stored answer is of the slide as it is now; the slide is opened only if it is newer.

    Parameters
    ----------
    path
        The slide.
    prediction, card
        The answer, and its file.
    """
    from lrmil.slides.opening import open_slide

    try:
        if stamp_of(path)[1] <= card.stat().st_mtime_ns:
            return True
        with open_slide(path) as slide:
            return slide.fingerprint == prediction.slide_fingerprint
    except (OSError, IndexError):  # SlideError is an OSError; the stamp of a missing file is empty
        return False


def _folders_in(case: Path) -> list[Path]:
    try:
        return sorted(one for one in case.iterdir() if one.is_dir() and one.name != IN_REGIONS)
    except OSError:
        return []


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _model_of(card: Path) -> str:
    """Return the hash of the model that a stored answer is of; "" if it cannot be read."""
    from lrmil.prediction.files import MAX_CARD

    try:
        document: Any = untrusted.read_json(card, max_bytes=MAX_CARD, printable=False)
        return str(document["prediction"]["bundle_sha256"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _models_in(table: Path) -> set[str]:
    """Return the hashes of the models in a table of predictions."""
    try:
        with table.open(encoding="utf-8", errors="replace", newline="") as file:
            return {row.get("model") or "" for row in csv.DictReader(file)} - {""}
    except (OSError, csv.Error):
        return set()
