"""Which slide a row is about, and the closest name where there is none."""

from pathlib import Path

import pytest

from lrmil.cohorts.cohort import validate_cohort
from support.cohort_tables import HEADER, ROWS, check, checked, only, replaced


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
        hints = {problem.row: problem.hint for problem in report.problems if problem.severity == "error"}
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
        assert len(errors) == 1001 and any("2000 more rows" in message for message in errors)

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
        assert not report.ok and "no slide" in only(report).message

    def test_an_empty_slide_cell(self, folder: Path) -> None:
        problem = only(check(folder, [*ROWS, ",p12,normal"]))
        assert (problem.row, problem.column, problem.severity) == (14, "slide_id", "error")
