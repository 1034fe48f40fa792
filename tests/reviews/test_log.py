"""lrmil.review/1: what a person said is never lost, never changed, and never made up."""

import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from hypothesis import given
from hypothesis import strategies as st

from lrmil.errors import ConfigError, FormatError, LrmilError, ReviewError
from lrmil.reviews import log as module
from lrmil.reviews.log import (
    MAX_NOTE,
    MAX_TEXT,
    Review,
    ReviewReader,
    append_review,
    latest_reviews,
    plain_of,
    read_reviews,
    require_reviews,
)
from support.paths import FORMATS
from support.reviews import entry, foreign_line, write_many

SAMPLE = FORMATS / "review-1" / "reviews.jsonl"
WRITERS, LINES = 3, 40

texts = st.text(max_size=40)  # hypothesis gives no surrogates here: they are refused, see below
awkward = st.sampled_from(["", "\n", "\r\n", '"', "\\", "\u2028", "\x00", "ß 漢 😀", '{"format": "lrmil.review/9"}\n'])
notes = st.one_of(texts, st.lists(awkward, max_size=6).map("".join))


@st.composite
def entries(draw: st.DrawFn) -> Review:
    classes = draw(st.lists(texts, min_size=2, max_size=4, unique=True))
    output = draw(st.sampled_from(classes))
    event, decision = draw(
        st.sampled_from([("read", None), ("review", "agree"), ("review", "override"), ("review", "uncertain")])
    )
    other = draw(texts.filter(lambda text: text not in ("", output)))
    label = {None: other, "agree": output, "override": other, "uncertain": ""}[decision]
    return entry(
        event=event,
        slide_id=draw(texts),
        output_label=output,
        output_probabilities={name: draw(st.floats(0, 1)) for name in classes},
        output_status=draw(st.sampled_from(["ok", "uncertain"])),
        decision=decision,
        human_label=label,
        note=draw(notes),
        reviewer=draw(texts),
        human_first=draw(st.booleans()),
        seconds_viewed=draw(st.none() | st.floats(0, 1e6)),
    )


