"""Columns are found by name, alias or choice, in every format of tables, and a header that is not clear says so."""

from collections.abc import Callable, Sequence
from pathlib import Path

import openpyxl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil.cohorts.cohort import Cohort, CohortReport, Problem, TableOptions, validate_cohort
from lrmil.cohorts.columns import ALIASES, options_from_dict
from lrmil.cohorts.labels import read_labels
from lrmil.errors import FormatError

CELLS = [[f"s{n}", f"p{n}", "ab"[n % 2]] for n in range(8)]
Write = Callable[[Path, list[list[str]]], Path]


def separated(separator: str, name: str, encoding: str = "utf-8") -> Write:
    def write(folder: Path, rows: list[list[str]]) -> Path:
        text = "\r\n".join(separator.join(f'"{cell}"' for cell in row) for row in rows)
        (folder / name).write_bytes(text.encode(encoding))
        return folder / name

    return write


def workbook(folder: Path, rows: list[list[str]]) -> Path:
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(folder / "labels.xlsx")
    return folder / "labels.xlsx"


FORMATS: dict[str, Write] = {
    "csv": separated(",", "labels.csv"),
    "semicolons and a BOM": separated(";", "labels.csv", "utf-8-sig"),
    "tsv": separated("\t", "labels.tsv"),
    "UTF-16": separated("\t", "labels.txt", "utf-16"),
    "xlsx": workbook,
}


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    (tmp_path / "slides").mkdir()
    for name, _, _ in CELLS:
        (tmp_path / "slides" / f"{name}.svs").touch()
    return tmp_path / "slides"


def check(
    slides: Path,
    header: Sequence[str],
    rows: Sequence[Sequence[str]] = CELLS,
    write: Write = FORMATS["csv"],
    **options: str,
) -> CohortReport:
    table = write(slides.parent, [list(header), *map(list, rows)])
    return validate_cohort(slides, table, folds=3, options=TableOptions(**options))


def checked(report: CohortReport) -> Cohort:
    assert report.cohort is not None, report.problems
    return report.cohort


def errors(report: CohortReport) -> list[Problem]:
    return [problem for problem in report.problems if problem.severity == "error"]


@pytest.mark.parametrize("form", FORMATS)
class TestChosen:
    def test_any_column_can_be_chosen(self, slides: Path, form: str) -> None:
        header = ["Scan file", "Pat. no.", "Grading (WHO)"]
        names = dict(zip(("slide_column", "case_column", "label_column"), header, strict=True))
        report = check(slides, header, write=FORMATS[form], **names)
        assert report.problems == ()
        assert checked(report) == checked(check(slides, ["slide_id", "case_id", "label"]))

    def test_it_wins_over_the_role_s_own_name_and_over_aliases(self, slides: Path, form: str) -> None:
        rows = [[*cells, "x", "y", "z", f"s{n}.svs", f"q{n}", "cd"[n % 2]] for n, cells in enumerate(CELLS)]
        header = ["slide_id", "case_id", "label", "slide", "case", "class", "mine", "also", "grade"]
        report = check(
            slides,
            header,
            rows,
            FORMATS[form],
            slide_column="mine",
            case_column="also",
            label_column="grade",
        )
        cohort = checked(report)
        assert cohort.classes == ("c", "d") and set(cohort.cases) == {f"q{n}" for n in range(8)}
        assert all(problem.column == "mine" for problem in report.problems), "only the extensions are told"

    def test_one_that_is_not_there(self, slides: Path, form: str) -> None:
        (error,) = errors(check(slides, ["slide_id", "case_id", "label"], write=FORMATS[form], label_column="grade"))
        assert (error.row, error.column) == (1, "grade")
        assert "'slide_id', 'case_id', 'label'" in error.message

    def test_one_that_is_there_twice(self, slides: Path, form: str) -> None:
        header = ["slide_id", "case_id", "label", "grade", "grade"]
        rows = [[*cells, "a", "b"] for cells in CELLS]
        (error,) = errors(check(slides, header, rows, FORMATS[form], label_column="grade"))
        assert "2 columns of that name" in error.message

    def test_problems_name_it(self, slides: Path, form: str) -> None:
        rows = [*CELLS[:-1], ["s7", "p7", "NA"]]
        report = check(slides, ["slide_id", "case_id", "Grade"], rows, FORMATS[form], label_column="grade")
        assert (errors(report)[0].row, errors(report)[0].column) == (9, "Grade")


