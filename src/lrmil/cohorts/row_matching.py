"""Match the rows of a labels table with slides: by name, by a unique start of a name, or by patient."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lrmil.cohorts.labels import LabelRow, Labels, Problem, TableOptions
from lrmil.cohorts.names import EXTENSION, SlideNames
from lrmil.errors import LISTED, names_of

MAX_UNKNOWN = 1000  # rows without a slide that are listed
NUMBERED = re.compile(r"[._\- ]\d+")  # "a_2" is another slide than "a", not a longer name of it


def match_rows(table: Labels, names: SlideNames, options: TableOptions, problems: list[Problem]) -> list[LabelRow]:
    """Match rows with slides; rows without a slide, or with several, are added to `problems`.

    Parameters
    ----------
    table
        Rows by slide or by patient.
    names
        The existing slides.
    options
        Whether rows without a slide are skipped; then the problems of their cells are removed, too.
    problems
        Problems so far, changed in place.

    Returns
    -------
    list of LabelRow
        Rows with the ids of their slides; rows without a slide keep the written name.
    """
    if table.by_patient:
        found = _match_patients(table, names, problems)
    else:
        found = _match_slides(table, names, options, problems)
    matched = [replace(row, slide_id=name) for row in table.rows for name in found.get(_written(row, table), [])]
    unknown = [row for row in table.rows if _written(row, table) not in found]
    if options.skip_missing and matched:
        problems[:] = [*_without_rows(table, unknown, problems), *_skipped(table, unknown)]
        unknown = []
    if names.names and table.rows:
        problems += _missing(table, unknown, matched, names)
        problems += _unlisted(matched, names)
    unclear = [row for row in table.rows if found.get(_written(row, table)) == []]
    return [*matched, *(replace(row, slide_id=_written(row, table)) for row in (*unknown, *unclear))]


def _written(row: LabelRow, table: Labels) -> str:
    return (row.case_id or "") if table.by_patient else row.slide_id


def _match_slides(
    table: Labels, names: SlideNames, options: TableOptions, problems: list[Problem]
) -> dict[str, list[str]]:
    """Match each written name with one slide: empty if that is ambiguous, absent if there is no slide."""
    found: dict[str, list[str]] = {}
    rows = {row.slide_id: row for row in reversed(table.rows)}
    for written in rows:
        if (name := names.find(written)) is not None:
            found[written] = [name]
    taken = {name for matches in found.values() for name in matches}
    begun: dict[str, list[str]] = defaultdict(list)
    for written in sorted(rows.keys() - found.keys()):
        candidates = [] if EXTENSION.search(written) else names.beginning_with(written)
        others = taken.issuperset(candidates) or (len(candidates) == 1 and _is_numbered(candidates[0], written))
        if len(candidates) == 1 and not others:
            begun[candidates[0]].append(written)
        elif candidates and not (others and options.skip_missing):
            found[written] = []
            problems.append(_several(table, rows[written], candidates))
    for name, several in begun.items():
        found |= {written: [name] for written in several}
        problems += [_several(table, rows[written], [name]) for written in several if len(several) > 1]
    problems += _misspelled(table, found, names)
    problems += _longer(table, found, names)
    return found


def _is_numbered(name: str, written: str) -> bool:
    plain = EXTENSION.sub("", re.split(r"[\\/]", written)[-1])
    return NUMBERED.fullmatch(name[len(plain) :]) is not None


def _several(table: Labels, row: LabelRow, candidates: Sequence[str]) -> Problem:
    what = "several names start with it" if len(candidates) > 1 else "the one that starts with it may be another slide"
    message = f"There is no slide '{row.slide_id}', and {what}: {names_of(candidates)}."
    hint = (
        "Write the whole name of the right slide, one row for each. If a row stands for a patient, choose its column "
        f"with --case-column '{table.name_column}'. If the slide is missing, use --skip-missing."
    )
    return Problem(row.number, table.name_column, message, hint, "error")


def _misspelled(table: Labels, found: Mapping[str, Sequence[str]], names: SlideNames) -> Iterator[Problem]:
    """Warn once that "folder/a.svs" is read as "a"; a dot inside a slide's name is kept."""
    odd = [
        f"'{row.slide_id}' as '{name}'"
        for row in table.rows
        for name in found.get(row.slide_id, [])
        if name != row.slide_id and (re.search(r"[\\/]", row.slide_id) or EXTENSION.search(row.slide_id))
        if names.is_spelled(row.slide_id, name)
    ]
    if odd:
        more = f" and {len(odd) - LISTED} more" if len(odd) > LISTED else ""
        message = f"{len(odd)} of the names are read without folder and extension: {', '.join(odd[:LISTED])}{more}."
        yield Problem(None, table.name_column, message, "No action is needed.", "warning")


