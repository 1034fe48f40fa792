"""Recognise files that lrmil wrote: only those may be replaced or deleted, whatever their names.

Each predicate takes a path and decides by the content alone. Links are never ours, nor are folders that contain other
people's files. Files of earlier versions without a mark are recognised by their content where that is certain.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path

from lrmil.errors import OverwriteError
from lrmil.io import headers
from lrmil.io.marks import (
    PNG_MAGIC,
    csv_header,
    csv_rows,
    has_format,
    has_keys,
    hash_from,
    head_of,
    holds_only,
    is_empty_folder,
    is_plain,
    json_of,
    png_texts,
    starts,
    toml_of,
    zarr_attributes_of,
)
from lrmil.tasks.choice import is_value_column

Ours = Callable[[Path], bool]

PNG_MARK = ("Software", "lrmil")  # a tEXt chunk of a PNG
HTML_MARK = '<meta name="generator" content="lrmil">'
HTML_EARLIER = re.compile(r"<title>([^<]*: LRMIL case|LRMIL report)</title>\n<style>\n:root \{")
TILES_HEAD = b'{"type": "FeatureCollection", "lrmil": {"slide_id": '
TILES_CONTENT = re.compile(rb'"features_sha256": "([0-9a-f]{64})"\}, "features": ')  # hash of everything after it
SETTINGS_MARK = "# lrmil.settings/1"
SETTINGS = {"encoder", "embedding", "mpp_hr", "mpp_lr", "patch_size", "folds", "seed", "mil", "stage1", "stage2"}
STOP_MARK = b"lrmil.stop/1\n"
PROBLEM = {"slide_id", "row", "column", "severity", "message", "hint"}
IN_ZARR = re.compile(r"zarr\.json|(0|index|features|layers(/-?\d+)?)(/(zarr\.json|c(/\d+){0,2}))?|(0|index|features)")
NETWORKS = r"mil\.safetensors|encoder(/config\.json|/model\.safetensors)?"
IN_BUNDLE = re.compile(rf"bundle\.json|teacher|(teacher/)?({NETWORKS})")
IN_ARTEFACT = re.compile(
    r"(artefact|choice|evidence|fidelity|head|history|probabilities)\.json|(mil|encoder|evidence|outputs)\.safetensors"
)


def require_free(path: Path, ours: Ours) -> None:
    """Require that a path can be written without replacing content that is not ours; an empty folder may be replaced.

    Parameters
    ----------
    path
        Where to write.
    ours
        Predicate that recognises the content that may be replaced.

    Raises
    ------
    OverwriteError
        If there is other content; the message names the file.
    """
    if is_free(path, ours):
        return
    raise OverwriteError(
        f"lrmil did not write {_kind(path)} '{path.name}' in the output folder, or it was edited since, so it is not "
        "replaced. Move or rename it, or choose another output folder, then run the same command again."
    )


def is_free(path: Path, ours: Ours) -> bool:
    """Return whether an output may be written to a path: it is absent, an empty folder, or ours."""
    return not os.path.lexists(path) or is_empty_folder(path) or ours(path)


def is_card(path: Path) -> bool:
    """Return whether a file is the card of a prediction, even a damaged one."""
    return has_format(path, "lrmil.prediction/")


def is_map(path: Path) -> bool:
    """Return whether a folder is an attention map or a tissue mask and contains nothing else."""
    attributes = zarr_attributes_of(path)
    about = attributes.get("lrmil")
    return "ome" in attributes and isinstance(about, dict) and "mpp" in about and holds_only(path, IN_ZARR)


def is_features(path: Path) -> bool:
    """Return whether a folder holds the features of a slide and nothing else."""
    return starts(zarr_attributes_of(path).get("format"), "lrmil.features/") and holds_only(path, IN_ZARR)


def is_patches(path: Path) -> bool:
    """Return whether a file says where the patches of a slide lie."""
    head = head_of(path)
    return b'"__metadata__"' in head and b'"lrmil.patches/' in head


def is_tiles(path: Path) -> bool:
    """Return whether a file is an unedited GeoJSON of a prediction; earlier versions did not write its hash."""
    head = head_of(path)
    if not head.startswith(TILES_HEAD):
        return False
    stated = TILES_CONTENT.search(head)
    return stated is None or hash_from(path, stated.end()) == stated[1].decode()


def is_from_tiles(path: Path) -> bool:
    """Return whether a file is the GeoJSON of a prediction's patches, even if someone has edited it."""
    return head_of(path).startswith(TILES_HEAD)


