"""What a line of the worklist shows of its reviews: those of this model, and nothing that is to be read first."""

from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.reviews.log import Review, append_review
from lrmil.reviews.withdrawals import withdrawal_of
from napari_lrmil.session.session import Session
from napari_lrmil.session.worklist_review import Judgement, judge_by
from napari_lrmil.state.known_models import note_model
from napari_lrmil.state.worklist import Entry

DONE = Entry(Path("a.svs"), "a", status="ok", fingerprint="a" * 64)
REVIEW = Review(
    event="review",
    slide_id="a",
    slide_fingerprint="a" * 64,
    bundle_sha256="b" * 64,
    output_label="yes",
    output_probabilities={"no": 0.25, "yes": 0.75},
    output_status="ok",
    decision="override",
    human_label="no",
    reviewer="AB",
)
NOTHING = Judgement("", hidden=False)


@pytest.mark.parametrize("read_first", [False, True])
def test_a_slide_without_a_result_has_nothing_to_hide(session: Session, *, read_first: bool) -> None:
    session.read_first = read_first
    for status in ("new", "running", "failed", "other model"):
        assert judge_by(session, "b" * 64)(replace(DONE, status=status)) == NOTHING


def test_a_result_is_hidden_from_a_reader_without_a_record_of_the_slide(session: Session) -> None:
    assert judge_by(session, "b" * 64)(DONE) == NOTHING
    session.read_first, session.reviewer = True, "AB"
    assert judge_by(session, "b" * 64)(DONE) == Judgement("", hidden=True)
    append_review(session.review_log, replace(REVIEW, event="read", decision=None))
    judge = judge_by(session, "b" * 64)
    assert judge(DONE) == NOTHING
    assert judge(replace(DONE, fingerprint="c" * 64, status="uncertain")) == Judgement("", hidden=True)
    session.reviewer = "CD"
    assert judge_by(session, "b" * 64)(DONE).hidden


def test_reviews_of_another_model_do_not_count_and_are_told_by_its_name(session: Session) -> None:
    append_review(session.review_log, REVIEW)
    assert judge_by(session, "b" * 64)(DONE) == Judgement("override, no", hidden=False)
    assert judge_by(session, "c" * 64)(DONE) == Judgement("", False, "override, no (model bbbbbbbbbbbb)")
    note_model(session.preferences.results, "b" * 64, Path("run-1/model"))
    other = replace(DONE, status="other model")
    assert judge_by(session, "c" * 64)(other) == Judgement("", False, "override, no (run-1/model)")
    newer = replace(
        REVIEW, bundle_sha256="d" * 64, decision="agree", human_label="yes", time="2099-01-01T00:00:00+00:00"
    )
    append_review(session.review_log, newer)
    assert judge_by(session, "c" * 64)(DONE).earlier == "agree, yes (model dddddddddddd)"
    append_review(session.review_log, withdrawal_of(newer))
    assert judge_by(session, "c" * 64)(DONE).earlier == "override, no (run-1/model)"
    append_review(session.review_log, replace(REVIEW, bundle_sha256="c" * 64, decision="uncertain", human_label=""))
    assert judge_by(session, "c" * 64)(DONE) == Judgement("uncertain", hidden=False)
