"""Agreement of readers and model: against scikit-learn and plain loops, and what logs do not hold is said."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

import lrmil
from lrmil.reviews.agreement import Agreement, Kappa, ModelAgreement, reader_agreement
from lrmil.reviews.log import Review
from lrmil.reviews.readers import Reader
from support.reviewing import logs_of, write_logs
from support.reviews import entry


def review(slide: int, label: str, output: str = "yes", **changes: object) -> Review:
    decision = {output: "agree", "": "uncertain"}.get(label, "override")
    values: dict[str, object] = {
        "slide_id": f"s{slide}",
        "slide_fingerprint": f"f{slide}",
        "output_label": output,
        "output_probabilities": {"no": 0.5, "yes": 0.5},
        "decision": decision,
        "human_label": label,
        "reviewer": "r",
        "time": f"2026-01-01T01:{slide:02}:00+00:00",
    }
    return entry(**(values | changes))


def answer(slide: int, label: str, output: str = "yes", **changes: object) -> Review:
    time = f"2026-01-01T00:{slide:02}:00+00:00"
    return review(slide, label, output, event="read", decision=None, human_first=True, time=time, **changes)


def measured(folder: Path, *logs: list[Review], **options: dict[str, str]) -> Agreement:
    return reader_agreement(write_logs(folder, list(logs)), **options)


def only(found: Agreement) -> ModelAgreement:
    (model,) = found.models
    return model


FIRST = ["yes", "yes", "no", "no", "yes", "no", "yes", "no", "no", "yes"]
SECOND = ["yes", "no", "no", "no", "yes", "yes", "yes", "no", "yes", "yes"]
OUTPUT = ["yes", "yes", "no", "yes", "yes", "no", "no", "no", "no", "yes"]


class TestFigures:
    def test_kappa_confusion_and_counts_are_scikit_learns(self, tmp_path: Path) -> None:
        rows = list(enumerate(zip(FIRST, SECOND, OUTPUT, strict=True)))
        log = [review(n, one, output) for n, (one, _, output) in rows]
        log += [review(n, other, output, reviewer="q") for n, (_, other, output) in rows]
        found = measured(tmp_path, [*log, review(20, "", reviewer="q"), review(21, "")])
        model = only(found)
        every, (q, r) = model.all_readers, model.readers
        assert (q.reader, r.reader) == (Reader("q"), Reader("r"))
        assert r.figures.with_model.kappa == pytest.approx(cohen_kappa_score(FIRST, OUTPUT))
        assert q.figures.with_model.kappa == pytest.approx(cohen_kappa_score(SECOND, OUTPUT))
        assert every.with_model.kappa == pytest.approx(cohen_kappa_score(FIRST + SECOND, OUTPUT * 2))
        assert (every.with_model.pairs, every.with_model.cases) == (20, 10)
        assert model.confusion.labels == ("no", "yes")
        assert model.confusion.counts == tuple(map(tuple, confusion_matrix(FIRST + SECOND, OUTPUT * 2)))
        (pair,) = found.pairs
        assert pair.readers == (Reader("q"), Reader("r")) and pair.before.pairs == 0
        assert pair.reviewed.kappa == pytest.approx(cohen_kappa_score(SECOND, FIRST))
        assert pair.reviewed.interval is not None and pair.reviewed.interval[0] < pair.reviewed.kappa
        assert (every.reviews, every.uncertain, every.agree + every.override) == (22, 2, 20)
        assert every.agree == sum(one == output for one, output in zip(FIRST + SECOND, OUTPUT * 2, strict=True))

    def test_reading_first_and_seeing_the_model_first_are_apart(self, tmp_path: Path) -> None:
        log = []
        for n, (before, after, output) in enumerate(zip(FIRST, SECOND, OUTPUT, strict=True)):
            log += [answer(n, before, output), review(n, after, output, human_first=True, seconds_viewed=float(n))]
        log += [review(n + 20, one, output) for n, (one, output) in enumerate(zip(FIRST, OUTPUT, strict=True))]
        figures = only(measured(tmp_path, log)).all_readers
        assert figures.before.kappa == pytest.approx(cohen_kappa_score(FIRST, OUTPUT)) == figures.model_first.kappa
        assert figures.read_first.kappa == pytest.approx(cohen_kappa_score(SECOND, OUTPUT))
        assert (figures.before.pairs, figures.read_first.pairs, figures.model_first.pairs) == (10, 10, 10)
        switches = figures.switches
        assert (switches.answered, switches.changed, switches.rate) == (10, 3, pytest.approx(0.3))
        assert (switches.to_model, switches.from_model) == (0, 3)
        assert (figures.seconds.measured, figures.seconds.median) == (10, 4.5)

    def test_models_are_measured_apart_and_readers_over_all(self, tmp_path: Path) -> None:
        log = [review(n, "yes", bundle_sha256=f"b{n % 2}") for n in range(4)]
        log += [review(n, "no", bundle_sha256="b2", reviewer="q") for n in range(4)]
        found = measured(tmp_path, log)
        assert [(model.bundle_sha256, model.all_readers.reviews) for model in found.models] == [
            ("b0", 2),
            ("b1", 2),
            ("b2", 4),
        ]
        (pair,) = found.pairs
        assert (pair.reviewed.pairs, pair.reviewed.agreed, pair.reviewed.kappa) == (4, 0, 0)

    def test_a_decision_on_the_answer_of_one_model_counts_for_that_model_alone(self, tmp_path: Path) -> None:
        log = [answer(n, "no", bundle_sha256="b0") for n in range(3)]
        log += [review(n, "yes", bundle_sha256="b0", human_first=True) for n in range(3)]
        log += [
            review(n, "no", "no", bundle_sha256="b1", human_first=True, time="2026-01-02T00:00:00+00:00")
            for n in (0, 1)
        ]
        first, second = (model.all_readers for model in measured(tmp_path, log).models)
        assert (first.agree, first.override, first.before.pairs) == (3, 0, 3)
        assert (first.switches.answered, first.switches.to_model) == (3, 3)
        assert (second.agree, second.override, second.before.pairs) == (2, 0, 0)
        assert (second.switches.answered, second.switches.rate, second.switches.without_answer) == (0, None, 2)

    def test_slides_of_a_case_are_drawn_together(self, tmp_path: Path) -> None:
        log = [review(n, one, output) for n, (one, output) in enumerate(zip(FIRST, OUTPUT, strict=True))]
        alone = only(measured(tmp_path, log)).all_readers.with_model
        cases = {f"s{n}": f"p{n // 3}" for n in range(9)}
        together = only(measured(tmp_path / "cases", log, case_of=cases)).all_readers.with_model
        assert (alone.cases, together.cases) == (10, 4) and together.kappa == alone.kappa
        assert together.interval != alone.interval


@given(logs_of(8, 8), st.booleans())
def test_the_order_of_logs_does_not_matter_and_pairs_are_symmetric(logs: list[list[Review]], turned: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        paths = write_logs(Path(folder), logs)
        found = reader_agreement(paths)
        assert reader_agreement(paths[::-1] if turned else set(paths)) == found
        for model in found.models:
            total = sum(map(sum, model.confusion.counts))
            every = model.all_readers
            assert total == every.with_model.pairs == every.read_first.pairs + every.model_first.pairs
            assert every.reviews == every.agree + every.override + every.uncertain
            assert every.reviews == sum(one.figures.reviews for one in model.readers)
            assert every.before.pairs == sum(one.figures.before.pairs for one in model.readers)
        for pair in found.pairs:
            assert pair.readers[0] < pair.readers[1]


class TestWhatTheLogsLack:
    def test_an_empty_log(self, tmp_path: Path) -> None:
        found = measured(tmp_path, [])
        assert (found.models, found.pairs) == ((), ()) and "no review" in found.not_in_the_logs[0]

    def test_one_reader_who_saw_the_model_first(self, tmp_path: Path) -> None:
        found = measured(tmp_path, [review(n, one) for n, one in enumerate(FIRST)])
        said = " ".join(found.not_in_the_logs)
        assert "one reader" in said and "before the output" in said and "No review has a time" in said
        assert only(found).all_readers.switches.rate is None and found.pairs == ()

    def test_one_class_alone(self, tmp_path: Path) -> None:
        figures = only(measured(tmp_path, [review(n, "yes") for n in range(5)])).all_readers
        assert figures.with_model.kappa is None and "'yes' alone" in figures.with_model.reason
        assert (figures.with_model.agreed, figures.with_model.pairs) == (5, 5)

    def test_readers_of_different_slides(self, tmp_path: Path) -> None:
        found = measured(tmp_path, [review(1, "yes"), review(2, "no", reviewer="q")])
        assert found.pairs == () and "same slide" in found.not_in_the_logs[0]

    def test_only_uncertain_reviews(self, tmp_path: Path) -> None:
        figures = only(measured(tmp_path, [review(1, ""), review(2, "")])).all_readers
        assert figures.uncertain == 2 and figures.with_model.reason == "There is no slide with both labels."

    def test_answers_that_no_log_has(self, tmp_path: Path) -> None:
        found = measured(tmp_path, [review(1, "yes", human_first=True)])
        switches = only(found).all_readers.switches
        assert (switches.answered, switches.rate, switches.without_answer) == (0, None, 1)
        assert any("lack the answers" in one for one in found.not_in_the_logs)

    def test_a_reader_without_a_name(self, tmp_path: Path) -> None:
        found = measured(tmp_path, [review(1, "yes", reviewer="")], [review(1, "no", reviewer="")])
        assert [one.log for one in found.pairs[0].readers] == sorted(
            str(path) for path in tmp_path.iterdir() if path.suffix == ".jsonl"
        )
        assert any("without a reviewer's name" in one for one in found.not_in_the_logs)


@pytest.mark.parametrize("odd", ["", "\0", "a\0", "\x1b[31m", "../../x", "=1+1", "漢", "[bold]"])
def test_hostile_names_are_names(tmp_path: Path, odd: str) -> None:
    log = [review(n, "yes" if n % 2 else "no", reviewer=odd, slide_id=odd, slide_fingerprint="") for n in range(2)]
    log += [review(n, "no", reviewer="a", slide_id="a", slide_fingerprint="") for n in range(2)]
    found = measured(tmp_path, log)
    assert {one.reader.name for one in only(found).readers} == {odd, "a"}
    assert isinstance(only(found).all_readers.with_model, Kappa) and only(found).all_readers.reviews == 2


def test_readers_whose_names_look_alike_are_told(tmp_path: Path) -> None:
    names = ("Ann", "ann ", "Ann\u200b", "Bo", "Jos\u00e9", "Jose\u0301", "", "r1", "r2")
    found = measured(tmp_path, [review(slide, "yes", reviewer=name) for slide, name in enumerate(names)])
    told = [note for note in found.notes if "look alike" in note]
    assert len(told) == 2 and "'Ann', 'Ann\\u200b', 'ann '" in told[0] and "Jos" in told[1]
    assert len(only(found).readers) == len(names), "nobody is taken for another"


def test_it_is_public() -> None:
    assert lrmil.reader_agreement is reader_agreement
