"""Which files are lrmil's: only what carries a mark of ours may be replaced or removed, whatever its name.

A predicate takes a path and answers from the content alone. Links, and folders that hold anything beside our own files,
are never ours. Files of earlier versions that had no mark yet are known by their content where that is certain.
"""

import csv
import hashlib
import io
import os
import re
import stat
import struct
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lrmil.errors import FormatError, OverwriteError
from lrmil.untrusted import read_json

Ours = Callable[[Path], bool]

HEAD = 1 << 16  # bytes within which a mark stands
PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
PNG_MARK = ("Software", "lrmil")  # a tEXt chunk
HTML_MARK = '<meta name="generator" content="lrmil">'
HTML_EARLIER = re.compile(r"<title>([^<]*: LRMIL case|LRMIL report)</title>\n<style>\n:root \{")
TILES_HEAD = b'{"type": "FeatureCollection", "lrmil": {"slide_id": '
TILES_CONTENT = re.compile(rb'"features_sha256": "([0-9a-f]{64})"\}, "features": ')  # of all that follows
PREDICTIONS = ["slide_id", "status", "label"]
PREDICTIONS_TAIL = {"mpp", "mpp_source", "n_patches", "failed_patches", "seconds", "message"}
OUT_OF_FOLD = ["slide_id", "case_id", "fold", "arm", "label"]
SPLITS = ["fold", "slide_id", "case_id", "label", "part"]
REVIEWS = ["slide_id", "output_status", "output_label"]
REVIEW = {"decision", "human_label", "note", "reviewer", "human_first", "reviewed_at"}
REVIEWS_TAIL = ["seconds_viewed", "slide_fingerprint", "bundle_sha256", "version"]
LABELS = ["slide_id", "case_id", "label", "split"]
SETTINGS_MARK = "# lrmil.settings/1"
SETTINGS = {"encoder", "embedding", "mpp_hr", "mpp_lr", "patch_size", "folds", "seed", "mil", "stage1", "stage2"}
STOP_MARK = b"lrmil.stop/1\n"
PROBLEM = {"slide_id", "row", "column", "severity", "message", "hint"}
JUNK = re.compile(r"\.DS_Store|\._.*|Thumbs\.db|desktop\.ini", re.IGNORECASE)  # which desktops leave in every folder
IN_ZARR = re.compile(r"zarr\.json|(0|index|features|layers(/-?\d+)?)(/(zarr\.json|c(/\d+){0,2}))?|(0|index|features)")
IN_BUNDLE = re.compile(r"bundle\.json|mil\.safetensors|encoder(/config\.json|/model\.safetensors)?")
IN_ARTEFACT = re.compile(
    r"artefact\.json|history\.json|probabilities\.json|(mil|encoder|evidence|outputs)\.safetensors"
)


def require_free(path: Path, ours: Ours) -> None:
    """Refuse to write where something is that is not ours; an empty folder is in nobody's way.

    Raises
    ------
    OverwriteError
        Naming the file and what to do.
    """
    if is_free(path, ours):
        return
    raise OverwriteError(
        f"lrmil did not write {_kind(path)} '{path.name}' in the output folder, or it was edited since, so it is not "
        "replaced. Move or rename it, or choose another output folder, then run the same command again."
    )


def is_free(path: Path, ours: Ours) -> bool:
    """Whether an output may be put at a path: nothing is there, or something that is ours."""
    return not os.path.lexists(path) or _is_empty_folder(path) or ours(path)


def is_card(path: Path) -> bool:
    """Whether a file is the card of a prediction, also a damaged one."""
    return _has_format(path, "lrmil.prediction/")


def is_map(path: Path) -> bool:
    """Whether a folder is an attention map or a tissue mask, and holds nothing else."""
    attributes = _attributes(path)
    about = attributes.get("lrmil")
    return "ome" in attributes and isinstance(about, dict) and "mpp" in about and _holds_only(path, IN_ZARR)


def is_features(path: Path) -> bool:
    """Whether a folder is the features of a slide, and holds nothing else."""
    return _starts(_attributes(path).get("format"), "lrmil.features/") and _holds_only(path, IN_ZARR)


def is_tiles(path: Path) -> bool:
    """Whether a file is the GeoJSON of a prediction's patches as it was written; earlier versions stated no hash."""
    head = _head(path)
    if not head.startswith(TILES_HEAD):
        return False
    stated = TILES_CONTENT.search(head)
    return stated is None or _hash_from(path, stated.end()) == stated[1].decode()


def is_from_tiles(path: Path) -> bool:
    """Whether a file was the GeoJSON of a prediction's patches, also where a person has edited it since."""
    return _head(path).startswith(TILES_HEAD)


def is_overlay(path: Path) -> bool:
    """Whether a file is the picture of a prediction; earlier versions wrote no mark, see `is_earlier_overlay`."""
    return PNG_MARK in _png_texts(_head(path)) or is_earlier_overlay(path)


