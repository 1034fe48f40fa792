"""Tables as people save them: text stays what it was, whatever the program, and anything else is one sentence."""

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from lrmil.cohorts.labels import read_labels
from lrmil.cohorts.mpp_table import read_mpp_table
from lrmil.errors import CohortError
from lrmil.io.safe_csv import csv_text
from lrmil.io.tables import read_records
from lrmil.slides.checksums import read_checksums
from support.workbooks import saved

FUZZ = settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
PLAIN = [["slide_id", "label"], ["001", "a"], ["1e5", "b"]]


def written(folder: Path, data: bytes | str, name: str = "labels.csv") -> Path:
    path = folder / name
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


class TestText:
    def test_line_ends_of_an_old_mac(self, tmp_path: Path) -> None:
        assert read_records(written(tmp_path, "slide_id,label\r001,a\r1e5,b\r")) == PLAIN

    @pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
    def test_the_separator_that_excel_writes_into_the_first_line(self, tmp_path: Path, end: str) -> None:
        assert read_records(written(tmp_path, f"sep=;{end}slide_id;label{end}001;a{end}1e5;b{end}")) == PLAIN
        assert read_records(written(tmp_path, f"sep=|{end}slide_id|label{end}001|a{end}1e5|b")) == PLAIN

    def test_spaces_that_nobody_sees(self, tmp_path: Path) -> None:
        text = "slide_id\u00a0,\ufefflabel\n\u200b001\u00a0, a\u202f\n\t1e5 ,b\u2060\nA\u00a07,b\n"
        assert read_records(written(tmp_path, text)) == [*PLAIN, ["A 7", "b"]]

    def test_the_code_page_of_western_windows(self, tmp_path: Path) -> None:
        text = "slide_id,label\nMüller–1,€\n"
        assert read_records(written(tmp_path, text.encode("cp1252")))[1] == ["Müller–1", "€"]
        undefined = b"slide_id,label\nM\xfcller,\x81\n"  # not in that code page
        assert read_records(written(tmp_path, undefined))[1][0] == "Müller"

    @pytest.mark.parametrize("encoding", ["utf-16-le", "utf-32", "utf-32-be"])
    def test_other_encodings_are_refused(self, tmp_path: Path, encoding: str) -> None:
        with pytest.raises(CohortError, match="binary data"):
            read_records(written(tmp_path, "slide_id,label\n001,a\n".encode(encoding)))

    def test_long_digits_stay_digits(self, tmp_path: Path) -> None:
        digits = "12345678901234567890"
        assert read_records(written(tmp_path, f"slide_id,label\n{digits},a\n"))[1] == [digits, "a"]

    def test_rows_of_other_lengths_are_kept_as_they_are(self, tmp_path: Path) -> None:
        assert read_records(written(tmp_path, "slide_id,label\na\nb,x,y\n")) == [["slide_id", "label"], ["a"], [*"bxy"]]

    def test_an_endless_cell_is_no_table(self, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match="cannot be read as a table"):
            read_records(written(tmp_path, f"slide_id,label\n{'a' * 200_000},b\n"))

    def test_a_folder_is_no_table(self, tmp_path: Path) -> None:
        (tmp_path / "labels.csv").mkdir()
        with pytest.raises(CohortError, match="There is no table"):
            read_records(tmp_path / "labels.csv")

    def test_a_hundred_thousand_rows_take_seconds(self, tmp_path: Path) -> None:
        body = "".join(f"s{n},p{n},{n % 2}\n" for n in range(100_000))
        table = written(tmp_path, "slide_id,case_id,label\n" + body)
        start = time.process_time()
        labels = read_labels(table)
        assert len(labels.rows) == 100_000 and not labels.problems
        assert time.process_time() - start < 20  # 1.5 s where nothing else runs


class TestQuotes:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ('slide_id,label\n001,a\n"002,b\n003,c\n', "in row 3 a quote opens and never closes"),
            (
                'slide_id,label\n001,a\n"002,b\n"003",c\n',
                "in row 3 a quote opens and the next quote does not",
            ),
            ('slide_id,"label\n001,a\n', "in row 1 a quote opens and never closes"),
            (
                'sep=;\nslide_id;label\n"00\n1";a\n"002;b\n',
                r"in row 3 \(line 5 of the file\) a quote opens",
            ),
            (f'slide_id,label\n"002,b\n{"003,c" * 40_000}', "in row 2 a cell has more than 131,072 characters"),
        ],
    )
    def test_a_quote_that_is_not_closed_is_told_with_its_row(self, tmp_path: Path, text: str, said: str) -> None:
        with pytest.raises(CohortError, match=said):
            read_records(written(tmp_path, text))


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@FUZZ
@given(data=st.binary(max_size=300), suffix=st.sampled_from([".csv", ".tsv", ".xlsx"]))
@example(data=b"PK\x05\x06" + b"\x00" * 18, suffix=".xlsx")  # an empty archive
@example(data=b'"', suffix=".csv")
@example(data=b"\xff\xfea", suffix=".csv")
@example(data=b"sep=\n", suffix=".csv")
def test_any_bytes_are_a_table_or_one_sentence(tmp_path: Path, data: bytes, suffix: str) -> None:
    table = written(tmp_path, data, f"labels{suffix}")
    try:
        labels = read_labels(table)
    except CohortError as error:
        assert str(tmp_path) in str(error)
        return
    assert all(row.slide_id for row in labels.rows)


