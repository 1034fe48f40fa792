"""A table of resolutions: every problem with its row, and nothing used for a slide it is not about."""

import time
from pathlib import Path

import openpyxl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.cohorts.mpp_table import read_mpp_table
from lrmil.errors import CohortError

SLIDES = ["a", "b.c", "001"]


def write(folder: Path, text: str) -> Path:
    path = folder / "mpp.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "slide_id,mpp\na,0.25\nb.c,0.5\n001,1\n",
        "\ufeffSlide;MPP\r\na;0.25\r\nb.c.svs;0.5\r\n001.ome.tiff;1.0\r\n",
        "mpp\tFilename\tnote\n0.25\tfolder/a.svs\t\n0.5\tC:\\x\\b.c.ndpi\t\n1e0\t001\tx\n",
    ],
)
def test_the_usual_tables_are_read(tmp_path: Path, text: str) -> None:
    assert read_mpp_table(write(tmp_path, text), SLIDES) == ({"a": 0.25, "b.c": 0.5, "001": 1.0}, ())


@pytest.mark.parametrize(
    "text",
    [
        "wsi,mpp\na.svs,0.25\nb.c.ndpi,0.5\n001.tif,1\n",  # AtlasPatch
        "wsi,mpp\n/data/x/a.svs,0.25\n/data/b.c.tiff,0.5\nsub/001.ome.tif,1.0\n",  # TRIDENT, files with folders
        "WSI,tissue,MPP\na,yes,0.25\nb.c,no,0.5\n001,,1.0\n",
    ],
)
def test_lists_of_other_tools_are_read(tmp_path: Path, text: str) -> None:
    assert read_mpp_table(write(tmp_path, text), SLIDES) == ({"a": 0.25, "b.c": 0.5, "001": 1.0}, ())


def test_of_two_names_of_a_slide_slide_id_is_read_and_the_other_told(tmp_path: Path) -> None:
    table = read_mpp_table(write(tmp_path, "wsi,slide_id,mpp\nb.c.svs,a,0.25\n"), SLIDES)
    assert table.mpp == {"a": 0.25} and "'wsi' not" in table.unused[0]
    with pytest.raises(CohortError, match=r"one column for slide_id in .*; got 'wsi' and 'slide'"):
        read_mpp_table(write(tmp_path, "wsi,slide,mpp\na,a,0.25\n"), SLIDES)


def test_a_barcode_is_the_file_with_a_uuid_behind_and_no_other_beginning_is(tmp_path: Path) -> None:
    slide = "TCGA-AA-1000-01Z-00-DX1.00B9C7A2-1F0E-4D52-9C1A-7B3F5D2E8A11"
    text = "wsi,mpp\nTCGA-AA-1000-01Z-00-DX1,0.25\nTCGA-AA-1000,0.5\n"
    table = read_mpp_table(write(tmp_path, text), [slide])
    assert table.mpp == {slide: 0.25} and len(table.unused) == 1


def test_a_spreadsheet_is_read(tmp_path: Path) -> None:
    book = openpyxl.Workbook()
    for row in (["slide_id", "mpp"], ["a", 0.25], ["001", "0.5"]):
        book.active.append(row)
    book.save(tmp_path / "mpp.xlsx")
    assert read_mpp_table(tmp_path / "mpp.xlsx", SLIDES).mpp == {"a": 0.25, "001": 0.5}


def test_an_empty_value_leaves_the_slide_as_its_file_has_it(tmp_path: Path) -> None:
    assert read_mpp_table(write(tmp_path, "slide_id,mpp\na,0.25\nb.c,\n001,NA\n"), SLIDES).mpp == {"a": 0.25}