def is_earlier_overlay(path: Path) -> bool:
    """Whether a PNG was written by a version without marks: the card beside it says so, and is not older."""
    card = path.with_name(f"{path.name.removesuffix('.png')}.json")
    if not _head(path).startswith(PNG_MAGIC) or not is_card(card):
        return False
    document = _json(card)
    if not isinstance(document, dict) or "version" in document:
        return False
    age = card.stat().st_mtime - path.stat().st_mtime
    return 0 <= age <= 60  # the card is the last of a slide's files; an edited picture is younger than it


def is_prediction_table(path: Path) -> bool:
    """Whether a file is a predictions.csv."""
    header = _csv_header(path)
    return _is_of_predictions(header) and header[-1] == "message"


def is_case_table(path: Path) -> bool:
    """Whether a file is the table of a case: a line of predictions.csv with a review."""
    header = _csv_header(path)
    return _is_of_predictions(header) and set(header[header.index("message") + 1 :]) == REVIEW


def is_out_of_fold_table(path: Path) -> bool:
    """Whether a file is the predictions.csv of a run."""
    header = _csv_header(path)
    return header[:5] == OUT_OF_FOLD and all(name.startswith("prob_") for name in header[5:])


def is_splits(path: Path) -> bool:
    """Whether a file is the splits.csv of a run."""
    return _csv_header(path) == SPLITS


def is_review_table(path: Path) -> bool:
    """Whether a file is a table of reviews."""
    header = _csv_header(path)
    known = {*REVIEWS, *REVIEW, *REVIEWS_TAIL}
    added = [name for name in header if name not in known and not name.startswith("prob_")]
    return header[:3] == REVIEWS and header[-4:] == REVIEWS_TAIL and not added


def is_demo_labels(path: Path) -> bool:
    """Whether a file is the labels table of a synthetic cohort."""
    header, *lines = _csv_rows(path) or [[]]
    return header == LABELS and all(re.fullmatch(r"demo-\d{3,}", line[0]) for line in lines if line)


def is_page(path: Path) -> bool:
    """Whether a file is the page of a case or the report of a run."""
    text = _head(path).decode("utf-8", errors="replace")
    return HTML_MARK in text or HTML_EARLIER.search(text) is not None


def is_plan(path: Path) -> bool:
    """Whether a file is the plan.toml of a run."""
    return _starts(_toml(path).get("format"), "lrmil.run/")


def is_settings(path: Path) -> bool:
    """Whether a file holds the settings of a training as `write_toml` writes them: with a mark, earlier all of them."""
    return _head(path).startswith(f"{SETTINGS_MARK}\n".encode()) or _toml(path).keys() >= SETTINGS


def is_metrics(path: Path) -> bool:
    """Whether a file is the metrics.json of a run."""
    return _has_keys(path, {"classes", "hr_teacher", "lr_undistilled", "lr_student", "gap_recovered"})


def is_evaluation(path: Path) -> bool:
    """Whether a file is the evaluation.json of a model."""
    return _has_keys(path, {"metrics", "failed", "bundle_sha256"})


def is_report(path: Path) -> bool:
    """Whether a file is the report.json of a run."""
    return _has_format(path, "lrmil.") and _has_keys(path, {"figures", "splits", "environment", "bundle_sha256"})


def is_environment(path: Path) -> bool:
    """Whether a file is the environment.json of a run."""
    document = _json(path)
    packages = document.get("packages") if isinstance(document, dict) else None
    return isinstance(packages, dict) and "napari-lrmil" in packages


def is_problems(path: Path) -> bool:
    """Whether a file is the problems.json of a run; one without problems says nothing of itself, but its run does."""
    document = _json(path)
    if not isinstance(document, list):
        return False
    return all(isinstance(one, dict) and set(one) == PROBLEM for one in document) and (
        bool(document) or is_plan(path.with_name("plan.toml"))
    )


def is_changes(path: Path) -> bool:
    """Whether a file is the changes.json of a run."""
    document = _json(path)
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(one, dict) and set(one) == {"date", "changes"} for one in document)
    )


def is_truth(path: Path) -> bool:
    """Whether a file says where a synthetic slide is positive; of a negative one it says nothing and is not known."""
    document = _json(path)
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(one, dict) and set(one) == {"yx", "size", "label"} for one in document)
    )


def is_worklist(path: Path) -> bool:
    """Whether a file is what the plugin keeps of a list of slides."""
    return _has_format(path, "lrmil.worklist/")


def is_log(path: Path) -> bool:
    """Whether a file is the steps.jsonl of a run, whose lines begin with the time."""
    head = _head(path)
    return head.startswith(b'{"time": ') or (not head and _is_plain(path) and is_plan(path.with_name("plan.toml")))


def is_stop_request(path: Path) -> bool:
    """Whether a file asks a training to stop."""
    return _head(path) == STOP_MARK


def is_lock(path: Path) -> bool:
    """Whether a file may be a lock: empty, or with the process and the machine that held it."""
    return _is_plain(path) and re.fullmatch(rb"(\d+\s+\S+\s*)?", _head(path)) is not None


