"""Labels from reviews: the newest word of each reader, agreement or nothing, and a table that a training takes."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lrmil
from lrmil.cohorts.names import SlideNames
from lrmil.cohorts.reviewed_labels import (
    HEADER,
    ReviewedLabels,
    decide_labels,
    is_labels,
    labels_from_reviews,
    labels_from_reviews_steps,
    table_of,
)
from lrmil.cohorts.reviewed_slides import Matched
from lrmil.errors import CohortError, ConfigError, OverwriteError, ReviewError
from lrmil.io.tables import read_records
from lrmil.reviews.log import Review, append_review
from lrmil.reviews.several import Said
from lrmil.slides.parts import fingerprint_of
from lrmil.steps import last
from support.reviewing import logs_of, write_logs
from support.reviews import entry

NO = {"decision": "override", "human_label": "no"}
UNSURE = {"decision": "uncertain", "human_label": ""}


def at(minute: int, **changes: object) -> Review:
    return entry(time=f"2026-01-01T00:{minute:02}:00+00:00", **changes)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Slides a to e, which are only read for their fingerprints."""
    (tmp_path / "slides").mkdir()
    for name in "abcde":
        (tmp_path / f"slides/{name}.svs").write_bytes(f"content of {name}".encode())
    return tmp_path


def of(folder: Path, name: str, minute: int = 1, **changes: object) -> Review:
    """A review of a slide of the folder."""
    return at(
        minute, **{"slide_id": name, "slide_fingerprint": fingerprint_of(folder / f"slides/{name}.svs"), **changes}
    )


def make(folder: Path, *logs: Sequence[Review], **options: object) -> ReviewedLabels:
    paths = write_logs(folder / "logs", [list(log) for log in logs])
    return labels_from_reviews(paths, folder / "slides", folder / "labels.csv", **options)  # type: ignore[arg-type]


def labels(found: ReviewedLabels) -> dict[str, str]:
    return {one.slide_id: one.said.review.human_label for one in found.labels}


def left_out(found: ReviewedLabels) -> dict[str, str]:
    return {one.slide_id: one.why for one in found.left_out}


class TestWhatCounts:
    def test_agreed_overridden_and_uncertain(self, folder: Path) -> None:
        log = [
            of(folder, "a"),
            of(folder, "b", **NO),
            of(folder, "c", **UNSURE),
            of(folder, "d", event="read", decision=None),
        ]
        found = make(folder, [*log, at(1, slide_id="x", slide_fingerprint="fx")])
        assert labels(found) == {"a": "yes", "b": "no"}
        assert left_out(found) == {"c": "uncertain", "x": "not in the slides"}
        assert any("'d', 'e'" in note for note in found.notes)  # without a review
        assert [row[:3] for row in read_records(folder / "labels.csv")] == [
            ["slide_id", "case_id", "label"],
            ["a", "", "yes"],
            ["b", "", "no"],
        ]

    def test_the_newest_of_a_reader_in_a_log_over_all_models(self, folder: Path) -> None:
        log = [
            of(folder, "a", 1),
            of(folder, "a", 3, bundle_sha256="b2", **NO),
            of(folder, "b", 3, **NO),
            of(folder, "b", 2),
        ]
        found = make(folder, log)
        assert labels(found) == {"a": "no", "b": "no"}
        assert any("clocks" in note and "'b'" in note for note in found.notes)

    @pytest.mark.parametrize("other", [NO, UNSURE])
    def test_readers_and_logs_that_differ_are_listed_not_decided(self, folder: Path, other: dict[str, object]) -> None:
        one = [of(folder, "a", 1, reviewer="r"), of(folder, "b", 1)]
        two = [of(folder, "a", 2, reviewer="q", **other), of(folder, "b", 2, **other), of(folder, "c", 1)]
        for logs in ((one, two), (two, one), ([*one, *two[:1]], two[1:])):
            found = make(folder, *logs)
            assert (labels(found), left_out(found)) == ({"c": "yes"}, {"a": "conflict", "b": "conflict"})
            said = [(said.review.reviewer, said.review.human_label) for said in found.left_out[0].said]
            assert said == [("r", "yes"), ("q", other["human_label"])]
            for path in (folder / "logs").iterdir():
                path.unlink()

    def test_the_newest_of_a_conflict_on_demand(self, folder: Path) -> None:
        one = [of(folder, "a", 1, reviewer="r"), of(folder, "b", 2, reviewer="r"), of(folder, "c", 1, reviewer="r")]
        two = [of(folder, "a", 2, **NO), of(folder, "b", 2, **NO), of(folder, "c", 2, **UNSURE)]
        found = make(folder, one, two, conflicts="newest")
        assert labels(found) == {"a": "no"}
        assert left_out(found) == {"b": "conflict", "c": "uncertain"}  # two of one second have no newest

    def test_another_word_is_refused(self, folder: Path) -> None:
        with pytest.raises(ConfigError, match="'oldest'"):
            make(folder, [of(folder, "a")], conflicts="oldest")

    def test_two_slides_of_one_name_are_not_one(self, folder: Path) -> None:
        log = [at(1, slide_id="a", slide_fingerprint="f1"), at(2, slide_id="a", slide_fingerprint="f2", **NO)]
        assert left_out(make(folder, log)) == {"a": "conflict"}

    def test_a_copy_of_a_log_is_no_second_opinion(self, folder: Path) -> None:
        earlier = [of(folder, "a", 1)]
        found = make(folder, earlier, [*earlier, of(folder, "a", 2, **NO)])
        assert labels(found) == {"a": "no"} and any("adds nothing" in note for note in found.notes)

    @given(logs_of(5, 5, 5), st.permutations(range(3)), st.sampled_from(["list", "newest"]))
    def test_the_order_of_logs_does_not_matter_and_nothing_is_lost(
        self, logs: list[list[Review]], order: list[int], conflicts: str
    ) -> None:
        with tempfile.TemporaryDirectory() as name:
            place = Path(name)
            (place / "slides").mkdir()
            for slide in "abc":
                (place / f"slides/{slide}.svs").write_bytes(slide.encode())
            paths = write_logs(place, logs)
            options = {"conflicts": conflicts}
            found = labels_from_reviews(paths, place / "slides", place / "one.csv", **options)  # type: ignore[arg-type]
            again = labels_from_reviews(
                [paths[at] for at in order],
                place / "slides",
                place / "two.csv",
                **options,  # type: ignore[arg-type]
            )
            assert (found.labels, found.left_out, found.notes) == (again.labels, again.left_out, again.notes)
            reviewed = {one.slide_id for log in logs for one in log if one.event == "review"}
            assert {one.slide_id for one in (*found.labels, *found.left_out)} == reviewed
            if found.table:
                assert found.table.read_bytes() == (place / "two.csv").read_bytes()
            for one in found.labels if conflicts == "list" else ():
                for log in logs:
                    mine = [said for said in log if said.event == "review" and said.slide_id == one.slide_id]
                    for voice in {(said.reviewer, said.slide_fingerprint) for said in mine}:
                        own = [said for said in mine if (said.reviewer, said.slide_fingerprint) == voice]
                        newest = max(enumerate(own), key=lambda item: (item[1].time, item[0]))[1]
                        copied = sum(newest in other for other in logs) > 1
                        assert newest.human_label == one.said.review.human_label or copied


