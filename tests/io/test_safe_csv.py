"""What is written as CSV runs nowhere as a formula, and ids and labels stay what they are."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lrmil.io.safe_csv import csv_text, plain_cell
from lrmil.io.tables import read_records
from lrmil.prediction.table import PredictionRow, table_of
from lrmil.tasks.classification import Classification


@pytest.mark.parametrize(
    "cell", ["=1+1", "@SUM(A1)", '=HYPERLINK("http://x")', "+cmd|' /C calc'!A0", "-2+3+cmd|'x'!A1", "\t=1", "\r=1"]
)
def test_a_formula_is_made_inert(cell: str) -> None:
    (written,) = next(csv.reader(io.StringIO(csv_text([[cell]]), newline="")))
    assert written == f"'{cell}" and plain_cell(written) == cell


@pytest.mark.parametrize("cell", ["-", "+", "-12", "+ve", "-ve", "001", "1e5", "a=b", "'quoted'", "it's", ""])
def test_ids_and_labels_stay_what_they_are(cell: str) -> None:
    assert next(csv.reader(io.StringIO(csv_text([[cell, "x"]]), newline="")))[0] == cell == plain_cell(cell)


def test_numbers_are_no_text() -> None:
    assert csv_text([[-1.5, 2, None]]) == "-1.5,2,\n"


@given(st.text())
@example("'=")
@example("''@")
def test_every_text_comes_back(cell: str) -> None:
    rows = list(csv.reader(io.StringIO(csv_text([[cell, "x"]]), newline="")))
    assert [plain_cell(value) for value in rows[0]] == [cell, "x"]


def test_a_slide_with_the_name_of_a_formula_in_the_table_of_predictions(tmp_path: Path) -> None:
    name = "=HYPERLINK(evil)"
    text = table_of(
        [PredictionRow(name, "failed", message=f"Expected a slide; {name} is none.")], Classification(("no", "yes"))
    )
    assert text.splitlines()[1].startswith("'=HYPERLINK")
    (tmp_path / "predictions.csv").write_text(text, encoding="utf-8")
    assert read_records(tmp_path / "predictions.csv")[1][0] == name
