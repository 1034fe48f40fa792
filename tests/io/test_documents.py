"""Documents of a run: typed, bounded, and no name in them leads out of its folder."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import FormatError
from lrmil.io.documents import (
    read_csv_rows,
    read_json_document,
    read_split_rows,
    read_toml_document,
    require_fold,
    require_no_links,
    require_slide_id,
)


@given(st.text(min_size=1, max_size=20))
def test_a_name_that_is_accepted_stays_in_its_folder(name: str) -> None:
    for require in (require_fold, require_slide_id):
        try:
            accepted = require(name)
        except FormatError:
            continue
        assert accepted == name and Path("/run", name).parent == Path("/run") and name not in (".", "..")


def test_rows_are_by_column_and_none_is_short(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("slide_id,label\na,'=yes\n")
    assert read_csv_rows(path) == [{"slide_id": "a", "label": "=yes"}]
    path.write_text("slide_id,label\na\n")
    with pytest.raises(FormatError, match="Expected 2 values in row 2"):
        read_csv_rows(path)


@pytest.mark.parametrize(
    "row", ["fold-0,a,a,yes,all", "../fold-0,a,a,yes,train", "fold-0,../a,a,yes,train", "fold-0,a,a,yes"]
)
def test_a_row_of_splits_that_leads_elsewhere_is_refused(tmp_path: Path, row: str) -> None:
    path = tmp_path / "splits.csv"
    path.write_text("fold,slide_id,case_id,label,part\nfold-0,b,b,no,test\n")
    assert read_split_rows(path) == [["fold-0", "b", "b", "no", "test"]]
    with path.open("a") as file:
        file.write(row + "\n")
    with pytest.raises(FormatError):
        read_split_rows(path)


def test_a_document_that_cannot_be_parsed_or_is_a_link_is_one_error(tmp_path: Path) -> None:
    for name, read in (("a.toml", read_toml_document), ("a.json", read_json_document)):
        (tmp_path / name).write_text("{")
        (tmp_path / f"link-{name}").symlink_to(tmp_path / name)
        for path in (tmp_path / name, tmp_path / f"link-{name}"):
            with pytest.raises(FormatError):
                read(path)


@pytest.mark.parametrize("name", ["shared", "model", "fold-0", "fold-0/evidence", "final/lr_encoder"])
def test_a_folder_of_a_run_that_is_a_link_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "run/fold-0").mkdir(parents=True)
    (tmp_path / "run/final").mkdir()
    require_no_links(tmp_path / "run")
    link = tmp_path / "run" / name
    if link.exists():
        link.rmdir()
    link.symlink_to(tmp_path)
    with pytest.raises(FormatError, match=f"The folder {name} of the run"):
        require_no_links(tmp_path / "run")
