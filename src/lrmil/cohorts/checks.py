"""Check the rows of a labels table together: cases, classes, sites and folds."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np

from lrmil.cohorts.case_drawing import MIN_FIT_CASES, draw_test_part, draw_tests, draw_validation
from lrmil.cohorts.labels import LabelRow, Problem
from lrmil.configs import IMBALANCE
from lrmil.errors import LISTED, names_of
from lrmil.tasks.classification import Classification
from lrmil.tasks.task import Task

MAX_CLASSES = 20  # more labels than this, with few cases each, are probably names or measurements
MAX_FOLDS = 20  # folds of a table that are checked
SITE_GAIN = 0.5  # warn if knowing the site avoids this share of wrong guesses


def find_row_problems(
    rows: Sequence[LabelRow],
    columns: Mapping[str, str],
    *,
    folds: int | None,
    positive: str = "",
    task: type[Task] = Classification,
    test_fraction: float = 0.0,
) -> Iterator[Problem]:
    """Find problems of a table with one row per slide; the order of rows does not matter.

    Parameters
    ----------
    rows
        Rows of different slides; a row without a case_id is a case of its own.
    columns
        Role -> name of its column in the file.
    folds
        Number of folds to draw if the table has no split and no fold column; None if nothing is trained.
    positive
        The class chosen as positive, or "".
    task
        What is predicted. It checks labels, and groups them when folds are drawn.
    test_fraction
        Share of the cases that is drawn as the only test part, in place of folds; 0 for none.
    """
    yield from _missing_cases(rows, columns)
    rows = [row if row.case_id else replace(row, case_id=row.slide_id) for row in rows]
    yield from _inconsistent_cases(rows, columns)
    yield from _mixed_cases(rows, columns)
    labels = {row.label for row in rows if row.label is not None}
    for message, hint in task.label_problems(labels, trained=folds is not None, positive=positive):
        yield Problem(None, columns.get("label"), message, hint, "error")
    rows = [_grouped(row, task) for row in rows]
    if folds is not None:
        yield from _rare_classes(rows, columns)
        yield from _site_problems(rows, columns)
        if test_fraction and (named := [role for role in ("split", "fold") if role in columns]):
            yield from _contradictions(columns, named, test_fraction)
        else:
            yield from _partition_problems(rows, columns, folds, test_fraction)


def _grouped(row: LabelRow, task: type[Task]) -> LabelRow:
    """Replace a row's label by its group for drawing folds."""
    group = None if row.label is None else task.stratum(row.label)
    return row if group == row.label else replace(row, label=group)


def _missing_cases(rows: Sequence[LabelRow], columns: Mapping[str, str]) -> Iterator[Problem]:
    missing = [row.slide_id for row in rows if row.case_id is None]
    if missing:
        which = "No row has" if len(missing) == len(rows) else "Some rows lack"
        message = f"{which} a case_id, so each of these slides counts as a separate patient: {names_of(missing)}."
        hint = "Add a case_id column: otherwise slides of one patient may be both in training and in test."
        yield Problem(None, columns.get("case_id"), message, hint, "warning")


def _inconsistent_cases(rows: Sequence[LabelRow], columns: Mapping[str, str]) -> Iterator[Problem]:
    for role in ("fold", "split"):
        for case_id, values in _values_by_case(rows, role).items() if role in columns else ():
            if len(values) > 1:
                message = f"Expected one {role} for case '{case_id}'; got {_with_slides(values)}."
                hint = f"Give all slides of a case the same {role}, or fix the case_id."
                row = max(values.values(), key=lambda row: row.number)
                yield Problem(row.number, columns[role], message, hint, "error")


def _mixed_cases(rows: Sequence[LabelRow], columns: Mapping[str, str]) -> Iterator[Problem]:
    """Warn of cases with slides of different labels, which may be right: one slide per lymph node or lesion."""
    cases = _values_by_case(rows, "label")
    mixed = {str(case_id): values for case_id, values in cases.items() if len(values) > 1}
    if not mixed:
        return
    first = min(mixed)
    row = max(mixed[first].values(), key=lambda row: row.number) if len(mixed) == 1 else None
    message = f"The slides of case '{first}' have different labels: {_with_slides(mixed[first])}."
    if len(mixed) > 1:
        message = f"{len(mixed)} of {len(cases)} cases have slides of different labels: {names_of(mixed)}. {message}"
    hint = "Each slide keeps its label, and a case stays in one part of a fold. Fix label or case_id if it is wrong."
    yield Problem(row.number if row else None, columns.get("label"), message, hint, "warning")