def is_overlay(path: Path) -> bool:
    """Return whether a file is the overlay of a prediction, with a mark or from a version that wrote none."""
    return PNG_MARK in png_texts(head_of(path)) or is_earlier_overlay(path)


def is_earlier_overlay(path: Path) -> bool:
    """Return whether a PNG is an unedited overlay without a mark: its card has no version and is not older."""
    card = path.with_name(f"{path.name.removesuffix('.png')}.json")
    if not head_of(path).startswith(PNG_MAGIC) or not is_card(card):
        return False
    document = json_of(card)
    if not isinstance(document, dict) or "version" in document:
        return False
    age = card.stat().st_mtime - path.stat().st_mtime
    return 0 <= age <= 60  # the card is written last; an edited picture is newer than it


def is_prediction_table(path: Path) -> bool:
    """Return whether a file is a predictions.csv."""
    header = csv_header(path)
    return _is_of_predictions(header) and header[-1] == "message"


def is_patient_table(path: Path) -> bool:
    """Return whether a file is a patients.csv."""
    header = csv_header(path)
    return header == [*headers.PATIENTS, *filter(is_value_column, header), *headers.PATIENTS_TAIL]


def is_case_table(path: Path) -> bool:
    """Return whether a file is the table of a case: a row of predictions.csv with a review."""
    header = csv_header(path)
    return _is_of_predictions(header) and set(header[header.index("message") + 1 :]) == headers.REVIEW


def is_out_of_fold_table(path: Path) -> bool:
    """Return whether a file is the predictions.csv of a run."""
    header = csv_header(path)
    return header[:5] == headers.OUT_OF_FOLD and all(map(is_value_column, header[5:]))


def is_splits(path: Path) -> bool:
    """Return whether a file is the splits.csv of a run."""
    return csv_header(path) == headers.SPLITS


def is_sites(path: Path) -> bool:
    """Return whether a file is the sites.json of a run."""
    return has_format(path, "lrmil.sites/")


def is_review_table(path: Path) -> bool:
    """Return whether a file is a table of reviews."""
    header = csv_header(path)
    known = {*headers.REVIEWS, *headers.REVIEW, *headers.REVIEWS_TAIL}
    added = [name for name in header if name not in known and not is_value_column(name)]
    return header[:3] == headers.REVIEWS and header[-4:] == headers.REVIEWS_TAIL and not added


def is_demo_labels(path: Path) -> bool:
    """Return whether a file is the labels table of a synthetic cohort."""
    header, *lines = csv_rows(path) or [[]]
    return header == headers.LABELS and all(re.fullmatch(r"demo-\d{3,}", line[0]) for line in lines if line)


def is_page(path: Path) -> bool:
    """Return whether a file is the page of a case or the report of a run."""
    text = head_of(path).decode("utf-8", errors="replace")
    return HTML_MARK in text or HTML_EARLIER.search(text) is not None


def is_plan(path: Path) -> bool:
    """Return whether a file is the plan.toml of a run."""
    return starts(toml_of(path).get("format"), "lrmil.run/")


def is_settings(path: Path) -> bool:
    """Return whether a file is a settings file: it has the mark or, from earlier versions, every setting."""
    return head_of(path).startswith(f"{SETTINGS_MARK}\n".encode()) or toml_of(path).keys() >= SETTINGS


def is_metrics(path: Path) -> bool:
    """Return whether a file is the metrics.json of a run."""
    return has_keys(path, {"hr_teacher", "lr_undistilled", "lr_student", "gap_recovered"})


