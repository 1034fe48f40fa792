"""Which slides each row of a labels table is about: by name, by a beginning that one slide has, or by patient."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from lrmil.cohorts.labels import LabelRow, Labels, Problem, TableOptions
from lrmil.cohorts.names import EXTENSION, SlideNames
from lrmil.errors import LISTED, names_of

MAX_UNKNOWN = 1000  # rows without a slide that are listed one by one
NUMBERED = re.compile(r"[._\- ]\d+")  # "a_2" is beside "a", not a longer name of it


def match_rows(table: Labels, names: SlideNames, options: TableOptions, problems: list[Problem]) -> list[LabelRow]:
    """Give the rows with the slides they are about; what has none, or several, is added to `problems`.

    Parameters
    ----------
    table
        Rows by slide or by patient.
    names
        The slides that are there.
    options
        Whether rows without a slide are left out: problems of their cells are then taken out of `problems` too.
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
    """Match each written name with one slide. Empty where that is not sure, absent where the slide is missing."""
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
    what = "several begin so" if len(candidates) > 1 else "what begins so may be another slide"
    message = f"Expected a slide file named '{row.slide_id}'; there is none, and {what}: {names_of(candidates)}."
    hint = (
        "Write the whole name of the slide that is meant, a row for each. If a row stands for a patient, choose its "
        f"column with --case-column '{table.name_column}'. If the slide is missing, --skip-missing leaves the row out."
    )
    return Problem(row.number, table.name_column, message, hint, "error")


def _misspelled(table: Labels, found: Mapping[str, Sequence[str]], names: SlideNames) -> Iterator[Problem]:
    """Say in one warning that "folder/a.svs" is read as "a"; a dot inside a slide's name is left alone."""
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
        yield Problem(None, table.name_column, message, "Nothing needs to be done.", "warning")


def _longer(table: Labels, found: Mapping[str, Sequence[str]], names: SlideNames) -> Iterator[Problem]:
    """Say in one warning which names are read as the one slide that begins so."""
    longer = [
        f"'{written}' is '{matches[0]}'"
        for written, matches in sorted(found.items())
        if matches and not names.is_spelled(written, matches[0])
    ]
    if longer:
        more = f" and {len(longer) - LISTED} more" if len(longer) > LISTED else ""
        message = (
            f"{len(longer)} of the names in the table are read as the one slide that begins so, or that lacks a UUID "
            f"behind the name: {', '.join(longer[:LISTED])}{more}."
        )
        hint = "Nothing needs to be done if that is right; write the whole names to silence this."
        yield Problem(None, table.name_column, message, hint, "warning")


def _match_patients(table: Labels, names: SlideNames, problems: list[Problem]) -> dict[str, list[str]]:
    """Match each case with the slides whose name is its own or goes on after it."""
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
            message = f"Expected one case for slide '{name}'; its name begins with those of {names_of(several)}."
            hint = "Add a column slide_id with a row for each slide."
            problems.append(Problem(cases[several[0]].number, table.name_column, message, hint, "error"))
    if found:
        count = len(owners)
        message = (
            f"The table has no column of slides, so each row's label counts for all slides whose name begins with its "
            f"{table.name_column}: {count} slides of {len(found)} cases."
        )
        hint = "Nothing needs to be done if that is right; add a column slide_id where slides of a case differ."
        problems.append(Problem(None, table.name_column, message, hint, "warning"))
    return found


def _without_rows(table: Labels, unknown: Sequence[LabelRow], problems: Sequence[Problem]) -> list[Problem]:
    """Leave out what was said of the cells of rows without a slide."""
    left_out = {row.number for row in unknown} | _nameless(table)
    return [problem for problem in problems if problem.row not in left_out]


def _skipped(table: Labels, unknown: Sequence[LabelRow]) -> Iterator[Problem]:
    nameless = len(_nameless(table))
    if unknown:
        listed = names_of({_written(row, table) for row in unknown})
        message = f"{len(unknown)} rows are left out, since there is no such slide: {listed}."
        hint = "Nothing needs to be done if those slides are elsewhere."
        yield Problem(None, table.name_column, message, hint, "warning")
    if nameless:
        message = f"{nameless} rows are left out, since they name no slide."
        yield Problem(None, table.name_column, message, "Nothing needs to be done if they have none.", "warning")


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
            wanted = f"slide files whose name begins with case '{row.case_id}'; there are none"
            hint = f"Add the files, or a column slide_id; the name of a slide of this case may be '{row.case_id}_1'."
        else:
            wanted = f"a slide file named '{row.slide_id}'; there is none"
            hint = names.hint(row.slide_id, first=unlisted) or "Add the file, or delete the row."
        message = f"Expected {wanted} among {len(names.names)} slides (--skip-missing leaves such rows out)."
        yield Problem(row.number, table.name_column, message, elsewhere or hint, "error")
    if len(unknown) > MAX_UNKNOWN:
        message = f"Expected a slide file for every row; {len(unknown) - MAX_UNKNOWN} more rows have none."
        hint = elsewhere or "Is it the right folder, and the right column?"
        yield Problem(None, table.name_column, message, hint, "error")


def _better_column(table: Labels, names: SlideNames) -> str:
    """Name the column that does name slides, where the one that was read names none."""
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
    return f"Column '{column}' names {count} slides that are there: choose it with --slide-column." if column else ""


def _unlisted(matched: Sequence[LabelRow], names: SlideNames) -> Iterator[Problem]:
    unlisted = names.names - {row.slide_id for row in matched}
    if unlisted:
        message = f"Expected every slide in the table; {len(unlisted)} without a row: {names_of(unlisted)}."
        yield Problem(None, None, message, "They are left out; add rows to use them.", "warning")