def _rare_classes(rows: Sequence[LabelRow], columns: Mapping[str, str]) -> Iterator[Problem]:
    """Warn where a class has a fifth or less of the cases of another: a network then rarely answers with it."""
    pairs = {(row.case_id, row.label) for row in rows if row.label is not None}
    cases = Counter(label for _, label in pairs)
    if len(cases) < 2:
        return
    (common, most), (rare, fewest) = cases.most_common(1)[0], min(cases.items(), key=lambda item: item[::-1])
    if fewest > 1 and most >= IMBALANCE * fewest:  # a single case is an error
        message = f"Class '{rare}' has {fewest} cases and class '{common}' has {most}."
        hint = "Add cases of the rare class. Its slides are drawn more often in training, by mil.balance=auto."
        yield Problem(None, columns.get("label"), message, hint, "warning")


def _values_by_case(rows: Sequence[LabelRow], role: str) -> dict[str | None, dict[str, LabelRow]]:
    """Return the values of each case, each with its first row."""
    by_case: dict[str | None, dict[str, LabelRow]] = defaultdict(dict)
    for row in rows:
        if (value := getattr(row, role)) is not None:
            by_case[row.case_id].setdefault(value, row)
    return by_case


def _with_slides(values: Mapping[str, LabelRow]) -> str:
    shown = [f"'{value}' (slide '{values[value].slide_id}')" for value in sorted(values)]
    more = f" and {len(shown) - LISTED} more" if len(shown) > LISTED else ""
    return ", ".join(shown[:LISTED]) + more


def _site_problems(rows: Sequence[LabelRow], columns: Mapping[str, str]) -> Iterator[Problem]:
    """Warn if the label of a case can be predicted from the other cases of its site."""
    cases = {(row.case_id, row.label): row for row in rows if row.site is not None and row.label is not None}
    sites: dict[str | None, Counter[str | None]] = defaultdict(Counter)
    for row in cases.values():
        sites[row.site][row.label] += 1
    totals = sum(sites.values(), Counter())
    if len(totals) < 2:
        return
    commonest = min(totals, key=lambda label: (-totals[label], str(label)))
    hint = "A model may learn scanner and stain instead of disease. Add slides of the other class from each site."
    if all(len(labels) == 1 for labels in sites.values()):
        message = f"Each of the {len(sites)} sites has slides of one class only, so the site alone predicts the label."
        yield Problem(None, columns["site"], message, hint, "warning")
        return
    tops = {site: labels.most_common(3) for site, labels in sites.items()}
    by_site = sum(_guessed(tops[row.site], row.label, commonest) == row.label for row in cases.values())
    by_chance = totals[commonest]
    if len(cases) - by_site <= (1 - SITE_GAIN) * (len(cases) - by_chance):
        share, base = by_site / len(cases), by_chance / len(cases)
        message = (
            f"The site alone predicts the label of {share:.0%} of the cases; the commonest class is {base:.0%} of them."
        )
        yield Problem(None, columns["site"], message, hint, "warning")


def _guessed(commonest: Sequence[tuple[str | None, int]], own: str | None, otherwise: str | None) -> str | None:
    """Return the most common label of the other cases of a site, or `otherwise` if it is not unique.

    Three labels of the site are enough to know this.
    """
    others = [(label, count - (label == own)) for label, count in commonest]
    best = max(count for _, count in others)
    found = [label for label, count in others if count == best > 0]
    return found[0] if len(found) == 1 else otherwise


def _contradictions(columns: Mapping[str, str], roles: Sequence[str], test_fraction: float) -> Iterator[Problem]:
    for role in roles:
        message = f"The column names the test slides, and --test-fraction {test_fraction:g} would draw others."
        yield Problem(None, columns[role], message, "Set --test-fraction to 0, or delete the column.", "error")


def _partition_problems(
    rows: Sequence[LabelRow], columns: Mapping[str, str], folds: int, test_fraction: float
) -> Iterator[Problem]:
    labels_of: dict[str, set[str]] = defaultdict(set)
    for row in rows:
        if row.label is not None:
            labels_of[row.case_id or row.slide_id].add(row.label)
    found = list(_counted_problems(rows, columns, folds, test_fraction))
    yield from found
    mixed = any(len(labels) > 1 for labels in labels_of.values())
    if mixed and not any(problem.severity == "error" for problem in found):
        cases = {case: sorted(labels) for case, labels in labels_of.items()}
        yield from _undivided(rows, cases, columns, folds, test_fraction)


