"""Audit splits.csv against itself: no case is in two parts of a fold, and no slide is tested twice."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from lrmil.runs.audit_files import Finding, RunFiles, some

SPLITS = "splits.csv"


def audit_splits(files: RunFiles) -> Iterator[Finding]:
    """Yield what is wrong with the folds themselves.

    Parameters
    ----------
    files
        The run.
    """
    described: dict[str, set[tuple[str, str]]] = defaultdict(set)
    parts: dict[tuple[str, str], set[str]] = defaultdict(set)
    places: Counter[tuple[str, str]] = Counter()
    for fold, slide_id, case, label, part in files.rows:
        described[slide_id].add((case, label))
        parts[fold, case].add(part)
        places[fold, slide_id] += 1
    for slide_id, found in described.items():
        if len(found) > 1:
            yield Finding(SPLITS, f"Slide {slide_id} has several cases or labels: it is described differently by fold.")
    for (fold, case), found_parts in parts.items():
        if len(found_parts) > 1:
            yield Finding(SPLITS, f"Case {case} is in several parts of {fold}: {', '.join(sorted(found_parts))}.")
    for (fold, slide_id), count in places.items():
        if count > 1:
            yield Finding(SPLITS, f"Slide {slide_id} is named {count} times in {fold}.")
    tested = Counter(slide_id for fold in files.tested for slide_id in fold.test)
    if twice := {slide_id for slide_id, count in tested.items() if count > 1}:
        yield Finding(SPLITS, f"Slides are tested in several folds: {some(twice)}.")
    if not tested:
        yield Finding(SPLITS, "No slide is tested.")
    if "final" in {fold.name for fold in files.folds} and (never := described.keys() - tested.keys()):
        yield Finding(
            SPLITS, f"Slides are never tested, though the folds are those of a cross-validation: {some(never)}."
        )