@given(
    st.lists(
        st.sampled_from([*ALIASES["slide_id"], *ALIASES["label"], *ALIASES["case_id"], "note"]), unique=True, max_size=6
    ),
    st.sampled_from(sorted(FORMATS)),
    st.randoms(use_true_random=False),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_aliases_beside_the_roles_own_names_change_nothing(slides: Path, more: list[str], form: str, rng) -> None:  # type: ignore[no-untyped-def]
    header = ["slide_id", "case_id", "label", *more]
    order = list(range(len(header)))
    rng.shuffle(order)
    rows = [[*cells, *(f"x{n % 3}" for _ in more)] for n, cells in enumerate(CELLS)]
    report = check(slides, [header[i] for i in order], [[row[i] for i in order] for row in rows], FORMATS[form])
    assert checked(report) == checked(check(slides, ["slide_id", "case_id", "label"]))
    beside = {name for name in more if name != "note"}
    told = " ".join(problem.message for problem in report.problems)
    assert all(f"'{name}'" in told for name in beside) and bool(beside) == bool(report.problems)


@pytest.mark.parametrize(
    ("own", "alias"), [("slide_id", "filename"), ("case_id", "submitter_id"), ("label", "class"), ("fold", "fold_k")]
)
def test_an_empty_column_does_not_win(slides: Path, own: str, alias: str) -> None:
    header = ["slide_id", "case_id", "label", "fold"]
    rows = [[*cells, str(n // 2 % 3)] for n, cells in enumerate(CELLS)]
    place = header.index(own)
    moved = [[*cells[:place], "", *cells[place + 1 :], cells[place]] for cells in rows]
    report = check(slides, [*header, alias], moved)
    assert checked(report) == checked(check(slides, header, rows))
    (problem,) = report.problems
    assert problem.severity == "warning" and f"'{alias}' is read for {own}; '{own}' is not" in problem.message


def test_a_list_with_um_per_px_beside_the_label(slides: Path) -> None:
    rows = [[f"/data/{slide}.svs", case, label, "0.25"] for slide, case, label in CELLS]
    for name in ("mpp", "MPP", "um/px", "um_per_px"):
        cohort = checked(check(slides, ["wsi", "patient", "label", name], rows))
        assert {slide.mpp for slide in cohort.slides} == {0.25}


class TestPositive:
    @pytest.mark.parametrize("form", FORMATS)
    @pytest.mark.parametrize(("first", "second"), [("a", "b"), ("0", "1"), ("-1", "1"), ("normal", "tumour")])
    def test_the_chosen_class_is_last(self, slides: Path, form: str, first: str, second: str) -> None:
        rows = [[slide, case, second if label == "b" else first] for slide, case, label in CELLS]
        for positive, classes in ((first, (second, first)), (second, (first, second))):
            report = check(slides, ["slide_id", "case_id", "label"], rows, FORMATS[form], positive=positive)
            assert checked(report).classes == classes and report.problems == ()

    @pytest.mark.parametrize("positive", ["c", "A", "ab"])
    def test_one_that_is_not_there(self, slides: Path, positive: str) -> None:
        (error,) = errors(check(slides, ["slide_id", "case_id", "label"], positive=positive))
        assert f"'a', 'b'; got '{positive}'" in error.message and error.column == "label"

    def test_of_three_none_is_positive(self, slides: Path) -> None:
        rows = [[slide, case, "c" if n in (0, 3, 5) else label] for n, (slide, case, label) in enumerate(CELLS)]
        found = errors(check(slides, ["slide_id", "case_id", "label"], rows, positive="c"))
        assert any("two classes where one is chosen" in error.message for error in found)


class TestMissingOrAClass:
    @pytest.mark.parametrize("word", ["None", "NA", "nan", "n/a", "null", "<NA>"])
    def test_a_word_for_missing_says_how_to_make_it_a_class(self, slides: Path, word: str) -> None:
        rows = [[slide, case, word if label == "a" else label] for slide, case, label in CELLS]
        found = [error for error in errors(check(slides, ["slide_id", "case_id", "label"], rows)) if error.row]
        assert [error.row for error in found] == [2, 4, 6, 8]
        assert all("missing value" in error.message and f"'{word}' is a class" in error.hint for error in found)
        assert all("delete the row" in error.hint.casefold() for error in found)
        renamed = [[slide, case, "other" if label == "a" else label] for slide, case, label in CELLS]
        assert checked(check(slides, ["slide_id", "case_id", "label"], renamed)).classes == ("b", "other")

    @pytest.mark.parametrize("word", ["", "#N/A", "#REF!"])
    def test_an_empty_cell_is_no_class(self, slides: Path, word: str) -> None:
        rows = [*CELLS[:-1], ["s7", "p7", word]]
        error = errors(check(slides, ["slide_id", "case_id", "label"], rows))[0]
        assert error.row == 9 and "is a class" not in error.hint


class TestOptions:
    def test_they_come_back_from_plain_values(self) -> None:
        options = TableOptions(slide_column="a b", positive="-1", skip_missing=True)
        assert options_from_dict({"slide_column": "a b", "positive": "-1", "skip_missing": True}) == options
        assert options.arguments == ["--slide-column=a b", "--positive=-1", "--skip-missing"]
        assert TableOptions().arguments == []

    @pytest.mark.parametrize("values", [3, [], {"slide": "a"}, {"slide_column": 3}, {"skip_missing": "yes"}])
    def test_what_is_none(self, values: object) -> None:
        with pytest.raises(FormatError, match="labels table"):
            options_from_dict(values)

    def test_a_table_that_is_read_alone(self, slides: Path) -> None:
        table = workbook(slides.parent, [["File", "Grade"], ["s0", "a"]])
        labels = read_labels(table, TableOptions(label_column="Grade"))
        assert labels.columns == {"slide_id": "File", "label": "Grade"} and not labels.by_patient