def _counted_problems(
    rows: Sequence[LabelRow], columns: Mapping[str, str], folds: int, test_fraction: float
) -> Iterator[Problem]:
    cases = {(row.case_id, row.label): row for row in rows if row.label is not None}  # one for each label it has
    classes = Counter(label for _, label in cases if label is not None)
    if "split" in columns:
        yield from _split_problems(list(cases.values()), sorted(classes), columns["split"])
    elif "fold" in columns:
        yield from _fold_problems(list(cases.values()), columns["fold"])
    elif len(classes) > MAX_CLASSES and len(cases) < 2 * len(classes):
        count = len({case_id for case_id, _ in cases})
        message = f"Expected classes of several cases each; got {len(classes)} classes in {count} cases."
        hint = "Check that this is the label column: it looks like names or measurements."
        yield Problem(None, columns["label"], message, hint, "error")
    elif test_fraction:
        needed = MIN_FIT_CASES + 1
        for name, count in sorted(classes.items()):
            if count < needed:
                message = f"Expected at least {needed} cases{_of_class(name)} to keep a test part aside; got {count}."
                hint = "Add cases, or leave the class out: each part needs one, to train on, validate on and test."
                yield Problem(None, columns["label"], message, hint, "error")
    elif len(classes) > 1 or "" in classes:
        needed = max(folds, 4 if folds == 2 else 0)  # of 3 cases, two folds leave one to fit on: MIN_FIT_CASES is 2
        for name, count in sorted(classes.items()):
            if count < needed:
                message = f"Expected at least {needed} cases{_of_class(name)} for {folds} folds; got {count}."
                better = f"{'Lower' if count < folds else 'Raise'} --folds to {count}, or add cases."
                hint = better if count > 2 else "Add cases, or leave the class out."
                yield Problem(None, columns["label"], message, hint, "error")


def _undivided(
    rows: Sequence[LabelRow],
    labels_of: Mapping[str, Sequence[str]],
    columns: Mapping[str, str],
    folds: int,
    test_fraction: float,
) -> Iterator[Problem]:
    """Report that cases with several labels cannot be divided so that each part has every class."""
    if "split" in columns and any(row.split == "val" for row in rows):
        return
    nothing = set[str]()  # the test cases of the shipped model
    tests: list[set[str]] | None = [nothing]
    if "split" in columns:
        tests = [{row.case_id or row.slide_id for row in rows if row.split == "test"}]
    elif "fold" in columns:
        names = sorted({row.fold or "" for row in rows})[:MAX_FOLDS]
        of_fold = [{row.case_id or row.slide_id for row in rows if row.fold == name} for name in names]
        tests = [nothing, *of_fold]
    elif test_fraction:
        drawn_part = draw_test_part(labels_of, test_fraction, seed=0)
        tests = None if drawn_part is None else [drawn_part]
    elif len({label for labels in labels_of.values() for label in labels}) > 1:
        slides = [(row.case_id or row.slide_id, row.label) for row in rows if row.label is not None]
        drawn = draw_tests(slides, folds, seed=0)
        tests = None if drawn is None else [nothing, *drawn]
    rests = [{case: labels for case, labels in labels_of.items() if case not in test} for test in tests or []]
    if tests is None or any(draw_validation(rest, 0.2, np.random.default_rng(0)) is None for rest in rests):
        message = "The cases cannot be divided so that each part of each fold has slides of every class."
        hint = "Cases with slides of several labels stay whole: change the folds, add cases, or add a split column."
        yield Problem(None, columns.get("split") or columns.get("fold") or columns["label"], message, hint, "error")


def _split_problems(cases: Sequence[LabelRow], classes: Sequence[str], column: str) -> Iterator[Problem]:
    present = {part: Counter(row.label for row in cases if row.split == part) for part in ("train", "val", "test")}
    for part in ("train", "test"):
        if cases and not present[part]:
            message = f"No row has the split '{part}'."
            yield Problem(None, column, message, f"Mark some cases '{part}', or delete the split column.", "error")
    needed = 1 if present["val"] else MIN_FIT_CASES
    for name in classes:
        if present["train"] and present["train"][name] < needed:
            message = f"Expected at least {needed} cases{_of_class(name)} in train; got {present['train'][name]}."
            hint = "Move cases of that class to train" + (
                "." if needed == 1 else "; without val rows, one of them validates."
            )
            yield Problem(None, column, message, hint, "error")
        for part in ("val", "test"):
            if present[part] and not present[part][name]:
                message = f"Class '{name}' has no case in {part}, so the AUROC there is not defined."
                yield Problem(None, column, message, f"Move cases of that class to {part}.", "warning")


def _fold_problems(cases: Sequence[LabelRow], column: str) -> Iterator[Problem]:
    names = sorted({row.fold for row in cases if row.fold is not None})
    if len(names) == 1:
        message = f"Expected at least two folds; got only '{names[0]}', which leaves nothing to train on."
        yield Problem(None, column, message, "Use two or more fold values, or delete the column.", "error")
        return
    total = Counter(row.label for row in cases)
    inside = Counter((row.fold, row.label) for row in cases if row.fold is not None and row.label is not None)
    for (fold, name), count in sorted(inside.items()):
        if (rest := total[name] - count) < MIN_FIT_CASES:
            message = f"Expected at least {MIN_FIT_CASES} cases{_of_class(name)} outside fold '{fold}'; got {rest}."
            hint = "Spread the class over more folds: one case is needed to train on, one to validate on."
            yield Problem(None, column, message, hint, "error")


def _of_class(name: str) -> str:
    """Name a group of labels in a message; a task without classes has only the group ""."""
    return f" of class '{name}'" if name else ""