class TestRoundTrip:
    @given(st.lists(entries(), max_size=5))
    def test_what_is_written_is_read(self, reviews: list[Review]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "reviews.jsonl"
            for review in reviews:
                append_review(log, review)
            assert read_reviews(log) == (tuple(reviews), ())
            if reviews:
                assert log.read_bytes().count(b"\n") == len(reviews)

    def test_a_line_is_json_with_its_format(self, tmp_path: Path) -> None:
        append_review(tmp_path / "new/folder/log", entry(note="ä"))
        (line,) = (tmp_path / "new/folder/log").read_text(encoding="utf-8").splitlines()
        assert json.loads(line) == {
            "format": "lrmil.review/1",
            **plain_of(entry(note="ä", time=json.loads(line)["time"])),
        }
        assert "ä" in line

    def test_earlier_bytes_stay(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        before = b'not json\n\n{"half'
        log.write_bytes(before)
        append_review(log, entry())
        assert log.read_bytes().startswith(before)

    def test_the_caller_may_change_its_own_probabilities(self) -> None:
        mine = {"no": 0.25, "yes": 0.75}
        review = entry(output_probabilities=mine)
        mine["yes"] = 0.0
        assert review.output_probabilities["yes"] == 0.75

    def test_time_and_version_are_now(self) -> None:
        review = entry()
        assert review.time.endswith("+00:00") and len(review.time) == len("2026-01-31T12:00:00+00:00")
        assert review.version

    def test_the_first_version_stays_readable(self) -> None:
        log = read_reviews(SAMPLE)
        assert [one.event for one in log.reviews] == ["read", "review", "review", "review"]
        assert log.unreadable == (5,)
        third = log.reviews[2]
        assert (third.decision, third.human_label, third.output_label) == ("override", "negative", "positive")
        assert third.note == 'Größe "klein",\nsecond line\u2028third' and third.seconds_viewed == 12
        assert third.output_probabilities == {"negative": 0.25, "positive": 0.75} and third.human_first
        assert third.time == "2026-02-03T10:02:00+00:00" and (third.version, third.reviewer) == ("0.1.0", "r1")
        assert [one.decision for one in latest_reviews(log.reviews).values()] == ["override", "uncertain"]


class TestBrokenLogs:
    def test_an_absent_log_is_empty(self, tmp_path: Path) -> None:
        assert read_reviews(tmp_path / "none") == ((), ())

    def test_an_absent_log_that_someone_named_is_refused(self, tmp_path: Path) -> None:
        for path in (tmp_path / "none.jsonl", tmp_path):
            with pytest.raises(ReviewError):
                require_reviews(path)
        (tmp_path / "empty.jsonl").touch()
        assert require_reviews(tmp_path / "empty.jsonl") == read_reviews(tmp_path / "none.jsonl")

    def test_a_folder_is_no_log(self, tmp_path: Path) -> None:
        with pytest.raises(ReviewError, match="Cannot read the review log"):
            read_reviews(tmp_path)

    @given(st.lists(st.binary(max_size=60), max_size=6), st.integers(0, 6))
    def test_any_bytes_are_counted_and_the_rest_is_read(self, junk: list[bytes], place: int) -> None:
        good = foreign_line(entry(time="2026-01-31T12:00:00+00:00"))
        junk = [line.replace(b"\n", b"") for line in junk]
        lines = [*junk[:place], good, *junk[place:]]
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            log.write_bytes(b"\n".join(lines))
            found = read_reviews(log)
        assert found.reviews == (entry(time="2026-01-31T12:00:00+00:00"),)
        assert found.unreadable == tuple(i for i, line in enumerate(lines, 1) if line.strip() and line != good)

    @pytest.mark.parametrize("kept", [1, 40, -2, -1])
    def test_a_half_written_line_keeps_its_place(self, kept: int, tmp_path: Path) -> None:
        log = tmp_path / "log"
        append_review(log, entry(slide_id="first"))
        append_review(log, entry(slide_id="killed", note="ä" * 20))
        whole = log.read_bytes()
        start = whole.index(b"\n") + 1
        log.write_bytes(whole[:start] + whole[start:][:kept])
        append_review(log, entry(slide_id="next"))
        found = read_reviews(log)
        complete = kept == -1  # only the line's end is missing: nothing is lost
        assert [one.slide_id for one in found.reviews] == ["first", *(["killed"] if complete else []), "next"]
        assert found.unreadable == (() if complete else (2,))


class TestLatest:
    def test_the_last_review_of_each_slide_and_model(self) -> None:
        reviews = [
            entry(note="old"),
            entry(event="read", decision=None, human_label="no", slide_fingerprint="f2"),
            entry(bundle_sha256="b2"),
            entry(note="new"),
            entry(event="read", decision=None, human_label="no"),
        ]
        assert latest_reviews(reviews) == {("f1", "b1"): reviews[3], ("f1", "b2"): reviews[2]}


class TestContradictions:
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"human_label": "no"}, "decision agree"),
            ({"human_label": ""}, "decision agree"),
            ({"decision": "override"}, "decision override"),
            ({"decision": "override", "human_label": ""}, "decision override"),
            ({"decision": "uncertain"}, "uncertain"),
            ({"decision": None}, "a decision in a review"),
            ({"event": "read"}, "a decision in a review"),
            ({"event": "read", "decision": None, "human_label": ""}, "a label in a read"),
            ({"event": "look"}, "known event"),
            ({"decision": "maybe"}, "known event and decision"),
            ({"output_label": "third", "human_label": "third"}, "probability of the model's label"),
            ({"output_probabilities": {"yes": 1.5}}, "from 0 to 1"),
            ({"output_probabilities": {"yes": float("nan")}}, "from 0 to 1"),
            ({"seconds_viewed": float("inf")}, "seconds"),
            ({"time": "2026-01-31"}, "UTC"),
            ({"note": "x" * (MAX_NOTE + 1)}, "10000 characters. Got 10001"),
            ({"reviewer": "x" * (MAX_TEXT + 1)}, "1000 characters"),
            ({"note": "a\udc80"}, "surrogate"),
            ({"slide_id": "a\udc80"}, "surrogate"),
        ],
    )
    def test_they_are_refused(self, change: dict[str, object], said: str) -> None:
        with pytest.raises(ConfigError, match=said):
            entry(**change)

    def test_the_longest_note_is_taken(self, tmp_path: Path) -> None:
        review = entry(note="漢" * MAX_NOTE)
        append_review(tmp_path / "log", review)
        assert read_reviews(tmp_path / "log").reviews == (review,)

    def test_a_label_that_the_model_does_not_know_can_be_given(self) -> None:
        assert entry(decision="override", human_label="something else").human_label == "something else"


