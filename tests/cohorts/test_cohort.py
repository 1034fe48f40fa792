"""Every trouble of a labels table has its own message, all come at once, and none depends on the order of rows."""

import dataclasses
import pickle
import random
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from lrmil.cohorts.cohort import Cohort, CohortReport, SlideRecord, validate_cohort
from lrmil.tasks.classification import Classification
from support.cohort_tables import HEADER, ROWS, check, checked, only, replaced


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
    for part in ["'s_11'", "2 equal rows", "case 'p00'", "class name", "one label for slide 's01'", "empty"]:
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
