"""A line is read as a review is made, or not at all."""

import contextlib
import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import ConfigError, FormatError
from lrmil.reviews import lines
from lrmil.reviews.log import FORMAT, MAX_NOTE, Review, append_review, plain_of, read_reviews
from lrmil.reviews.withdrawals import standing, withdrawal_of
from support.hostile import places, put, values
from support.reviews import entry, foreign_line

texts = st.text(max_size=40)


class TestForeignLines:
    @given(
        st.recursive(
            st.none() | st.booleans() | st.floats() | texts,
            lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
        ),
        st.data(),
    )
    def test_any_value_in_a_field_never_raises(self, value: object, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted({"format", *plain_of(entry())})))
        if name == "format" and isinstance(value, str) and value.startswith("lrmil.review/"):
            return
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            log.write_bytes(foreign_line(entry(), **{name: value}))
            found = read_reviews(log)
        assert len(found.reviews) + len(found.unreadable) == 1
        for review in found.reviews:
            assert getattr(review, name) == value

    @pytest.mark.parametrize(
        "change",
        [
            {"time": "yesterday"},
            {"time": "2026-01-31T12:00:00"},
            {"time": "2026-01-31T12:00:00+02:00"},
            {"seconds_viewed": float("nan")},
            {"seconds_viewed": -1},
            {"output_probabilities": {"yes": float("inf")}},
            {"output_probabilities": {"no": 0.5}},
            {"human_label": "no"},
            {"human_first": "yes"},
            {"note": "x" * (MAX_NOTE + 1)},
            {"note": "\ud800"},
            {"event": "other"},
            {"decision": None},
            {"more": 1},
            {"format": None},
            {"format": 1},
            {"format": "lrmil.run/1"},
        ],
        ids=lambda change: str(change)[:40],
    )
    def test_a_line_that_says_something_else_is_unreadable(self, change: dict[str, object], tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(foreign_line(entry(), **change) + b"\n" + foreign_line(entry()))
        found = read_reviews(tmp_path / "log")
        assert len(found.reviews) == 1 and found.unreadable == (1,)

    @pytest.mark.parametrize("name", sorted(plain_of(entry())))
    def test_what_a_line_leaves_out_is_not_made_up(self, name: str, tmp_path: Path) -> None:
        document = json.loads(foreign_line(entry()))
        del document[name]
        (tmp_path / "log").write_text(json.dumps(document))
        assert read_reviews(tmp_path / "log") == ((), (1,))

    @pytest.mark.parametrize("line", [b"[" * 200_000, b'{"format":' + b"1" * 10_000 + b"}", b"\xff\xfe{", b"[]", b"1"])
    def test_hostile_lines_are_unreadable(self, line: bytes, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(line)
        assert read_reviews(tmp_path / "log") == ((), (1,))

    @pytest.mark.parametrize("end", [b"\n", b"\r\n"])
    def test_a_log_that_an_editor_saved_anew_is_read_whole(self, end: bytes, tmp_path: Path) -> None:
        """With a byte order mark, and other ends of lines."""
        written = [foreign_line(entry(slide_id=name)) for name in "ab"]
        (tmp_path / "log").write_bytes(b"\xef\xbb\xbf" + end.join(written) + end)
        found = read_reviews(tmp_path / "log")
        assert [one.slide_id for one in found.reviews] == ["a", "b"] and not found.unreadable
        (tmp_path / "log").write_bytes(b"\xef\xbb\xbf" + foreign_line(entry(), format="lrmil.review/3"))
        with pytest.raises(FormatError, match="Update lrmil"):
            read_reviews(tmp_path / "log")

    def test_another_version_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "log").write_bytes(foreign_line(entry()) + b"\n" + foreign_line(entry(), format="lrmil.review/3"))
        with pytest.raises(FormatError, match=r"lrmil\.review/1 .*Got 'lrmil\.review/3'"):
            read_reviews(tmp_path / "log")


@pytest.mark.parametrize("end", [b"", b"\n"])
def test_a_line_without_end_is_passed_over(tmp_path: Path, end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "MAX_LINE", 2000)
    log = tmp_path / "log"
    log.write_bytes(foreign_line(entry()) + b"\n" + b"x" * 50_000 + end)
    assert read_reviews(log).unreadable == (2,)
    append_review(log, entry())
    found = read_reviews(log)
    assert len(found.reviews) == 2 and found.unreadable == (2,)


@given(data=st.data(), value=values)
def test_whatever_stands_in_a_line_it_is_read_as_a_review_is_made_or_not_at_all(
    data: st.DataObject, value: object
) -> None:
    whole = json.loads(foreign_line(entry(note="ä")))
    changed = put(whole, data.draw(st.sampled_from(list(places(whole)))), value)
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        log.write_text(json.dumps(changed))
        try:
            found = read_reviews(log)
        except FormatError:
            assert str(changed["format"]).startswith("lrmil.review/")
            return
    made = None
    if changed.pop("format", None) == FORMAT:
        with contextlib.suppress(ConfigError, TypeError, AttributeError, ValueError):
            made = Review(**changed)
    if found.reviews:
        assert found.reviews == (made,) and found.unreadable == ()
    else:
        assert found.unreadable == (1,)


def test_a_review_in_regions_is_kept_as_such_and_is_none_of_the_whole_slide(tmp_path: Path) -> None:
    log, part = tmp_path / "log", entry(regions="inside 2 regions")
    append_review(log, part)
    append_review(log, withdrawal_of(part))
    assert all(json.loads(line)["format"] == "lrmil.review/2" for line in log.read_text().splitlines())
    kept, _ = read_reviews(log).reviews
    assert kept == part and kept.key != entry().key and standing(read_reviews(log).reviews) == []
    (tmp_path / "old").write_bytes(foreign_line(part, format="lrmil.review/1"))
    assert read_reviews(tmp_path / "old").unreadable == (1,)