def _longer(table: Labels, found: Mapping[str, Sequence[str]], names: SlideNames) -> Iterator[Problem]:
    """Warn once which names are read as the only slide that starts with them."""
    longer = [
        f"'{written}' is '{matches[0]}'"
        for written, matches in sorted(found.items())
        if matches and not names.is_spelled(written, matches[0])
    ]
    if longer:
        more = f" and {len(longer) - LISTED} more" if len(longer) > LISTED else ""
        message = (
            f"{len(longer)} of the names in the table are read as the only slide that starts with the name, or that "
            f"lacks its UUID: {', '.join(longer[:LISTED])}{more}."
        )
        hint = "No action is needed if this is right. Write the whole names to avoid this warning."
        yield Problem(None, table.name_column, message, hint, "warning")


def _match_patients(table: Labels, names: SlideNames, problems: list[Problem]) -> dict[str, list[str]]:
    """Match each case with the slides that have its name or start with it."""
    cases = {row.case_id: row for row in reversed(table.rows) if row.case_id}
    found: dict[str, list[str]] = {}
    owners: dict[str, list[str]] = defaultdict(list)
    for case_id in sorted(cases):
        own = names.find(case_id)
        slides = sorted({*([own] if own else []), *names.beginning_with(case_id)})
        if slides:
            found[case_id] = slides
        for name in slides:
            owners[name].append(case_id)
    for name, several in owners.items():
        if len(several) > 1:
            message = f"Expected one case for slide '{name}'; its name starts with {names_of(several)}."
            hint = "Add a column slide_id, with a row for each slide."
            problems.append(Problem(cases[several[0]].number, table.name_column, message, hint, "error"))
    if found:
        count = len(owners)
        message = (
            f"The table has no column of slides, so the label of a row is used for all slides whose names start with "
            f"its {table.name_column}: {count} slides of {len(found)} cases."
        )
        hint = "No action is needed if this is right. Add a column slide_id if slides of a case have different labels."
        problems.append(Problem(None, table.name_column, message, hint, "warning"))
    return found


def _without_rows(table: Labels, unknown: Sequence[LabelRow], problems: Sequence[Problem]) -> list[Problem]:
    """Drop the problems of rows without a slide."""
    left_out = {row.number for row in unknown} | _nameless(table)
    return [problem for problem in problems if problem.row not in left_out]


def _skipped(table: Labels, unknown: Sequence[LabelRow]) -> Iterator[Problem]:
    nameless = len(_nameless(table))
    if unknown:
        listed = names_of({_written(row, table) for row in unknown})
        message = f"{len(unknown)} rows are skipped, since their slides are missing: {listed}."
        hint = "No action is needed if those slides are not used."
        yield Problem(None, table.name_column, message, hint, "warning")
    if nameless:
        message = f"{nameless} rows are skipped, since they name no slide."
        yield Problem(None, table.name_column, message, "No action is needed if they have no slide.", "warning")


def _nameless(table: Labels) -> set[int]:
    filled = {number for number, cells in enumerate(table.records[1:], start=2) if any(cells)}
    return filled - {row.number for row in table.rows}


def _missing(
    table: Labels, unknown: Sequence[LabelRow], matched: Sequence[LabelRow], names: SlideNames
) -> Iterator[Problem]:
    unlisted = names.names - {row.slide_id for row in matched}
    elsewhere = "" if matched else _better_column(table, names)
    for row in unknown[:MAX_UNKNOWN]:
        if table.by_patient:
            message = f"No slide name starts with the case '{row.case_id}'"
            hint = f"Add the files, or a column slide_id; the name of a slide of this case may be '{row.case_id}_1'."
        else:
            message = f"There is no slide '{row.slide_id}'"
            hint = names.hint(row.slide_id, first=unlisted) or "Add the file, or delete the row."
        message += f" among {len(names.names)} slides (--skip-missing skips such rows)."
        yield Problem(row.number, table.name_column, message, elsewhere or hint, "error")
    if len(unknown) > MAX_UNKNOWN:
        message = f"{len(unknown) - MAX_UNKNOWN} more rows have no slide."
        hint = elsewhere or "Check that this is the right folder and the right column."
        yield Problem(None, table.name_column, message, hint, "error")


def _better_column(table: Labels, names: SlideNames) -> str:
    """Suggest a column that names slides, if the column that was read names none."""
    counts = Counter(
        index
        for cells in table.records[1 : MAX_UNKNOWN + 1]
        for index, cell in enumerate(cells)
        if cell and names.find(cell) is not None
    )
    if not counts:
        return ""
    index, count = counts.most_common(1)[0]
    column = dict(enumerate(table.records[0])).get(index, "")
    return f"Column '{column}' names {count} of the slides: choose it with --slide-column." if column else ""


def _unlisted(matched: Sequence[LabelRow], names: SlideNames) -> Iterator[Problem]:
    unlisted = names.names - {row.slide_id for row in matched}
    if unlisted:
        message = f"Slides without a row in the table: {names_of(unlisted)}."
        yield Problem(None, None, message, "They are left out. Add rows to use them.", "warning")
