"""Describe what changed since the previous call of a run and what is recomputed; stored in RUN/changes.json."""

import datetime
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from lrmil.cohorts.cohort import Cohort
from lrmil.cohorts.splits import Fold, read_table
from lrmil.configs import TrainConfig, to_dict
from lrmil.errors import FormatError, names_of
from lrmil.features.store import FeaturesCard, read_card
from lrmil.io import atomic
from lrmil.io.documents import read_json_document
from lrmil.io.ownership import is_changes
from lrmil.io.safe_csv import plain_cell
from lrmil.runs.plan_file import read_classes, read_plan
from lrmil.slides.source import SlideSource
from lrmil.tasks.class_order import order_before_numbers

CHANGES = "changes.json"
REDACTED_SETTINGS = ("encoder", "student_encoder")  # they may contain a path, and so the name of a user
SETTINGS_WITHOUT_EFFECT = ("batch_size", "threads")
FEATURES = ("patch_size", "mpp_hr", "mpp_lr", "min_tissue", "min_tissue_hr", "max_failed")


class PreviousRun(NamedTuple):
    """The settings, cases and folds of the previous call of a run."""

    config: TrainConfig
    cases: Mapping[str, tuple[str, str]]
    """Slide id -> case_id and label."""
    parts: Mapping[tuple[str, str], str]
    """Fold and slide id -> part."""
    failed: frozenset[str] = frozenset()
    """Slides that could not be used."""
    classes: tuple[str, ...] = ()
    """Classes in the order of the probabilities."""


def read_previous_run(run: Path) -> PreviousRun | None:
    """Read the previous call of a run; return None if there was none, or if it ended before the folds were drawn.

    Raises
    ------
    FormatError
        If the folder contains a run of another version.
    """
    if not os.path.lexists(run / "plan.toml"):
        return None
    config, _, _ = read_plan(run)
    try:
        rows = read_table(run / "splits.csv")
    except (OSError, FormatError):
        return None
    cases = {plain_cell(row[1]): (plain_cell(row[2]), plain_cell(row[3])) for row in rows}
    parts = {(row[0], plain_cell(row[1])): row[4] for row in rows}
    classes = read_classes(run) or order_before_numbers(label for _, label in cases.values())
    return PreviousRun(config, cases, parts, _failed(run), classes)


def changes_since(previous: PreviousRun, config: TrainConfig, cohort: Cohort, folds: Sequence[Fold]) -> list[str]:
    """Describe the changes of settings, table and folds since the previous call, and what is recomputed.

    Parameters
    ----------
    previous
        The previous call.
    config, cohort, folds
        The settings, slides and folds of this call.

    Returns
    -------
    list of str
        One sentence per change.
    """
    now = {slide.slide_id: (slide.case_id, slide.label) for slide in cohort.slides}
    both = sorted(now.keys() & previous.cases.keys())
    messages = _changed_settings(to_dict(previous.config), to_dict(config))
    messages += _changed_rows(
        [i for i in both if now[i][1] != previous.cases[i][1]], "labels", "what learns from labels is trained again"
    )
    if set(previous.classes) == set(cohort.classes) and previous.classes != cohort.classes:
        orders = " -> ".join(", ".join(classes) for classes in (previous.classes, cohort.classes))
        messages.append(f"The order of the classes changed ({orders}): what learns from labels is trained again.")
    messages += _changed_rows([i for i in both if now[i][0] != previous.cases[i][0]], "cases", "folds may be redrawn")
    if new := sorted(now.keys() - previous.cases.keys() - previous.failed):
        messages.append(f"{_slides(new)} added: folds with them are recomputed.")
    if gone := sorted(previous.cases.keys() - now.keys()):
        messages.append(f"{_slides(gone)} removed: folds with them are recomputed.")
    parts = {(fold.name, i): part for fold in folds for part in ("train", "val", "test") for i in getattr(fold, part)}
    moved = {fold for fold, i in parts.keys() & previous.parts.keys() if parts[fold, i] != previous.parts[fold, i]}
    names = {fold for fold, _ in parts} ^ {fold for fold, _ in previous.parts}
    if moved or names:
        messages.append(f"Folds are redrawn ({', '.join(sorted(moved | names))}) and trained again.")
    return messages


