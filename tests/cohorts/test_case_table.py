"""The case of each slide from a table: labels may be absent, and no slide gets a case that is not certain."""

from pathlib import Path

import pytest

from lrmil.cohorts.case_table import MAX_PROBLEMS, Cases, case_of_each, read_cases
from lrmil.cohorts.labels import TableOptions
from lrmil.errors import CohortError

SLIDES = ["a_1", "a_2", "b", "c"]


def write(folder: Path, text: str) -> Path:
    path = folder / "cases.csv"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "text",
    [
        "slide_id,case_id\na_1,p\na_2,p\nb,q\nelsewhere,z\n",
        "Slide;Patient;note\na_1.svs;p;x\nfolder/a_2.ndpi;p;\nb;q;\nc;;\n",
        "slide_id,case_id,label\na_1,p,\na_2,p,NA\nb,q,yes\n",  # labels do not matter here
        "slide_id,case_id,label,class\na_1,p,x,y\na_2,p,x,y\nb,q,x,y\n",  # nor which column has them
        "slide_id,case_id,mpp,fold,split\na_1,p,wide,?,nowhere\na_2,p,,,\nb,q,,,\n",
    ],
)
def test_the_usual_tables(tmp_path: Path, text: str) -> None:
    found = read_cases(write(tmp_path, text), SLIDES)
    assert found == ({"a_1": "p", "a_2": "p", "b": "q"}, ("c",))


def test_a_table_by_patient(tmp_path: Path) -> None:
    found = read_cases(write(tmp_path, "case_id,label\na,yes\nb,no\n"), SLIDES)
    assert found.by_slide == {"a_1": "a", "a_2": "a", "b": "b"}


def test_chosen_columns(tmp_path: Path) -> None:
    path = write(tmp_path, "name,who\nb,q\n")
    found = read_cases(path, SLIDES, TableOptions(slide_column="name", case_column="who"))
    assert found.by_slide == {"b": "q"}
    with pytest.raises(CohortError, match="'nome'"):
        read_cases(path, SLIDES, TableOptions(slide_column="nome", case_column="who"))
    with pytest.raises(CohortError, match="'whom'"):
        read_cases(path, SLIDES, TableOptions(slide_column="name", case_column="whom"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slide_id,case_id\nb,q\nb,r\n", "'b' has several cases: 'q', 'r'"),
        ("slide_id,case_id\nb,q\na,p\n", "several names start with it"),
        ("slide_id,label\nb,yes\n", "no column case_id"),
        ("slide_id,case_id\nb,\n", "no column case_id"),
        ("case_id,note\nb,x\n", "column 'slide_id'"),
        ("slide_id,case_id,patient_id,case\nb,q,r,s\n", ""),
        ("slide_id,case_id\nother,q\n", "no slide 'other'"),
        ("slide_id,case_id\n", "no rows"),
        ("slide_id,case_id\nb,q,r\n", "more"),
    ],
)
def test_what_is_not_certain_is_refused(tmp_path: Path, text: str, said: str) -> None:
    path = write(tmp_path, text)
    if not said:
        assert read_cases(path, SLIDES).by_slide == {"b": "q"}  # the name of the role wins
        return
    with pytest.raises(CohortError, match=said):
        read_cases(path, SLIDES)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    rows = "".join(f"x{number},p\n" for number in range(50))
    with pytest.raises(CohortError, match=f"{50 - MAX_PROBLEMS} more problems"):
        read_cases(write(tmp_path, f"slide_id,case_id\n{rows}"), SLIDES)


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no table of cases"):
        read_cases(tmp_path / "none.csv", SLIDES)


def test_a_slide_without_a_case_is_one_of_its_own() -> None:
    assert case_of_each(Cases({"a_1": "p", "b": "b"}, ("c",))) == {"a_1": "p", "b": "b", "c": "c"}


def test_a_slide_without_a_case_that_has_the_name_of_one_is_refused() -> None:
    with pytest.raises(CohortError, match="no case for 'b'"):
        case_of_each(Cases({"a_1": "b"}, ("b", "c")))
