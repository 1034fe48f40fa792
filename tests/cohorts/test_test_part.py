"""A test part that is drawn: whole cases, as a split column would name them, or an error that says why not."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.cohorts.cohort import validate_cohort
from lrmil.cohorts.splits import folds_and_final
from lrmil.cohorts.test_part import cohort_to_train, with_test_part
from lrmil.configs import TrainConfig
from lrmil.errors import CohortError
from support.cohort_tables import HEADER, ROWS, check, checked, make_slide_folder, with_column

PLAN = TrainConfig(test_fraction=0.34)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_slide_folder(tmp_path)


def table(folder: Path, rows: list[str], header: str = HEADER) -> Path:
    path = folder.parent / "labels.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_the_run_behaves_as_with_a_split_column_and_ships_what_it_tests(folder: Path) -> None:
    _, cohort = cohort_to_train(folder, table(folder, ROWS), PLAN)
    assert cohort.split_by == "split" and {slide.split for slide in cohort.slides} == {"train", "test"}
    (fold,), final = folds_and_final(cohort, folds=5, val_fraction=0.2, seed=0)
    assert final is fold and fold.name == "fold-0" and len(fold.test) == 4
    assert {slide.slide_id for slide in cohort.slides if slide.split == "test"} == set(fold.test)
    again, same = folds_and_final(cohort, folds=5, val_fraction=0.2, seed=0)
    assert (again, same) == ((fold,), final)


def test_a_share_of_zero_leaves_the_folds(folder: Path) -> None:
    _, cohort = cohort_to_train(folder, table(folder, ROWS), TrainConfig())
    assert cohort.split_by is None


def test_the_order_of_the_table_moves_no_slide(folder: Path) -> None:
    _, cohort = cohort_to_train(folder, table(folder, ROWS), PLAN)
    _, turned = cohort_to_train(folder, table(folder, ROWS[::-1]), PLAN)
    assert turned == cohort


def test_all_slides_of_a_case_are_in_one_part(folder: Path) -> None:
    rows = [f"s{n:02},p{n // 2},{'tumour' if n // 2 % 2 else 'normal'}" for n in range(12)]
    _, cohort = cohort_to_train(folder, table(folder, rows), PLAN)
    parts = {(slide.case_id, slide.split) for slide in cohort.slides}
    assert len(parts) == 6 and sum(part == "test" for _, part in parts) == 2


@pytest.mark.parametrize(
    ("column", "values"), [("split", ["train"] * 8 + ["test"] * 4), ("fold", [str(n // 2 % 3) for n in range(12)])]
)
def test_a_table_that_names_its_test_slides_is_contradicted(folder: Path, column: str, values: list[str]) -> None:
    header, rows = with_column(column, values)
    report = validate_cohort(folder, table(folder, rows, header), test_fraction=0.2)
    (problem,) = [one for one in report.problems if one.severity == "error"]
    assert problem.column == column and "test-fraction" in problem.message + problem.hint
    assert validate_cohort(folder, table(folder, rows, header)).ok
    with pytest.raises(CohortError, match="test-fraction"):
        cohort_to_train(folder, table(folder, rows, header), PLAN)


@pytest.mark.parametrize(("cases", "enough"), [(2, False), (3, True)])
def test_each_class_needs_a_case_to_train_validate_and_test_on(folder: Path, cases: int, enough: bool) -> None:
    rows = [f"s{n:02},p{n},{'tumour' if n < cases else 'normal'}" for n in range(12)]
    report = validate_cohort(folder, table(folder, rows), test_fraction=0.2)
    assert report.ok == enough
    if not enough:
        assert "'tumour'" in next(one.message for one in report.problems if one.severity == "error")


def test_cases_of_several_labels_stay_whole(folder: Path) -> None:
    rows = [f"s{n:02},p{n // 4},{('normal', 'tumour', 'other')[n % 3]}" for n in range(12)]
    _, cohort = cohort_to_train(folder, table(folder, rows), TrainConfig(test_fraction=0.9))
    assert len({slide.case_id for slide in cohort.slides if slide.split == "test"}) == 1  # one trains, one validates


def test_cases_that_cannot_be_divided_are_no_test_part(folder: Path) -> None:
    cohort = checked(check(folder))
    with pytest.raises(CohortError, match="add cases"):
        with_test_part(replace(cohort, slides=cohort.slides[:4]), fraction=0.5, seed=0)