class TestWriting:
    def test_processes_that_write_at_once_lose_nothing(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_bytes(b'{"half')
        context = multiprocessing.get_context("spawn")
        writers = [context.Process(target=write_many, args=(log, number, LINES)) for number in range(WRITERS)]
        for process in writers:
            process.start()
        for process in writers:
            process.join(120)
        assert [process.exitcode for process in writers] == [0] * WRITERS
        found = read_reviews(log)
        wanted = {f"{writer}-{number}" for writer in range(WRITERS) for number in range(LINES)}
        assert len(found.reviews) == len(wanted) and {one.slide_id for one in found.reviews} == wanted
        assert found.unreadable == (1,)

    @pytest.fixture
    def kept(self) -> Review:
        """Made before `sealed` changes the user, who may not be allowed to look into the environment."""
        return entry(note="kept by the caller")

    @pytest.fixture
    def sealed(self, kept: Review) -> Iterator[Path]:
        """A folder that may not be written, seen by a user whom that stops; not below `tmp_path`, which is private."""
        if sys.platform == "win32":
            pytest.skip("folders are not sealed by their mode here")
        with tempfile.TemporaryDirectory() as name:
            folder, root = Path(name), os.geteuid() == 0
            (folder / "old").write_bytes(foreign_line(entry()) + b"\n")
            folder.chmod(0o555)
            if root:
                os.seteuid(65534)
            try:
                yield folder
            finally:
                if root:
                    os.seteuid(0)
                folder.chmod(0o755)

    @pytest.mark.parametrize("name", ["log", "old", "new/log"])
    def test_a_folder_that_may_not_be_written_is_said(self, name: str, kept: Review, sealed: Path) -> None:
        with pytest.raises(ReviewError, match="Permission denied") as caught:
            append_review(sealed / name, kept)
        assert isinstance(caught.value, LrmilError) and isinstance(caught.value, OSError)
        assert str(sealed / name) in str(caught.value)
        assert [path.name for path in sealed.iterdir()] == ["old"] and len(read_reviews(sealed / "old").reviews) == 1

    def test_a_file_in_the_place_of_the_folder_is_said(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(ReviewError, match="Cannot write the review log"):
            append_review(tmp_path / "file/log", entry())

    def test_a_log_that_stays_locked_is_said(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module, "PATIENCE", 0.1)
        log = tmp_path / "log"
        with FileLock(f"{log}.lock"), pytest.raises(ReviewError, match="could not be acquired"):
            append_review(log, entry())
        append_review(log, entry())
        assert len(read_reviews(log).reviews) == 1

    def test_a_full_disk_is_said_and_the_next_line_is_whole(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(descriptor: int) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(ReviewError, match="No space left"):
                append_review(tmp_path / "log", entry())
        append_review(tmp_path / "log", entry(note="again"))
        assert read_reviews(tmp_path / "log").reviews[-1].note == "again"


class TestReadingAgain:
    def test_only_what_is_new_is_read(self, tmp_path: Path) -> None:
        log, known = tmp_path / "log", tuple[Review, ...]()
        reader = ReviewReader(log)
        assert reader.read() == ((), ())
        for number in range(5):
            append_review(log, entry(slide_id=str(number)))
            found = reader.read()
            assert [one.slide_id for one in found.reviews] == [str(one) for one in range(number + 1)]
            assert all(one is other for one, other in zip(found.reviews, known, strict=False)), (
                "no record is read twice"
            )
            assert reader.read() is found
            known = found.reviews

    @given(st.lists(st.sampled_from([b"good", b"bad", b"", b"half"]), max_size=8), st.lists(st.integers(0, 2000)))
    def test_however_it_grows_it_is_read_as_a_whole(self, kinds: list[bytes], cuts: list[int]) -> None:
        lines = {
            b"good": foreign_line(entry()) + b"\n",
            b"bad": b"{]\n",
            b"": b"\n",
            b"half": foreign_line(entry())[:99],
        }
        data = b"".join(lines[kind] for kind in kinds)
        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "log"
            reader = ReviewReader(log)
            for cut in [*sorted(cuts), len(data)]:
                log.write_bytes(data[:cut])
                assert reader.read() == read_reviews(log)

    @pytest.mark.parametrize("other", ["shorter", "longer", "gone"])
    def test_another_log_in_its_place_is_read_anew(self, other: str, tmp_path: Path) -> None:
        log = tmp_path / "log"
        for name in "abc":
            append_review(log, entry(slide_id=name))
        reader = ReviewReader(log)
        reader.read()
        log.unlink()
        for name in {"shorter": "x", "longer": "uvwxyz", "gone": ""}[other]:
            append_review(log, entry(slide_id=name))
        assert reader.read() == read_reviews(log)

    def test_after_a_line_of_another_version_nothing_is_counted_twice(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        append_review(log, entry())
        whole = log.read_bytes()
        log.write_bytes(whole + foreign_line(entry(), format="lrmil.review/3") + b"\n")
        reader = ReviewReader(log)
        for _ in range(2):
            with pytest.raises(FormatError):
                reader.read()
        log.write_bytes(whole)
        assert len(reader.read().reviews) == 1


@pytest.mark.parametrize("name", ["reviews.jsonl", "reviews.jsonl.lock"])
def test_a_log_is_not_written_through_a_link(tmp_path: Path, name: str) -> None:
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    (tmp_path / name).symlink_to(theirs)
    with pytest.raises(ReviewError, match="link"):
        append_review(tmp_path / "reviews.jsonl", entry())
    assert theirs.read_text() == "theirs"


def test_a_pipe_in_place_of_a_log_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "reviews.jsonl")
    with pytest.raises(ReviewError, match="plain file"):
        read_reviews(tmp_path / "reviews.jsonl")