def is_evaluation(path: Path) -> bool:
    """Return whether a file is the evaluation.json of a model."""
    return has_keys(path, {"metrics", "failed", "bundle_sha256"})


def is_report(path: Path) -> bool:
    """Return whether a file is the report.json of a run."""
    return has_format(path, "lrmil.") and has_keys(path, {"figures", "splits", "environment", "bundle_sha256"})


def is_environment(path: Path) -> bool:
    """Return whether a file is the environment.json of a run."""
    document = json_of(path)
    packages = document.get("packages") if isinstance(document, dict) else None
    return isinstance(packages, dict) and "napari-lrmil" in packages


def is_problems(path: Path) -> bool:
    """Return whether a file is the problems.json of a run; an empty list is ours if the plan.toml beside it is."""
    document = json_of(path)
    if not isinstance(document, list):
        return False
    return all(isinstance(one, dict) and set(one) == PROBLEM for one in document) and (
        bool(document) or is_plan(path.with_name("plan.toml"))
    )


def is_changes(path: Path) -> bool:
    """Return whether a file is the changes.json of a run."""
    return _lists(path, {"date", "changes"})


def is_truth(path: Path) -> bool:
    """Return whether a file lists the positive areas of a synthetic slide; an empty list does not count."""
    return _lists(path, {"yx", "size", "label"})


def is_worklist(path: Path) -> bool:
    """Return whether a file is a worklist of the plugin."""
    return has_format(path, "lrmil.worklist/")


def is_log(path: Path) -> bool:
    """Return whether a file is the steps.jsonl of a run: it begins with a time, or is empty beside our plan.toml."""
    head = head_of(path)
    return head.startswith(b'{"time": ') or (not head and is_plain(path) and is_plan(path.with_name("plan.toml")))


def is_stop_request(path: Path) -> bool:
    """Return whether a file is a request to stop a training."""
    return head_of(path) == STOP_MARK


def is_lock(path: Path) -> bool:
    """Return whether a file may be a lock: it is empty, or names a process and a machine."""
    return is_plain(path) and re.fullmatch(rb"(\d+\s+\S+\s*)?", head_of(path)) is not None


def is_bundle(path: Path) -> bool:
    """Return whether a folder is a model, whatever else it contains."""
    return not path.is_symlink() and has_format(path / "bundle.json", "lrmil.bundle/")


def is_bundle_alone(path: Path) -> bool:
    """Return whether a folder is a model and contains nothing else."""
    return is_bundle(path) and holds_only(path, IN_BUNDLE)


def is_artefact(path: Path) -> bool:
    """Return whether a folder is a committed artefact of a run and contains nothing else."""
    document = None if path.is_symlink() else json_of(path / "artefact.json")
    if not isinstance(document, dict) or not {"key", "inputs"} <= document.keys():
        return False
    stated = document.get("content")
    if not isinstance(stated, list):  # earlier versions did not list it
        return holds_only(path, IN_ARTEFACT)
    return holds_only(path, re.compile("|".join(map(re.escape, ["artefact.json", *map(str, stated)]))))


def is_checkpoint(path: Path) -> bool:
    """Return whether a file is the checkpoint of a training."""
    head = head_of(path)
    return b'"__metadata__"' in head and b'"key"' in head and b'"state"' in head and b"best_epoch" in head


def _kind(path: Path) -> str:
    return "the link" if path.is_symlink() else "the folder" if path.is_dir() else "the file"


def _lists(path: Path, members: set[str]) -> bool:
    """Return whether a document is a list, not empty, of objects with these members."""
    document = json_of(path)
    listed = document if isinstance(document, list) else []
    return bool(listed) and all(isinstance(one, dict) and set(one) == members for one in listed)


def _is_of_predictions(header: list[str]) -> bool:
    return header[:3] == headers.PREDICTIONS and set(header) >= headers.PREDICTIONS_TAIL and is_value_column(header[3])
