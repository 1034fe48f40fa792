"""Audit the cards of a run's features, and where their patches lie.

Each is of the slide that it names, and no test slide is a copy of another one.
"""

import math
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from lrmil.cohorts.splits import Fold
from lrmil.errors import FormatError
from lrmil.io.ownership import is_features
from lrmil.patches.kept import read_patches
from lrmil.runs.arms import ARMS, FINISHED, HR, LR, PATCHES, encoded_of, features_of
from lrmil.runs.audit_files import Finding, RunFiles, some

ROUNDING = 1e-5  # relative: HR patches lie in an LR patch side by side, whatever the rounding of their um/px


def audit_features(files: RunFiles) -> Iterator[Finding]:
    """Yield what is wrong with the cards of the features.

    Parameters
    ----------
    files
        The run.
    """
    yield from _pictures(files)
    yield from _copies(files)
    yield from _patches(files)


def feature_paths(files: RunFiles, fold: Fold) -> list[tuple[str, Path]]:
    """Return slide and path of all features that a fold rests on."""
    teacher, found = files.config.teacher, []
    for slide_id in (*fold.train, *fold.val, *fold.test):
        arms = [*ARMS, FINISHED] if files.config.finishes and slide_id in fold.test else list(ARMS)
        for arm in arms:
            paths = {
                encoded_of(files.run, fold.name, slide_id, arm),
                features_of(files.run, fold.name, slide_id, arm, teacher=teacher),
            }
            found += [(slide_id, path) for path in sorted(paths)]
    return found


def _pictures(files: RunFiles) -> Iterator[Finding]:
    """Yield features that are absent, or of another slide than their name says."""
    shown: dict[str, dict[Path, str]] = defaultdict(dict)
    for slide_id, path in dict.fromkeys(pair for fold in files.folds for pair in feature_paths(files, fold)):
        card, where = files.card(path), path.relative_to(files.run).as_posix()
        if card is None:
            yield Finding(where, "The features are missing or damaged.")
        elif card.slide_id != slide_id:
            yield Finding(where, f"The features are those of slide {card.slide_id}.")
        elif not is_features(path):
            yield Finding(where, "It contains files that do not belong to features, or links.")
        elif not math.isclose(card.mpp, _mpp_of(files, path), rel_tol=ROUNDING) or card.size != files.config.patch_size:
            yield Finding(where, f"The features are of patches of {card.size} px at {card.mpp:g} um/px.")
        else:
            shown[slide_id][path] = card.slide_fingerprint
    for slide_id, found in shown.items():
        if len(set(found.values())) > 1:
            folders = some({path.parent.relative_to(files.run).as_posix() for path in found})
            yield Finding(folders, f"The features of slide {slide_id} were made from different files.")


def _mpp_of(files: RunFiles, path: Path) -> float:
    """Return the um/px of the patches in a folder of features; a region is a patch of low resolution."""
    return files.config.mpp_hr if path.parent == files.run / HR else files.config.mpp_lr


def _copies(files: RunFiles) -> Iterator[Finding]:
    """Yield test slides that a fold also learned from under another name."""
    for fold in files.folds:
        learned: dict[str, str] = {}
        for slide_id in (*fold.train, *fold.val):
            if (fingerprint := fingerprint_of(files, slide_id)) is not None:
                learned[fingerprint] = slide_id
        for slide_id in fold.test:
            if (fingerprint := fingerprint_of(files, slide_id)) in learned:
                other = learned[str(fingerprint)]
                yield Finding(
                    fold.name, f"Test slide {slide_id} is the same file as slide {other}, which is learned from."
                )


def _patches(files: RunFiles) -> Iterator[Finding]:
    """Yield kept patches that were edited, or that are not as many as were encoded."""
    for slide_id in dict.fromkeys(
        slide_id for fold in files.folds for slide_id in (*fold.train, *fold.val, *fold.test)
    ):
        path = files.run / PATCHES / f"{slide_id}.safetensors"
        if not os.path.lexists(path):
            continue
        where = path.relative_to(files.run).as_posix()
        try:
            found = read_patches(path)
        except FormatError:
            yield Finding(where, "It was edited or is damaged.")
            continue
        counts = {LR: len(found.patches), HR: int(found.patches.children_covered.sum())}
        cards = {folder: files.card(files.run / folder / path.with_suffix(".zarr").name) for folder in counts}
        differ = any(card is not None and card.total != counts[folder] for folder, card in cards.items())
        if differ or found.card.slide_id != slide_id:
            yield Finding(where, "The patches are not those of which there are features.")


def fingerprint_of(files: RunFiles, slide_id: str) -> str | None:
    """Return the fingerprint of a slide; None if its features are missing."""
    card = files.card(encoded_of(files.run, None, slide_id, "lr_undistilled"))
    return None if card is None else card.slide_fingerprint
