"""The table of reviews."""

import csv
from pathlib import Path

from lrmil.reviews.table import COLUMNS, write_review_table
from support.reviews import entry


def test_a_table_of_reviews(tmp_path: Path) -> None:
    other = entry(
        slide_id="b",
        bundle_sha256="b2",
        output_label="c",
        output_probabilities={"c": 1.0, "yes": 0.0},
        decision="override",
        human_label="yes",
        note='a "quoted", note\nin two lines',
        reviewer="r",
        human_first=True,
        seconds_viewed=12.5,
    )
    write_review_table(tmp_path / "new/table.csv", [entry(), other])
    with (tmp_path / "new/table.csv").open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert [first[f"prob_{name}"] for name in ("no", "yes", "c")] == ["0.250000", "0.750000", ""]
    assert [second[f"prob_{name}"] for name in ("no", "yes", "c")] == ["", "0.000000", "1.000000"]
    said = ["override", "yes", other.note, "r", "yes", other.time]
    assert [second[name] for name in COLUMNS] == said and second["seconds_viewed"] == "12.5"
    assert first["human_first"] == "no" and first["seconds_viewed"] == "" and first["slide_fingerprint"] == "f1"
    write_review_table(tmp_path / "empty.csv", [])
    assert (tmp_path / "empty.csv").read_text().startswith("slide_id,output_status,output_label,decision,")
