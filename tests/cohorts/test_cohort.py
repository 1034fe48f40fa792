"""Every trouble of a labels table has its own message, all come at once, and none depends on the order of rows."""

import dataclasses
import pickle
import random
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import openpyxl
import pytest

from lrmil.cohorts.cohort import Cohort, CohortReport, Problem, SlideRecord, validate_cohort
from lrmil.errors import CohortError, ConfigError
from lrmil.tasks.classification import Classification

HEADER = "slide_id,case_id,label"
ROWS = [f"s{n:02},p{n:02},{'tumour' if n % 2 else 'normal'}" for n in range(12)]  # six cases of each class


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A slide folder with s00.svs to s11.svs, some of them in a subfolder; nothing opens them."""
    slides = tmp_path / "slides"
    (slides / "deeper").mkdir(parents=True)
    for n in range(12):
        (slides / ("deeper" if n > 8 else "") / f"s{n:02}.svs").touch()
    return slides


def check(
    folder: Path, rows: Sequence[str] = ROWS, header: str = HEADER, *, name: str = "labels.csv", folds: int = 5
) -> CohortReport:
    table = folder.parent / name
    table.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return validate_cohort(folder, table, folds=folds)


def checked(report: CohortReport) -> Cohort:
    assert report.cohort is not None, report.problems
    return report.cohort


def only(report: CohortReport) -> Problem:
    (problem,) = report.problems
    return problem


def with_column(header: str, values: Sequence[str]) -> tuple[str, list[str]]:
    return f"{HEADER},{header}", [f"{row},{value}" for row, value in zip(ROWS, values, strict=True)]


def replaced(index: int, row: str) -> list[str]:
    return [*ROWS[:index], row, *ROWS[index + 1 :]]


class TestLookUps:
    @pytest.fixture
    def cohort(self) -> Cohort:
        labels = {"c": "yes", "a": "no", "b": "yes"}
        slides = tuple(SlideRecord(name, Path(f"{name}.svs"), label, name) for name, label in labels.items())
        return Cohort(slides, Classification(("no", "yes")))

    def test_slides_are_read_once_for_any_number_of_look_ups(self, cohort: Cohort) -> None:
        class Counted(tuple[SlideRecord, ...]):
            read = 0

            def __iter__(self) -> Iterator[SlideRecord]:
                Counted.read += 1
                return super().__iter__()

        counted = Cohort(Counted(cohort.slides), cohort.task)
        for slide in cohort.slides * 10:
            assert counted.by_id[slide.slide_id] == slide and counted.cases[slide.case_id] == (slide.label,)
            assert counted.targets[slide.slide_id] == counted.classes.index(slide.label)
        assert Counted.read == 3  # by_id, cases and targets

    def test_what_was_looked_up_changes_no_value(self, cohort: Cohort) -> None:
        other = Cohort(cohort.slides, cohort.task)
        assert cohort.targets == {"a": 0, "b": 1, "c": 1} and cohort.by_id["a"].label == "no"
        assert cohort == other and hash(cohort) == hash(other) and repr(cohort) == repr(other)
        assert pickle.loads(pickle.dumps(cohort)) == other

    def test_a_changed_cohort_has_look_ups_of_its_own(self, cohort: Cohort) -> None:
        assert cohort.targets["a"] == 0 and cohort.by_id.keys() == {"a", "b", "c"}
        changed = dataclasses.replace(cohort, slides=cohort.slides[:2], task=Classification(("yes", "no")))
        assert changed.targets["a"] == 1 and changed.by_id.keys() == changed.cases.keys() == {"a", "c"}

    def test_it_stays_frozen(self, cohort: Cohort) -> None:
        for name in ("slides", "task", "by_id"):
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(cohort, name, ())


class TestGood:
    def test_a_clean_table_has_no_problems(self, folder: Path) -> None:
        report = check(folder)
        assert report.ok and report.problems == ()
        cohort = checked(report)
        assert [slide.slide_id for slide in cohort.slides] == [f"s{n:02}" for n in range(12)]
        assert cohort.by_id["s11"].path == folder / "deeper" / "s11.svs"
        assert cohort.by_id["s11"].case_id == "p11" and cohort.by_id["s11"].label == "tumour"
        assert cohort.case_labels["p00"] == "normal" and len(cohort.case_labels) == 12
        assert cohort.split_by is None
        assert cohort.targets["s00"] == 0 and cohort.targets["s01"] == 1

    def test_slides_may_be_a_list_of_files(self, folder: Path) -> None:
        table = folder.parent / "labels.csv"
        table.write_text("\n".join([HEADER, *ROWS]))
        report = validate_cohort([str(path) for path in folder.rglob("*.svs")], str(table))
        assert report.ok and report.problems == ()

    @pytest.mark.parametrize(
        ("names", "classes"),
        [
            (("tumour", "normal"), ("normal", "tumour")),
            (("Carcinoma", "Normal tissue"), ("Normal tissue", "Carcinoma")),
            (("mutant", "wild-type"), ("wild-type", "mutant")),
            (("ER+", "ER-"), ("ER-", "ER+")),
            (("metastatic", "non-metastatic"), ("non-metastatic", "metastatic")),
            (("1", "0"), ("0", "1")),
            (("LUSC", "LUAD"), ("LUAD", "LUSC")),
        ],
    )
    def test_the_negative_of_two_classes_comes_first(
        self, folder: Path, names: tuple[str, str], classes: tuple[str, str]
    ) -> None:
        rows = [f"s{n:02},p{n:02},{names[n % 2]}" for n in range(12)]
        assert checked(check(folder, rows)).classes == classes

    def test_three_classes_are_sorted(self, folder: Path) -> None:
        rows = [f"s{n:02},p{n:02},{('c', 'a', 'normal')[n % 3]}" for n in range(12)]
        assert checked(check(folder, rows, folds=4)).classes == ("a", "c", "normal")

    def test_optional_columns_are_kept(self, folder: Path) -> None:
        values = [f"{'0.25' if n else ''},{'NA' if n == 1 else 'site'},{n % 3 + 1}" for n in range(12)]
        rows = [f"s{n:02},p{n:02},{'tumour' if n % 2 else 'normal'},{values[n]}" for n in range(12)]
        cohort = checked(check(folder, rows, HEADER + ",mpp,site,fold"))
        assert [slide.mpp for slide in cohort.slides[:2]] == [None, 0.25]
        assert [slide.site for slide in cohort.slides[:2]] == ["site", None]
        assert [slide.fold for slide in cohort.slides[:3]] == ["1", "2", "3"]
        assert cohort.split_by == "fold"

    def test_blank_optional_columns_count_as_absent(self, folder: Path) -> None:
        report = check(folder, [f"{row},,," for row in ROWS], HEADER + ",split,fold,mpp")
        assert report.ok and report.problems == () and checked(report).split_by is None


class TestReading:
    @pytest.mark.parametrize("separator", [",", ";", "\t"])
    @pytest.mark.parametrize("newline", ["\n", "\r\n"])
    @pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    def test_text_tables(self, folder: Path, separator: str, newline: str, encoding: str) -> None:
        (folder / "Müller.svs").touch()
        lines = [line.replace(",", separator) for line in [HEADER, *ROWS, "Müller,p12,tumour"]]
        table = folder.parent / "labels.csv"
        table.write_bytes((newline.join(lines) + newline).encode(encoding))
        report = validate_cohort(folder, table)
        assert report.problems == ()
        assert "Müller" in checked(report).by_id

    def test_ids_stay_text(self, tmp_path: Path) -> None:
        names = ["001", "1e5", "1.50", "007", "TRUE", "1_000"]
        for name in names:
            (tmp_path / f"{name}.svs").touch()
        rows = [f"{name},00{n},{n % 2}" for n, name in enumerate(names)]
        table = tmp_path / "labels.tsv"
        table.write_text("\n".join([HEADER, *rows]).replace(",", "\t"))
        cohort = checked(validate_cohort(tmp_path, table, folds=3))
        assert sorted(cohort.by_id) == sorted(names)
        assert cohort.by_id["1e5"].case_id == "001" and cohort.by_id["1e5"].label == "1"

    def test_xlsx_keeps_text_and_shows_padded_numbers(self, tmp_path: Path) -> None:
        book = openpyxl.Workbook()
        sheet = book.worksheets[0]
        sheet.append(["slide_id", "case_id", "label"])
        for n in range(8):
            (tmp_path / f"00{n}.svs").touch()
            sheet.append([f"00{n}" if n else 0, n, " yes " if n % 2 else "no"])
        sheet.cell(2, 1).number_format = "000"
        for column, value in enumerate(["ghost", "p9", "no"], start=1):
            sheet.cell(12, column).value = value
        book.save(tmp_path / "labels.xlsx")
        report = validate_cohort(tmp_path, tmp_path / "labels.xlsx", folds=3)
        assert {problem.row for problem in report.problems} == {12}, "blank rows are counted and left out"
        sheet.delete_rows(12)
        book.save(tmp_path / "labels.xlsx")
        cohort = checked(validate_cohort(tmp_path, tmp_path / "labels.xlsx", folds=3))
        assert [slide.slide_id for slide in cohort.slides] == [f"00{n}" for n in range(8)]
        assert cohort.classes == ("no", "yes") and cohort.by_id["003"].case_id == "3"

    def test_spaces_are_trimmed_and_commas_may_be_quoted(self, folder: Path) -> None:
        rows = [row.replace("tumour", ' "tumour, invasive"').replace(",", " , ", 1) for row in ROWS]
        assert checked(check(folder, rows, " slide_id ,case_id, label")).classes == ("normal", "tumour, invasive")

    def test_blank_rows_do_not_shift_the_row_numbers(self, folder: Path) -> None:
        problem = only(check(folder, [*ROWS[:3], "", ",,", *ROWS[3:], "ghost,p,normal"]))
        assert problem.row == 16

    def test_too_many_values_in_a_row(self, folder: Path) -> None:
        problem = only(check(folder, replaced(2, ROWS[2] + ",more")))
        assert (problem.row, problem.severity) == (4, "error") and "quotes" in problem.hint

    @pytest.mark.parametrize(
        ("name", "content", "message"),
        [
            ("absent.csv", None, "no labels table"),
            ("empty.csv", b"", "empty"),
            ("blank.csv", b"\n , \n", "empty"),
            ("headless.csv", b",,\ns00,p00,normal\n", "first row"),
            ("binary.csv", b"PK\x03\x04\x00\x00", "binary"),
            ("quote.csv", b'slide_id,label\n"s00,normal\n', "cannot be read"),
            ("broken.xlsx", b"not a workbook", "cannot be read"),
            ("old.xls", b"whatever", "Save it as CSV"),
        ],
    )
    def test_what_is_no_table(self, folder: Path, name: str, content: bytes | None, message: str) -> None:
        table = folder.parent / name
        if content is not None:
            table.write_bytes(content)
        with pytest.raises(CohortError, match=message):
            validate_cohort(folder, table)


class TestColumns:
    @pytest.mark.parametrize("slide", ["SLIDE", "slide_name", "FILENAME", "file", "Image", "wsi", "image id"])
    @pytest.mark.parametrize("label", ["class", "Target", "y", "DIAGNOSIS"])
    def test_aliases_of_slide_and_label(self, folder: Path, slide: str, label: str) -> None:
        assert check(folder, header=f"{slide},case_id,{label}").problems == ()

    @pytest.mark.parametrize("case", ["case", "Patient", "patient_id", "P_ID", "PATIENT", "submitter_id"])
    def test_aliases_of_case(self, folder: Path, case: str) -> None:
        report = check(folder, header=f"slide_id,{case},label")
        assert report.problems == () and "p00" in checked(report).case_labels

    def test_missing_columns_list_what_came(self, folder: Path) -> None:
        report = check(folder, header="foo,case_id,bar")
        assert not report.ok and report.cohort is None
        assert [problem.column for problem in report.problems] == ["label", "slide_id"]
        assert all("'foo', 'case_id', 'bar'" in problem.message for problem in report.problems)

    @pytest.mark.parametrize("header", ["slide_id,case_id,label,label", "slide_id,case_id,class,Diagnosis"])
    def test_two_columns_for_one_role(self, folder: Path, header: str) -> None:
        report = check(folder, [f"{row},x" for row in ROWS], header)
        problem = only(report)
        assert not report.ok and problem.column == "label"
        assert "one column for label; got '" in problem.message and "--label-column" in problem.hint

    @pytest.mark.parametrize(
        ("own", "alias"),
        [("label", "Diagnosis"), ("slide_id", "filename"), ("Slide ID", "wsi"), ("case_id", "submitter_id")],
    )
    @pytest.mark.parametrize("first", [True, False])
    def test_a_column_of_the_role_s_own_name_wins(self, folder: Path, own: str, alias: str, first: bool) -> None:
        names = {"label": "label", "slide_id": "slide_id", "case_id": "case_id"}
        names[own.lower().replace(" ", "_")] = own
        header, rows = ",".join(names[name] for name in ("slide_id", "case_id", "label")), ROWS
        header = f"{alias},{header}" if first else f"{header},{alias}"
        report = check(folder, [f"s05,{row}" if first else f"{row},s05" for row in rows], header)
        assert report.ok and checked(report) == checked(check(folder))
        problem = only(report)
        assert (problem.row, problem.column, problem.severity) == (1, own, "warning")
        assert f"'{alias}' is not" in problem.message

    def test_problems_name_the_column_as_the_table_does(self, folder: Path) -> None:
        assert only(check(folder, replaced(0, "s00,p00,"), "slide_id,case_id,Diagnosis")).column == "Diagnosis"


class TestSlides:
    def test_an_unknown_slide_gets_the_closest_name(self, folder: Path) -> None:
        report = check(folder, replaced(7, "s_07,p07,tumour"))
        assert [problem.row for problem in report.problems] == [None, 9]
        error = report.problems[1]
        assert error.severity == "error" and "'s_07'" in error.message and "'s07'" in error.hint
        assert "among 12 slides" in error.message

    def test_a_slide_without_a_row_is_a_warning(self, folder: Path) -> None:
        report = check(folder, ROWS[:-1])
        assert report.ok and only(report).severity == "warning" and "'s11'" in only(report).message
        assert "s11" not in checked(report).by_id

    @pytest.mark.parametrize("name", ["s00.svs", "deeper/s00.svs", r"C:\scans\s00.svs", "s00.ome.tif"])
    def test_an_extension_is_tolerated(self, folder: Path, name: str) -> None:
        report = check(folder, replaced(0, f"{name},p00,normal"))
        assert report.ok and only(report).severity == "warning" and f"'{name}' as 's00'" in only(report).message
        assert checked(report).by_id["s00"].case_id == "p00"

    @pytest.mark.parametrize("name", ["s00.ome.tiff", "s00.h5", "s00.pt", "S00/s00.NDPI", "s00.ome.zarr"])
    def test_extensions_of_other_files_of_a_slide_are_tolerated(self, folder: Path, name: str) -> None:
        report = check(folder, replaced(0, f"{name},p00,normal"))
        assert report.ok and f"'{name}' as 's00'" in only(report).message and "s00" in checked(report).by_id

    def test_many_of_them_are_one_warning(self, folder: Path) -> None:
        report = check(folder, [row.replace(",", ".svs,", 1) for row in ROWS])
        assert report.ok and f"{len(ROWS)} of the names" in only(report).message and "2 more" in only(report).message

    @pytest.mark.parametrize(("name", "close"), [("S07", "s07"), ("S07.SVS", "s07"), ("s 07", "s07")])
    def test_another_case_or_a_space_gets_the_closest_name(self, folder: Path, name: str, close: str) -> None:
        error = check(folder, replaced(7, f"{name},p07,tumour")).problems[1]
        assert error.severity == "error" and f"Did you mean '{close}'?" == error.hint

    def test_names_that_lost_their_zeros_are_offered_in_every_row(self, tmp_path: Path) -> None:
        names = [f"{n:03}" for n in range(1, 31)] + ["Case-007_B01"]
        (tmp_path / "slides").mkdir()
        for name in names:
            (tmp_path / "slides" / f"{name}.svs").touch()
        written = [name.lstrip("0") for name in names[:-1]] + ["CASE-7_b1.svs"]
        report = check(tmp_path / "slides", [f"{name},p{n},{n % 2}" for n, name in enumerate(written)])
        hints = {problem.row: problem.hint for problem in report.problems if "slide file named" in problem.message}
        assert not report.ok and len(hints) == 31
        for row, name in enumerate(names, start=2):
            assert hints[row] == (
                f"Did you mean '{name}'? A spreadsheet drops zeros before a number: format the column as text."
            )

    def test_of_names_that_differ_in_zeros_one_without_a_row_is_offered(self, folder: Path) -> None:
        (folder / "s007.svs").touch()
        assert "'s007'" in check(folder, [*ROWS, "s7,p12,tumour"]).problems[-1].hint
        both = check(folder, [*ROWS[:7], *ROWS[8:], "s7,p12,tumour"]).problems[-1]
        assert both.row == 13 and "'s007'" in both.hint, "of two without a row, the first by name"

    def test_closest_names_are_looked_up_for_a_few_rows_only(self, folder: Path) -> None:
        report = check(folder, [*ROWS, *(f"s_{n:02},p{n:02},normal" for n in range(11))])
        hints = [problem.hint for problem in report.problems if problem.severity == "error"]
        assert sum(hint.startswith("Did you mean") for hint in hints) == 10

    def test_what_lies_in_the_working_folder_is_not_asked(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder.parent / "s07.old").touch()
        monkeypatch.chdir(folder.parent)
        assert not check(folder, replaced(7, "s07.old,p07,tumour")).ok

    def test_letters_of_two_signs_and_spaces_that_do_not_break_are_the_same_name(self, folder: Path) -> None:
        (folder / "Mu\u0308ller 1.svs").touch()  # as macOS writes ü into file names
        (folder / "B\u00a02.svs").touch()
        report = check(folder, [*ROWS, "M\u00fcller\u00a01,p12,normal", "B 2,p13,tumour"])
        assert report.problems == ()
        assert {"Mu\u0308ller 1", "B\u00a02"} < set(checked(report).by_id)

    def test_two_slides_that_differ_in_case_only(self, folder: Path) -> None:
        (folder / "deeper" / "S00.svs").touch()
        if (folder / "S01.svs").exists():
            pytest.skip("the file system knows no case")
        report = check(folder, [*ROWS, "S00,p00,normal"])
        assert report.ok and only(report).severity == "warning" and "'S00', 's00'" in only(report).message

    def test_a_wrong_folder_is_not_told_a_hundred_thousand_times(self, folder: Path) -> None:
        report = check(folder, [f"x{n},p{n},{'tumour' if n % 2 else 'normal'}" for n in range(3000)])
        errors = [problem.message for problem in report.problems if problem.severity == "error"]
        assert len(errors) == 1001 and any("2000 more rows have none" in message for message in errors)

    def test_a_dot_within_a_name_is_no_extension(self, folder: Path) -> None:
        (folder / "TCGA-01.8f3c.svs").touch()
        report = check(folder, [*ROWS, "TCGA-01.8f3c,p12,normal"])
        assert report.problems == () and "TCGA-01.8f3c" in checked(report).by_id

    def test_two_files_with_one_stem(self, folder: Path) -> None:
        (folder / "deeper" / "s00.tif").touch()
        problem = only(check(folder))
        assert problem.severity == "error" and problem.row is None
        assert "s00.svs" in problem.message and "s00.tif" in problem.message

    def test_a_missing_folder(self, folder: Path) -> None:
        (folder.parent / "labels.csv").write_text("\n".join([HEADER, *ROWS]))
        report = validate_cohort(folder / "nowhere", folder.parent / "labels.csv")
        assert not report.ok and "nowhere" in only(report).message

    def test_a_folder_without_slides(self, folder: Path) -> None:
        (folder.parent / "labels.csv").write_text("\n".join([HEADER, *ROWS]))
        (folder.parent / "empty").mkdir()
        report = validate_cohort(folder.parent / "empty", folder.parent / "labels.csv")
        assert not report.ok and "found none" in only(report).message

    def test_an_empty_slide_cell(self, folder: Path) -> None:
        problem = only(check(folder, [*ROWS, ",p12,normal"]))
        assert (problem.row, problem.column, problem.severity) == (14, "slide_id", "error")


class TestDuplicates:
    def test_equal_rows_are_merged(self, folder: Path) -> None:
        report = check(folder, [*ROWS, ROWS[3], "s03.svs,p03,tumour"])
        assert report.ok and len(checked(report).slides) == 12
        extension, merged = report.problems
        assert merged.row == 14 and "3 equal rows" in merged.message and "'s03.svs' as 's03'" in extension.message

    @pytest.mark.parametrize(
        ("row", "column"), [("s03,p03,normal", "label"), ("s03,p99,tumour", "case_id")], ids=["label", "case"]
    )
    def test_conflicting_rows(self, folder: Path, row: str, column: str) -> None:
        problem = only(check(folder, [*ROWS, row]))
        assert (problem.row, problem.column, problem.severity) == (14, column, "error")
        assert "'s03'" in problem.message and f"one {column}" in problem.message


class TestCases:
    def test_one_case_with_two_labels(self, folder: Path) -> None:
        report = check(folder, replaced(3, "s03,p00,tumour"))
        problem = only(report)
        assert (problem.row, problem.column, problem.severity) == (5, "label", "warning")
        assert "'p00'" in problem.message and "'normal'" in problem.message and "'s03'" in problem.message
        cohort = checked(report)
        assert (cohort.by_id["s00"].label, cohort.by_id["s03"].label) == ("normal", "tumour")
        assert cohort.cases["p00"] == ("normal", "tumour") and cohort.cases["p01"] == ("tumour",)
        assert "p00" not in cohort.case_labels and cohort.case_labels["p01"] == "tumour"

    @pytest.mark.parametrize("columns", ["", "fold", "split"])
    def test_many_cases_with_two_labels_are_one_warning(self, folder: Path, columns: str) -> None:
        part = {"": [""] * 6, "fold": [*"001122"], "split": ["train", "train", "val", "val", "test", "test"]}[columns]
        header = f"{HEADER},{columns}" if columns else HEADER
        rows = [f"s{n:02},p{n // 2},{'tumour' if n % 2 else 'normal'},{part[n // 2]}".rstrip(",") for n in range(12)]
        report = check(folder, rows, header, folds=3)
        assert report.ok and only(report).severity == "warning" and only(report).row is None
        assert "6 of 6 cases" in only(report).message and len(checked(report).cases) == 6

    @pytest.mark.parametrize(("header", "part"), [("fold", "01"), ("split", ["train", "test"])])
    def test_a_case_with_two_labels_still_stays_in_one_part(
        self, folder: Path, header: str, part: Sequence[str]
    ) -> None:
        rows = [f"s{n:02},p{n % 6 // 2},{'tumour' if n % 2 else 'normal'},{part[n // 6]}" for n in range(12)]
        errors = [
            problem
            for problem in check(folder, rows, f"{HEADER},{header}").problems
            if problem.severity == "error" and f"one {header} for case" in problem.message
        ]
        assert len(errors) == 3

    def test_cases_that_no_folds_can_keep_whole(self, folder: Path) -> None:
        """Three cases, each with two of three classes: whichever validates takes a class away from the training."""
        header, rows = "slide_id,case_id,label,split", []
        for n, (case, label) in enumerate(["pa", "pb", "qb", "qc", "rc", "ra", "ta", "tb", "tc"]):
            rows.append(f"s{n:02},{case},{label},{'test' if case == 't' else 'train'}")
        problems = check(folder, rows, header).problems
        assert ["cannot be" in problem.message for problem in problems if problem.severity == "error"] == [True]

    def test_a_table_that_is_only_evaluated(self, folder: Path) -> None:
        table = folder.parent / "labels.csv"
        table.write_text(f"{HEADER}\ns00,p00,tumour\ns01,p00,normal\n", encoding="utf-8")
        report = validate_cohort(folder, table, folds=None)
        assert report.ok and checked(report).cases == {"p00": ("normal", "tumour")}

    @pytest.mark.parametrize(("header", "values"), [("fold", ["0", "1", "2"]), ("split", ["train", "test", "val"])])
    def test_one_case_in_two_parts(self, folder: Path, header: str, values: list[str]) -> None:
        head, rows = with_column(header, [values[n // 2 % 3] for n in range(12)])
        assert check(folder, rows, head).problems == ()
        rows[2] = rows[2].replace("p02", "p00")
        problem = only(check(folder, rows, head))
        assert (problem.row, problem.column, problem.severity) == (4, header, "error") and "'p00'" in problem.message

    def test_missing_case_column(self, folder: Path) -> None:
        report = check(folder, [row[:4] + row[8:] for row in ROWS], "slide_id,label")
        problem = only(report)
        assert report.ok and problem.severity == "warning" and "straddle" in problem.hint
        assert checked(report).by_id["s04"].case_id == "s04"

    def test_some_cases_missing(self, folder: Path) -> None:
        report = check(folder, replaced(4, "s04,NA,normal"))
        assert report.ok and "Some rows lack a case_id" in only(report).message and "'s04'" in only(report).message
        assert checked(report).by_id["s04"].case_id == "s04"


class TestClasses:
    @pytest.mark.parametrize("label", ["", "nan", "NA", "null", "None", "?", "N/A"])
    def test_empty_labels(self, folder: Path, label: str) -> None:
        problem = only(check(folder, replaced(0, f"s00,p00,{label}")))
        assert (problem.row, problem.column, problem.severity) == (2, "label", "error")
        assert "'s00'" in problem.message and f"got '{label}'" in problem.message

    def test_a_short_row_has_an_empty_label(self, folder: Path) -> None:
        assert only(check(folder, replaced(0, "s00,p00"))).column == "label"

    def test_a_single_class(self, folder: Path) -> None:
        problem = only(check(folder, [row.replace("tumour", "normal") for row in ROWS]))
        assert problem.severity == "error" and "only 'normal'" in problem.message

    def test_two_spellings_of_a_class(self, folder: Path) -> None:
        rows = [*ROWS[:6], *(row.replace("tumour", "Tumour") for row in ROWS[6:])]
        problem = only(check(folder, rows, folds=3))
        assert problem.severity == "error" and "'Tumour', 'tumour'" in problem.message

    @pytest.mark.parametrize(
        ("first", "second", "mixed"),
        [("0", "1", False), ("0.0", "1.0", False), ("1.0", "0.0", False), ("0", "1.0", False), ("0", "0.0", True)],
    )
    def test_labels_that_are_numbers(self, folder: Path, first: str, second: str, mixed: bool) -> None:
        report = check(folder, [f"s{n:02},p{n:02},{second if n % 2 else first}" for n in range(12)])
        if mixed:
            assert "one spelling for a class; got '0', '0.0'" in only(report).message and not report.ok
        else:
            assert report.problems == () and checked(report).classes == tuple(sorted((first, second), key=float))

    def test_a_number_in_two_spellings(self, folder: Path) -> None:
        """pandas writes 1 as 1.0 in a column that once had an empty cell."""
        rows = [*(row.replace("tumour", "1").replace("normal", "0") for row in ROWS[:-1]), "s11,p11,1.0"]
        problems = check(folder, rows, folds=3).problems
        assert any(problem.severity == "error" and "got '1', '1.0'" in problem.message for problem in problems)

    def test_a_column_of_measurements_is_no_label(self, folder: Path) -> None:
        for n in range(12, 40):
            (folder / f"s{n}.svs").touch()
        report = check(folder, [f"s{n:02},p{n:02},{n / 7:.3f}" for n in range(40)])
        assert "got 40 classes in 40 cases" in only(report).message and "label column" in only(report).hint

    @pytest.mark.parametrize("label", ["#REF!", "#N/A", "#VALUE!", "<NA>"])
    def test_a_formula_without_a_value_is_no_label(self, folder: Path, label: str) -> None:
        assert f"got '{label}'" in only(check(folder, replaced(0, f"s00,p00,{label}"))).message

    def test_fewer_cases_than_folds(self, folder: Path) -> None:
        assert check(folder, folds=6).ok
        report = check(folder, folds=7)
        assert [problem.severity for problem in report.problems] == ["error", "error"]
        assert "7 cases of class 'normal'" in report.problems[0].message
        assert "Lower --folds to 6" in report.problems[0].hint

    def test_cases_are_counted_not_slides(self, folder: Path) -> None:
        rows = [f"s{n:02},{'one' if n % 2 else f'p{n}'},{'tumour' if n % 2 else 'normal'}" for n in range(12)]
        assert "got 1" in only(check(folder, rows, folds=3)).message

    def test_two_folds_need_four_cases(self, folder: Path) -> None:
        rows = [f"s{n:02},p{n:02},{'tumour' if n < 3 else 'normal'}" for n in range(12)]
        assert "Raise --folds to 3" in only(check(folder, rows, folds=2)).hint
        assert check(folder, rows, folds=3).ok

    def test_fold_column_frees_from_the_number_of_folds(self, folder: Path) -> None:
        header, rows = with_column("fold", [str(n // 2 % 3) for n in range(12)])
        assert check(folder, rows, header, folds=20).ok

    def test_fewer_than_two_folds(self, folder: Path) -> None:
        with pytest.raises(ConfigError, match="at least 2 folds"):
            check(folder, folds=1)


class TestSplitsAndFolds:
    def test_aliases_of_split(self, folder: Path) -> None:
        words = ["train", "Training", "train", "TRAIN", "val", "valid", "validation", "val", "test", "Testing"]
        header, rows = with_column("split", [*words, "test", "test"])
        cohort = checked(check(folder, rows, header))
        assert [slide.split for slide in cohort.slides] == ["train"] * 4 + ["val"] * 4 + ["test"] * 4
        assert cohort.split_by == "split"

    @pytest.mark.parametrize("word", ["holdout", ""])
    def test_other_words_in_split(self, folder: Path, word: str) -> None:
        header, rows = with_column("split", [word, *(("train", "train", "test", "test") * 3)[1:]])
        problem = only(check(folder, rows, header))
        assert (problem.row, problem.column, problem.severity) == (2, "split", "error")
        assert f"got '{word}'" in problem.message

    def test_split_wins_over_fold(self, folder: Path) -> None:
        header, rows = with_column("split,fold", ["train,0", "train,1", "test,1", "test,0"] * 3)
        report = check(folder, rows, header)
        assert report.ok and only(report).severity == "warning" and only(report).column == "fold"
        assert {slide.fold for slide in checked(report).slides} == {None}

    @pytest.mark.parametrize("missing", ["train", "test"])
    def test_no_train_or_no_test(self, folder: Path, missing: str) -> None:
        other = "test" if missing == "train" else "train"
        header, rows = with_column("split", [other] * 12)
        report = check(folder, rows, header)
        assert not report.ok and f"split '{missing}'; there are none" in only(report).message

    def test_class_absent_in_train(self, folder: Path) -> None:
        header, rows = with_column("split", ["train", "test"] * 5 + ["val", "val"])
        report = check(folder, rows, header)
        error = next(problem for problem in report.problems if problem.severity == "error")
        assert not report.ok and "class 'tumour' in train; got 0" in error.message

    def test_class_absent_in_test_or_val(self, folder: Path) -> None:
        header, rows = with_column("split", ["train"] * 9 + ["val", "test", "train"])
        report = check(folder, rows, header)
        assert report.ok and {problem.severity for problem in report.problems} == {"warning"}
        assert [problem.message[:30] for problem in report.problems] == [
            "Class 'normal' has no case in ",
            "Class 'tumour' has no case in ",
        ]

    def test_without_val_train_needs_two_of_each(self, folder: Path) -> None:
        header, rows = with_column("split", ["train"] * 3 + ["test"] * 9)
        assert "at least 2 cases of class 'tumour' in train; got 1" in only(check(folder, rows, header)).message

    def test_a_single_fold_value(self, folder: Path) -> None:
        header, rows = with_column("fold", ["0"] * 12)
        assert "only '0'" in only(check(folder, rows, header)).message

    def test_a_class_within_one_fold(self, folder: Path) -> None:
        header, rows = with_column("fold", ["a" if n % 2 else "bc"[n // 2 % 2] for n in range(12)])
        problem = only(check(folder, rows, header))
        assert "class 'tumour' outside fold 'a'; got 0" in problem.message and problem.severity == "error"

    @pytest.mark.parametrize("fold", ["", "../0"])
    def test_an_unusable_fold(self, folder: Path, fold: str) -> None:
        header, rows = with_column("fold", [fold, *[str(n // 2 % 3) for n in range(1, 12)]])
        assert (only(check(folder, rows, header)).row, only(check(folder, rows, header)).column) == (2, "fold")


class TestValues:
    def test_a_magnification_is_a_resolution(self, folder: Path) -> None:
        header, rows = with_column("mpp", ["40x", "20X", "2.5e-1", *["0.5"] * 9])
        report = check(folder, rows, header)
        assert report.problems == ()
        assert [slide.mpp for slide in checked(report).slides[:4]] == [0.25, 0.5, 0.25, 0.5]

    def test_a_decimal_comma_is_told(self, folder: Path) -> None:
        header, rows = with_column("mpp", ['"0,25"', *["0.5"] * 11])
        assert only(check(folder, rows, header)).hint.startswith("Write it with a decimal point, as in 0.25, or")

    @pytest.mark.parametrize("mpp", ["forty", "0,25", "0", "-0.5", "250", "inf", "5.01"])
    def test_implausible_mpp(self, folder: Path, mpp: str) -> None:
        header, rows = with_column("mpp", [f'"{mpp}"', *["0.5"] * 11])
        problem = only(check(folder, rows, header))
        assert (problem.row, problem.column, problem.severity) == (2, "mpp", "error") and f"'{mpp}'" in problem.message

    def test_a_site_that_gives_the_label_away(self, folder: Path) -> None:
        header, rows = with_column("site", ["north", "south"] * 6)
        report = check(folder, rows, header)
        assert report.ok and only(report).severity == "warning" and only(report).column == "site"

    @pytest.mark.parametrize(
        ("sites", "warned"),
        [
            (["north", "south"] * 5 + ["south", "south"], "92% of the cases; the commonest class is 50%"),
            (["north", "south"] * 4 + ["south", "north"] * 2, ""),  # 8 of 12
            ([f"site-{n // 2}" for n in range(12)], ""),
            (["alone", *["other"] * 11], ""),
        ],
    )
    def test_a_site_that_nearly_gives_the_label_away(self, folder: Path, sites: list[str], warned: str) -> None:
        header, rows = with_column("site", sites)
        report = check(folder, rows, header)
        assert report.ok and bool(report.problems) == bool(warned)
        assert not warned or (warned in only(report).message and only(report).column == "site")

    def test_a_name_that_a_spreadsheet_cut_short(self, folder: Path) -> None:
        problem = only(check(folder, replaced(2, "s02,1.23457E+19,normal")))
        assert (problem.row, problem.column, problem.severity) == (4, "case_id", "warning")
        assert "cut short" in problem.message and "as text" in problem.hint

    def test_an_empty_table(self, folder: Path) -> None:
        report = check(folder, [])
        assert not report.ok and report.cohort is None and "no rows" in only(report).message


TROUBLES = [
    *ROWS[:7],
    "s07,p00,tumour",
    "s08,p08,normal",
    "s09.svs,p00,tumour",
    "s09,p00,tumour",
    "s10,p10,",
    "s_11,p11,tumour",
    "s01,p01,normal",
    ",p01,normal",
]


def test_all_problems_come_in_one_report(folder: Path) -> None:
    report = check(folder, TROUBLES)
    text = " ".join(problem.message for problem in report.problems)
    for part in ["'s_11'", "2 equal rows", "case 'p00'", "class name", "one label for slide 's01'", "cell is empty"]:
        assert part in text


@pytest.mark.parametrize("seed", range(5))
def test_the_order_of_rows_does_not_matter(folder: Path, seed: int) -> None:
    def found(report: CohortReport) -> set[tuple[str | None, str, str, str]]:
        return {(problem.column, problem.message, problem.hint, problem.severity) for problem in report.problems}

    shuffled, good = TROUBLES.copy(), ROWS.copy()
    random.Random(seed).shuffle(shuffled)
    random.Random(seed).shuffle(good)
    assert found(check(folder, shuffled)) == found(check(folder, TROUBLES))
    assert check(folder, good).cohort == check(folder).cohort


def test_a_table_that_is_only_evaluated_may_hold_one_class_and_few_cases(folder: Path) -> None:
    table = folder.parent / "labels.csv"
    table.write_text(f"{HEADER}\ns00,p00,tumour\ns01,p01,tumour\n", encoding="utf-8")
    assert validate_cohort(folder, table, folds=None).ok
    assert not validate_cohort(folder, table, folds=2).ok


@pytest.mark.parametrize(
    ("header", "values"),
    [("label,fold", "{odd},{n}"), ("label,site", "{half},here"), ("label,fold", "{half},{half}")],
    ids=["fold", "label", "both"],
)
def test_columns_of_ten_thousands_of_values_take_seconds(folder: Path, header: str, values: str) -> None:
    """Where names stand in place of labels, folds or sites, what is checked for each of them must not look at all."""
    rows = [f"s{n:02},p{n}," + values.format(n=n, odd=n % 2, half=n // 2) for n in range(20_000)]
    start = time.process_time()
    assert not check(folder, rows, f"slide_id,case_id,{header}").ok
    assert time.process_time() - start < 10  # 1 s where nothing else runs


def test_a_hundred_thousand_rows_and_slides_take_seconds(tmp_path: Path) -> None:
    (tmp_path / "slides").mkdir()
    for n in range(10_000):
        (tmp_path / "slides" / f"s{n}.svs").touch()
    rows = [f"s{n},p{n},{'tumour' if n % 2 else 'normal'}" for n in range(100_000)]
    start = time.process_time()
    report = check(tmp_path / "slides", rows)
    assert len(report.problems) == 1001
    report = check(tmp_path / "slides", rows[:10_000])
    assert report.problems == () and len(checked(report).slides) == 10_000
    assert time.process_time() - start < 60  # 6 s where nothing else runs