class TestCases:
    def test_cases_are_written_where_they_are_known(self, folder: Path) -> None:
        (folder / "cases.csv").write_text("slide_id,case_id\na,007\nc,8\n")
        found = make(folder, [of(folder, "a"), of(folder, "b", **NO)], cases=folder / "cases.csv")
        assert [(one.slide_id, one.case_id) for one in found.labels] == [("a", "007"), ("b", "")]
        assert any("no case of 'b'" in note for note in found.notes)
        assert read_records(folder / "labels.csv")[1][1] == "007"

    def test_a_table_of_cases_that_cannot_be_used_stops_before_anything_is_written(self, folder: Path) -> None:
        (folder / "cases.csv").write_text("slide_id,case_id\na,1\na,2\n")
        with pytest.raises(CohortError, match="'a' has several cases"):
            make(folder, [of(folder, "a")], cases=folder / "cases.csv")
        assert not (folder / "labels.csv").exists()


class TestTheTable:
    def test_a_training_takes_it(self, cohort: Path, tmp_path: Path) -> None:
        log = tmp_path / "reviews.jsonl"
        for number, path in enumerate(sorted((cohort / "slides").iterdir())):
            said = {"slide_id": path.name.partition(".")[0], "slide_fingerprint": fingerprint_of(path)}
            append_review(log, at(number, **said, **(NO if number % 2 else {})))
        out = tmp_path / "labels.csv"
        assert len(lrmil.labels_from_reviews(log, cohort / "slides", out, cases=cohort / "labels.csv").labels) == 12
        report = lrmil.validate_cohort(cohort / "slides", out)
        assert report.problems == () and report.cohort is not None
        assert report.cohort.classes == ("no", "yes") and len(report.cohort.cases) == 12

    def test_ours_is_replaced_and_an_edited_one_never(self, folder: Path) -> None:
        make(folder, [of(folder, "a")])
        assert len(make(folder, [of(folder, "a"), of(folder, "b")]).labels) == 2  # the log went on
        path = folder / "labels.csv"
        assert is_labels(path)
        path.write_text(path.read_text() + "c,,yes,,,,,,,\n")
        edited = path.read_bytes()
        with pytest.raises(OverwriteError, match=r"labels\.csv"):
            make(folder, [of(folder, "d")])
        assert path.read_bytes() == edited

    @pytest.mark.parametrize("name", ["cases.csv", "slides/a.svs", "logs/log-0.jsonl"])
    def test_an_input_is_never_the_output(self, folder: Path, name: str) -> None:
        (folder / "cases.csv").write_text("slide_id,case_id\na,1\n")
        (log,) = write_logs(folder / "logs", [[of(folder, "a")]])
        before = (folder / name).read_bytes()
        with pytest.raises(OverwriteError):
            labels_from_reviews(log, folder / "slides", folder / name, cases=folder / "cases.csv")
        assert (folder / name).read_bytes() == before

    def test_nothing_is_written_without_a_label(self, folder: Path) -> None:
        found = make(folder, [of(folder, "a", **UNSURE)], [])
        assert found.table is None and found.labels == () and not (folder / "labels.csv").exists()

    def test_an_empty_log_a_missing_one_and_a_damaged_one(self, folder: Path) -> None:
        assert make(folder, []).table is None
        with pytest.raises(ReviewError):
            labels_from_reviews(folder / "none.jsonl", folder / "slides", folder / "labels.csv")
        log = folder / "logs/log-0.jsonl"
        log.write_bytes(b"\xff{}\n")
        append_review(log, of(folder, "a"))
        found = labels_from_reviews(log, folder / "slides", folder / "labels.csv")
        assert labels(found) == {"a": "yes"} and any("cannot be read: 1" in note for note in found.notes)

    def test_no_note_of_a_reader_reaches_it(self, folder: Path) -> None:
        make(folder, [of(folder, "a", note="Zzyzx-Canary")])
        assert "Zzyzx" not in (folder / "labels.csv").read_text()


