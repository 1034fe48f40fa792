"""Cases, classes, parts and sites of a table: each trouble has its own message."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from lrmil.cohorts.cohort import validate_cohort
from lrmil.errors import ConfigError
from support.cohort_tables import HEADER, ROWS, check, checked, only, replaced, with_column


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
        assert report.ok and problem.severity == "warning" and "case_id" in problem.hint
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
        assert "'s00'" in problem.message and f"got {repr(label) if label else 'nothing'}" in problem.message

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
        """Pandas writes 1 as 1.0 in a column that once had an empty cell."""
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

    @pytest.mark.parametrize(
        ("rare", "common", "warned"), [(4, 20, True), (4, 19, False), (5, 25, True), (25, 5, True)]
    )
    def test_a_class_that_is_five_times_as_rare(self, tmp_path: Path, rare: int, common: int, warned: bool) -> None:
        labels = ["tumour"] * rare + ["normal"] * common
        (tmp_path / "all").mkdir()
        for number in range(len(labels)):
            (tmp_path / f"all/s{number:02}.svs").touch()
        report = check(tmp_path / "all", [f"s{n:02},p{n},{label}" for n, label in enumerate(labels)], folds=4)
        assert report.ok and len(report.problems) == warned
        if warned:
            assert "mil.balance" in only(report).hint and only(report).severity == "warning"
            fewest = ("tumour", rare) if rare < common else ("normal", common)
            assert "Class '{}' has {} cases".format(*fewest) in only(report).message

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
        assert f"got {repr(word) if word else 'nothing'}" in problem.message

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
        assert not report.ok and f"split '{missing}'" in only(report).message

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
        assert "'1.23457E+19'" in problem.message and "as text" in problem.hint

    def test_an_empty_table(self, folder: Path) -> None:
        report = check(folder, [])
        assert not report.ok and report.cohort is None and "no rows" in only(report).message