def is_bundle(path: Path) -> bool:
    """Whether a folder is a model, whatever else it holds."""
    return not path.is_symlink() and _has_format(path / "bundle.json", "lrmil.bundle/")


def is_bundle_alone(path: Path) -> bool:
    """Whether a folder is a model, and holds nothing else."""
    return is_bundle(path) and _holds_only(path, IN_BUNDLE)


def is_artefact(path: Path) -> bool:
    """Whether a folder is a committed artefact of a run, and holds nothing else."""
    document = None if path.is_symlink() else _json(path / "artefact.json")
    if not isinstance(document, dict) or not {"key", "inputs"} <= document.keys():
        return False
    stated = document.get("content")
    if not isinstance(stated, list):  # earlier versions stated none
        return _holds_only(path, IN_ARTEFACT)
    return _holds_only(path, re.compile("|".join(map(re.escape, ["artefact.json", *map(str, stated)]))))


def is_checkpoint(path: Path) -> bool:
    """Whether a file is the checkpoint of a training."""
    head = _head(path)
    return b'"__metadata__"' in head and b'"key"' in head and b'"state"' in head and b"best_epoch" in head


def is_trident(path: Path) -> bool:
    """Whether a file is an h5 of features that lrmil exported, and holds nothing else."""
    import h5py

    if not _is_plain(path):
        return False
    try:
        with h5py.File(path, "r") as file:
            mark = file["coords"].attrs.get("schema_version")
            return set(file) == {"features", "coords"} and _starts(mark, "lrmil.features/")
    except (OSError, KeyError, AttributeError, RuntimeError, ValueError):
        return False


def _kind(path: Path) -> str:
    if path.is_symlink():
        return "the link"
    return "the folder" if path.is_dir() else "the file"


def _is_plain(path: Path) -> bool:
    try:
        return stat.S_ISREG(path.lstat().st_mode)
    except OSError:
        return False


def _is_empty_folder(path: Path) -> bool:
    if path.is_symlink() or not path.is_dir():
        return False
    try:
        return next(path.iterdir(), None) is None
    except OSError:
        return False


def _head(path: Path) -> bytes:
    """The first bytes of a plain file; nothing of a link, a folder, or a file that cannot be read."""
    if not _is_plain(path):
        return b""
    try:
        with path.open("rb") as file:
            return file.read(HEAD)
    except OSError:
        return b""


def _hash_from(path: Path, start: int) -> str:
    """SHA-256 of a plain file from a byte on."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return ""


def _json(path: Path) -> object:
    if not _is_plain(path):
        return None
    try:
        return read_json(path, printable=False)
    except (OSError, FormatError):
        return None


def _toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_head(path).decode("utf-8"))
    except (ValueError, RecursionError):
        return {}


def _has_keys(path: Path, keys: set[str]) -> bool:
    document = _json(path)
    return isinstance(document, dict) and keys <= document.keys()


def _has_format(path: Path, mark: str) -> bool:
    """Whether a JSON file begins with our mark, as we write it, or has it elsewhere."""
    if re.match(rb'\s*\{\s*"format"\s*:\s*"' + re.escape(mark.encode()), _head(path)):
        return True
    document = _json(path)
    return isinstance(document, dict) and _starts(document.get("format"), mark)


def _starts(value: object, mark: str) -> bool:
    return isinstance(value, str) and value.startswith(mark)


def _attributes(path: Path) -> dict[str, Any]:
    document = None if path.is_symlink() else _json(path / "zarr.json")
    found = document.get("attributes") if isinstance(document, dict) else None
    return found if isinstance(found, dict) else {}


def _holds_only(folder: Path, names: re.Pattern[str]) -> bool:
    """Whether a folder has no other content than files and folders of these names, and no link."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (names.fullmatch(name) or JUNK.fullmatch(path.name)):
            return False
    return True


def _csv_rows(path: Path) -> list[list[str]]:
    text = _head(path).decode("utf-8-sig", errors="replace")
    try:
        return list(csv.reader(io.StringIO(text, newline="")))
    except csv.Error:
        return []


def _is_of_predictions(header: list[str]) -> bool:
    return header[:3] == PREDICTIONS and set(header) >= PREDICTIONS_TAIL and header[3].startswith("prob_")


def _csv_header(path: Path) -> list[str]:
    rows = _csv_rows(path)
    return rows[0] if rows else []


def _png_texts(head: bytes) -> list[tuple[str, str]]:
    """The tEXt chunks before the pixels of a PNG."""
    found: list[tuple[str, str]] = []
    place = len(PNG_MAGIC)
    while head.startswith(PNG_MAGIC) and place + 8 <= len(head):
        length, kind = struct.unpack_from(">I4s", head, place)
        if kind == b"IDAT":
            break
        if kind == b"tEXt":
            name, _, text = head[place + 8 : place + 8 + length].decode("latin-1").partition("\0")
            found.append((name, text))
        place += 12 + length
    return found
