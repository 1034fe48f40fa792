"""Several logs as one: their order does not matter, copies add nothing, the newest counts."""

import tempfile
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import FormatError, ReviewError
from lrmil.reviews.log import Review, append_review
from lrmil.reviews.several import Said, find_copies, newest, read_logs
from support.reviewing import logs_of, write_logs
from support.reviews import entry, foreign_line


def at(minute: int, **changes: object) -> Review:
    return entry(time=f"2026-01-01T00:{minute:02}:00+00:00", **changes)


@given(logs_of(4, 4, 4), st.permutations(range(3)))
def test_the_order_of_files_does_not_matter(logs: list[list[Review]], order: list[int]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_logs(Path(folder), logs)
        assert read_logs(paths) == read_logs([paths[place] for place in order]) == read_logs([*paths, paths[0]])


@given(logs_of(6, 6))
def test_the_newest_is_that_of_a_search_through_all(logs: list[list[Review]]) -> None:
    entries = [Said(str(n), line, one) for n, log in enumerate(logs) for line, one in enumerate(log)]
    found = newest(entries, lambda one: one.review.slide_id)
    assert found.keys() == {one.review.slide_id for one in entries}
    for slide_id, said in found.items():
        others = [one for one in entries if one.review.slide_id == slide_id]
        assert all(
            datetime.fromisoformat(one.review.time) <= datetime.fromisoformat(said.review.time) for one in others
        )
        same = [one for one in others if one.log == said.log and one.review.time == said.review.time]
        assert said == same[-1]
    assert found == newest(reversed(entries), lambda one: one.review.slide_id)


class TestCopies:
    def test_a_log_that_stands_in_another_adds_nothing(self, tmp_path: Path) -> None:
        first, second = at(1), at(2, decision="override", human_label="no")
        logs = [[first], [first, second], [first, second], [at(3, slide_id="b")]]
        paths = write_logs(tmp_path, logs)
        found = read_logs(paths)
        assert found.copies == (str(paths[0]), str(paths[1]))
        assert [(one.log, one.review.time[15]) for one in found.entries] == [
            (str(paths[2]), "1"),
            (str(paths[2]), "2"),
            (str(paths[3]), "3"),
        ]
        assert "log-0.jsonl" in found.notes[0] and "another log" in found.notes[0]

    @given(logs_of(4, 4, 4))
    def test_no_entry_is_lost(self, logs: list[list[Review]]) -> None:
        named = {str(number): log for number, log in enumerate(logs)}
        copies = find_copies(named)
        kept = [one for path, log in named.items() if path not in copies for one in log]
        assert all(one in kept for log in logs for one in log)
        assert all(named[path] for path in copies)


class TestWhatCannotBeUsed:
    def test_damaged_lines_are_counted_by_log(self, tmp_path: Path) -> None:
        paths = write_logs(tmp_path, [[at(1)], [at(2)]])
        for path in paths:
            path.write_bytes(b"no json\n" + path.read_bytes() + b"\xff\xfe\n" + foreign_line(at(3))[:-9])
        found = read_logs(paths)
        assert found.unreadable == {str(path): (1, 3, 4) for path in paths} and len(found.entries) == 2
        assert "1, 3, 4" in found.notes[0] and len(found.notes) == 2

    def test_entries_about_another_task_are_counted(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lrmil.reviews.entry.is_task", lambda name: True)
        (path,) = write_logs(tmp_path, [[at(1), at(2, task="amount")]])
        found = read_logs(path)
        assert len(found.entries) == found.other_tasks == 1 and "another task" in found.notes[0]

    def test_what_is_said_of_a_part_is_not_said_of_the_slide(self, tmp_path: Path) -> None:
        whole, part = at(1), at(2, regions="inside 2 regions")
        (path,) = write_logs(tmp_path, [[whole, part]])
        found = read_logs(path)
        assert [said.review for said in found.entries] == [whole] and found.of_parts == 1
        assert found.other_tasks == 0 and any("regions" in note for note in found.notes)

    def test_an_empty_log_has_nothing(self, tmp_path: Path) -> None:
        (path,) = write_logs(tmp_path, [[]])
        assert read_logs(path) == ((), {}, (), 0, 0) and read_logs(path).notes == []

    def test_a_missing_log_or_one_of_a_later_version_is_refused(self, tmp_path: Path) -> None:
        (path,) = write_logs(tmp_path, [[at(1)]])
        with pytest.raises(ReviewError, match="none"):
            read_logs([path, tmp_path / "none.jsonl"])
        path.write_text('{"format": "lrmil.review/3"}\n')
        with pytest.raises(FormatError, match="review/3"):
            read_logs([path])

    def test_a_clock_that_was_set_back_is_told_where_it_matters(self, tmp_path: Path) -> None:
        no = {"decision": "override", "human_label": "no"}
        (path,) = write_logs(tmp_path, [[at(5), at(1, **no), at(5, slide_id="b", slide_fingerprint="f2"), at(6)]])
        assert read_logs(path).notes == []  # the last one is the newest
        append_review(path, at(2, **no))
        (note,) = read_logs(path).notes
        assert "'a'" in note and "'b'" not in note
        append_review(path, at(7, **no))
        assert read_logs(path).notes == []


@pytest.mark.parametrize(
    ("earlier", "later"),
    [
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00+00:00"),  # one time, so the place in the log decides
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00.5+00:00"),
        ("2026-01-01T00:00:00+00:00", "20260101T000001Z"),
        ("2026-01-01 23:59:59+00:00", "2026-01-02T00:00:00Z"),
    ],
)
@pytest.mark.parametrize("turned", [False, True])
def test_times_are_compared_as_times_however_they_are_written(earlier: str, later: str, turned: bool) -> None:
    texts = [earlier, later]
    entries = [Said("log", line, entry(time=time)) for line, time in enumerate(texts)]
    (found,) = newest(reversed(entries) if turned else entries, lambda one: one.slide).values()
    assert found.review.time == later