@FUZZ
@given(
    rows=st.lists(st.lists(CELL, min_size=2, max_size=4), max_size=5),
    separator=st.sampled_from([b",", b";", b"\t"]),
    end=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_any_text_with_a_header_is_a_table_or_one_sentence(
    tmp_path: Path, rows: list[list[str]], separator: bytes, end: bytes, encoding: str
) -> None:
    lines = ["slide_id,label,case_id,mpp".replace(",", separator.decode())]
    lines += [separator.decode().join(cells) for cells in rows]
    try:
        read_labels(written(tmp_path, end.decode().join(lines).encode(encoding)))
    except CohortError as error:
        assert re.search("save the table again|Save it again", str(error))


@FUZZ
@given(rows=st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=5))
@example(rows=[["=1+1", "'=a", "+cmd|' /C calc'!A0"]])
def test_a_table_that_is_written_comes_back(tmp_path: Path, rows: list[list[str]]) -> None:
    """But for what reading takes away around a cell, and spaces that only look different."""
    invisible = str.maketrans({"\u00a0": " ", "\u202f": " ", "\u200b": "", "\u2060": "", "\ufeff": ""})
    rows = [["slide_id", "label", "note"], *rows]
    stripped = [[cell.translate(invisible).strip() for cell in row] for row in rows]
    assert read_records(written(tmp_path, csv_text(stripped))) == stripped


READERS: dict[str, Callable[[Path], object]] = {
    "labels table": read_labels,
    "um/px table": lambda path: read_mpp_table(path, ["001", "1e5"]),
    "list of checksums": read_checksums,
    "table": read_records,
}


class TestWhichTable:
    """Every message says which of the tables of a command it is about."""

    @pytest.mark.parametrize("what", READERS)
    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("none.csv", None),
            ("empty.csv", ""),
            ("header.csv", "\n001,a\n"),
            ("quotes.csv", 'slide_id,label\n"001,a\n'),
            ("binary.csv", b"\x00\x01\x02"),
            ("damaged.xlsx", b"PK no workbook"),
        ],
    )
    def test_of_a_file_that_is_no_table(self, what: str, name: str, data: bytes | str | None, tmp_path: Path) -> None:
        path = tmp_path / name if data is None else written(tmp_path, data, name)
        with pytest.raises(CohortError) as caught:
            READERS[what](path)
        assert f"{what} " in str(caught.value) and name in str(caught.value)
        assert str(caught.value).count(name) == 1

    @pytest.mark.parametrize("what", ["labels table", "um/px table", "table"])  # any file may be a list of checksums
    def test_of_a_file_of_another_kind(self, what: str, tmp_path: Path) -> None:
        with pytest.raises(CohortError, match=rf"{what}.*'notes\.docx'"):
            READERS[what](written(tmp_path, "slide_id,label\n", "notes.docx"))

    @pytest.mark.parametrize("what", ["labels table", "um/px table", "list of checksums"])
    def test_of_formulas_without_values(self, what: str, tmp_path: Path) -> None:
        header = ["slide_id", "label", "mpp", "filename", "md5"]
        saved(tmp_path / "x.xlsx", {"one": [list(header), ["001", "=A1", "=A1", "a.svs", "=A1"]]})
        with pytest.raises(CohortError, match=f"The {what} '.*x.xlsx' has formulas"):
            READERS[what](tmp_path / "x.xlsx")


@pytest.mark.parametrize(
    "text",
    [
        "slide_id,power\n001,20\n",
        "slide_id,mpp,um/px\n001,0.5,0.5\n",
        "slide_id,mpp\n001,none such\n",
        "slide_id,mpp\nelsewhere,0.5\n",
    ],
)
def test_what_is_wrong_in_a_table_of_resolutions_names_that_table(text: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="the um/px table '"):
        read_mpp_table(written(tmp_path, text, "mpp.csv"), ["001"])


@pytest.mark.parametrize("text", ["no checksum\n", "\n", "# only a comment\n", "filename,md5\n"])
def test_what_is_wrong_in_a_list_of_checksums_names_that_list(text: str, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="list of checksums '"):
        read_checksums(written(tmp_path, text, "sums.txt" if "," not in text else "sums.csv"))