def changed_slides(
    sources: Iterable[SlideSource],
    fingerprints: Mapping[str, str],
    card_of: Callable[[str], Path],
    encoder_hash: str,
    reading: int,
) -> list[str]:
    """Describe which slides changed since their features were extracted.

    Parameters
    ----------
    sources, fingerprints
        The slides, and slide id -> hash of each that can be opened.
    card_of
        Slide id -> path of its features, which may be absent.
    encoder_hash
        Hash of the frozen encoder.
    reading
        `lrmil.features.slide_features.EXTRACTION_VERSION` of this version.

    Returns
    -------
    list of str
        One sentence per change.
    """
    cards = {source: card for source in sources if (card := _card(card_of(source.slide_id))) is not None}
    changed = [
        source.slide_id
        for source, card in cards.items()
        if fingerprints.get(source.slide_id, card.slide_fingerprint) != card.slide_fingerprint
    ]
    scaled = [source.slide_id for source, card in cards.items() if _is_scaled(source, card)]
    messages = [f"Slide '{name}' changed: its features are recomputed." for name in changed[:10]]
    if len(changed) > 10:
        messages.append(f"{len(changed) - 10} more slides changed: their features are recomputed.")
    if scaled:
        messages.append(f"{_slides(scaled)} given another resolution: their features are recomputed.")
    if any(card.encoder_hash != encoder_hash for card in cards.values()):
        messages.append("The encoder changed: all features are recomputed.")
    if any(card.reading != reading for card in cards.values()):
        messages.append("This version segments tissue or reads pixels differently: all features are recomputed.")
    return messages


def record_changes(run: Path, messages: Sequence[str]) -> None:
    """Append the changes of this call to RUN/changes.json.

    Parameters
    ----------
    run
        Run folder.
    messages
        The changes, one sentence each.

    Raises
    ------
    OverwriteError, OutputError
        If the file cannot be written.
    """
    if messages:
        entry = {"date": datetime.datetime.now(datetime.UTC).date().isoformat(), "changes": list(messages)}
        atomic.write_json(run / CHANGES, [*read_changes(run), entry], is_changes)


def read_changes(run: Path) -> list[dict[str, object]]:
    """Read what `record_changes` wrote: one entry per call, with "date" and "changes"; empty if it is unreadable."""
    try:
        found = read_json_document(run / CHANGES)
    except (OSError, FormatError):
        return []
    return [entry for entry in found if _is_entry(entry)] if isinstance(found, list) else []


def _is_entry(value: object) -> bool:
    sentences = value.get("changes") if isinstance(value, dict) and isinstance(value.get("date"), str) else None
    return isinstance(sentences, list) and all(isinstance(sentence, str) for sentence in sentences)


def _failed(run: Path) -> frozenset[str]:
    try:
        problems = read_json_document(run / "problems.json")
        return frozenset(str(one["slide_id"]) for one in problems if one["slide_id"])
    except (OSError, FormatError, TypeError, KeyError):
        return frozenset()


def _changed_settings(before: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    old, new = _flat(before), _flat(now)
    names = [name for name in new if old.get(name) != new[name]]
    messages = []
    if shown := [name if name in REDACTED_SETTINGS else f"{name} {old.get(name)} -> {new[name]}" for name in names]:
        effect = "all features are recomputed" if set(names) & set(FEATURES) else "affected parts are recomputed"
        idle = all(name in SETTINGS_WITHOUT_EFFECT for name in names)
        messages.append(f"Settings changed ({', '.join(shown)}): {'nothing is recomputed' if idle else effect}.")
    return messages


def _flat(settings: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in settings.items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return found


def _changed_rows(slide_ids: Sequence[str], what: str, effect: str) -> list[str]:
    if not slide_ids:
        return []
    return [f"The {what} of {len(slide_ids)} slides changed ({names_of(slide_ids)}): {effect}."]


def _slides(slide_ids: Sequence[str]) -> str:
    """Count and name slides, as the subject of a sentence in the passive."""
    one = len(slide_ids) == 1
    return f"{len(slide_ids)} slide{'' if one else 's'} ({names_of(slide_ids)}) {'was' if one else 'were'}"


def _is_scaled(source: SlideSource, card: FeaturesCard) -> bool:
    return source.mpp != card.slide_mpp if source.mpp is not None else card.mpp_source == "override"


def _card(path: Path) -> FeaturesCard | None:
    try:
        return read_card(path)
    except FormatError:
        return None