def test_every_problem_is_told_with_its_row(tmp_path: Path) -> None:
    text = "slide_id,mpp\na,0.25\nb.c,fast\n001,25\na.svs,0.5\nb.c,nan!\na,0.25\n"
    with pytest.raises(CohortError) as caught:
        read_mpp_table(write(tmp_path, text), SLIDES)
    message = str(caught.value)
    assert "row 3: expected um/px from 0.05 to 5.0 for 'b.c', such as 0.25 or 40x; got 'fast'" in message
    assert "row 4: " in message and "got '25'" in message and "row 6" in message
    assert "row 5: 'a.svs' has 0.5 here and 0.25 in row 2" in message and "row 7" not in message


def test_a_magnification_is_read_as_the_command_line_reads_it(tmp_path: Path) -> None:
    table = read_mpp_table(write(tmp_path, "slide_id,mpp\na,40x\nb.c,20 X\n001,0.5 um/px\n"), SLIDES)
    assert table.mpp == {"a": 0.25, "b.c": 0.5, "001": 0.5}
    with pytest.raises(CohortError, match="got '400x'"):
        read_mpp_table(write(tmp_path, "slide_id,mpp\na,400x\n"), SLIDES)


def test_a_decimal_comma_has_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"row 2: .* for 'a', with a decimal point, as in 0\.5; got '0,5'"):
        read_mpp_table(write(tmp_path, "slide_id;mpp\na;0,5\n"), SLIDES)


def test_a_value_without_a_slide_is_told_beside_the_other_problems(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"row 2: .*; row 3: .*'0\.5'"):
        read_mpp_table(write(tmp_path, "slide_id,mpp\na,x\n,0.5\n,\n"), SLIDES)


def test_two_columns_for_one_thing_are_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"one column for mpp in .*; got 'mpp' and 'um/px'"):
        read_mpp_table(write(tmp_path, "slide_id,mpp,um/px\na,0.5,0.25\n"), SLIDES)


def test_a_name_whose_letters_are_composed_another_way_is_the_same(tmp_path: Path) -> None:
    table = read_mpp_table(write(tmp_path, "slide_id,mpp\nM\u00fcller.svs,0.5\n"), ["Mu\u0308ller"])
    assert table == ({"Mu\u0308ller": 0.5}, ())


def test_a_long_table_about_other_slides_takes_seconds(tmp_path: Path) -> None:
    slides = [f"slide {n}" for n in range(3000)]
    text = "slide_id,mpp\nslide 1,0.5\n" + "".join(f"other {n},0.5\n" for n in range(3000))
    start = time.process_time()
    table = read_mpp_table(write(tmp_path, text), slides)
    assert time.process_time() - start < 10  # 0.5 s where nothing else runs
    assert len(table.unused) == 101 and table.unused[-1].startswith("2900 more rows")


def test_rows_about_other_slides_are_told_and_not_used(tmp_path: Path) -> None:
    table = read_mpp_table(write(tmp_path, "slide_id,mpp\na,0.25\n01,0.5\nzebra,0.5\n"), SLIDES)
    assert table.mpp == {"a": 0.25}
    assert table.unused == (
        "Row 3: there is no slide '01'; did you mean '001'? A spreadsheet drops zeros before a number: format "
        "the column as text.",
        "Row 4: there is no slide 'zebra'.",
    )


def test_a_table_about_other_slides_alone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"Row 2: .*'x'"):
        read_mpp_table(write(tmp_path, "slide_id,mpp\nx,0.25\n"), SLIDES)
    with pytest.raises(CohortError, match="no row with a value"):
        read_mpp_table(write(tmp_path, "slide_id,mpp\na,\n"), SLIDES)


def test_missing_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"Expected the columns slide_id and mpp in .*; got slide_id, power"):
        read_mpp_table(write(tmp_path, "slide_id,power\na,20\n"), SLIDES)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: f"slide_id,mpp\n{text}".encode()))
def test_any_bytes_are_a_table_or_a_sentence(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("table") / "mpp.csv"
    path.write_bytes(data)
    try:
        table = read_mpp_table(path, SLIDES)
    except CohortError as error:
        assert str(error)
    else:
        assert set(table.mpp) <= set(SLIDES) and all(0.05 <= value <= 5 for value in table.mpp.values())