class TestHostileNames:
    @pytest.mark.parametrize(
        "name", ["=1+1", "'=x", "a,b", 'a"b', "a;b", " a", "a\u00a0b", "e\u0301", "漢", "NA", "@x", "a\nb"]
    )
    def test_a_name_comes_back_as_the_same_slide(self, tmp_path: Path, name: str) -> None:
        slide = tmp_path / "slides" / f"{name}.svs"
        slide.parent.mkdir()
        slide.write_bytes(b"content")
        (log,) = write_logs(tmp_path, [[at(1, slide_id=name, slide_fingerprint=fingerprint_of(slide))]])
        labels_from_reviews(log, slide.parent, tmp_path / "labels.csv")
        report = lrmil.validate_cohort(slide.parent, tmp_path / "labels.csv", folds=None)
        assert report.cohort is not None and [one.slide_id for one in report.cohort.slides] == [name]

    @pytest.mark.parametrize("label", ["NA", "none", "?", " yes", "yes\u00a0", "a\0"])
    def test_a_label_that_a_table_cannot_hold_is_listed(self, folder: Path, label: str) -> None:
        found = make(folder, [of(folder, "a", decision="override", human_label=label)])
        assert left_out(found) == {"a": "unfit label"} and found.table is None

    @pytest.mark.parametrize("name", ["b\u200bc", " b"])  # the latter would be read as b, which is there too
    def test_so_is_a_name(self, folder: Path, name: str) -> None:
        (folder / f"slides/{name}.svs").write_bytes(b"x")
        found = make(folder, [of(folder, name), of(folder, "a")])
        assert left_out(found) == {name: "unfit name"} and labels(found) == {"a": "yes"}

    def test_other_cells_do_not_spoil_the_table(self, folder: Path) -> None:
        make(folder, [of(folder, "a", reviewer="\0\r\n=1+1,\x1b", bundle_sha256="\0")])
        ((_, *rows),) = [read_records(folder / "labels.csv")]
        assert rows[0][2] == "yes" and len(rows) == 1 and len(rows[0]) == len(HEADER) + 1


def test_steps_and_the_blocking_call_answer_the_same(folder: Path) -> None:
    (log,) = write_logs(folder, [[of(folder, "a")]])
    steps = list(labels_from_reviews_steps(log, folder / "slides", folder / "labels.csv"))
    assert last(steps) == labels_from_reviews([log], [folder / "slides"], folder / "labels.csv")
    assert [step.done for step in steps if step.unit == "slides"] == [1, 2, 3, 4, 5, 5]


def test_decisions_are_those_of_the_reviews_alone() -> None:
    said = Said("log", 0, at(1)), Said("log", 1, at(2, reviewer="q"))
    labels, left = decide_labels(Matched({"a": said}, (), (), ()), {"a": "p"}, SlideNames(["a"]))
    assert [(one.slide_id, one.case_id, one.said) for one in labels] == [("a", "p", said[1])] and left == ()
    assert table_of(labels).splitlines()[1].startswith("a,p,yes,agree,q,no,")
