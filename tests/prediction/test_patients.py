"""A row for each patient: by the rule of the model, from the slides that could be read; no file of others is lost."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.errors import OverwriteError
from lrmil.models.bundle import Bundle
from lrmil.prediction.patients import (
    PatientRow,
    answer_patient,
    answer_patients,
    require_patients_writable,
    write_patients,
)
from lrmil.prediction.table import PredictionRow
from lrmil.slides.source import SlideSource
from lrmil.tasks.case_rule import pool_probabilities, rules_of
from lrmil.tasks.classification import Classification
from support.runs import tiny_bundle

TASK = Classification(("no", "yes"))


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(tiny_bundle(), sha256="abc")


def row(slide_id: str, yes: float, status: str = "ok") -> PredictionRow:
    if status == "failed":
        return PredictionRow(slide_id, "failed", reason="read", message="It is cut.")
    return PredictionRow(slide_id, status, "yes" if yes > 0.5 else "no", {"yes": yes, "no": 1 - yes}, model="abc")


def test_each_patient_has_the_answer_of_the_rule(bundle: Bundle) -> None:
    rows = [row("a", 0.9), row("b", 0.2, "uncertain"), row("c", 0.4)]
    case_of = {"a": "p", "b": "p", "c": "q"}
    for rule in rules_of(2):
        one, other = answer_patients(rows, case_of, replace(bundle, case_rule=rule))
        expected = pool_probabilities(np.array([[0.1, 0.9], [0.8, 0.2]]), rule)
        assert list(one.probabilities) == ["no", "yes"] and one.probabilities["yes"] == pytest.approx(expected[1])
        assert one.label == TASK.names[int(expected.argmax())]
        counts = (one.n_slides, one.failed_slides, one.uncertain_slides)
        assert (one.case_id, one.status, counts, one.slides) == ("p", "ok", (2, 0, 1), ("a", "b"))
        assert (one.rule, one.model, one.message) == (rule, "abc", "Uncertain slides: 1 of 2.")
        assert (other.case_id, other.label, other.probabilities) == ("q", "no", {"no": 0.6, "yes": 0.4})


def test_a_patient_can_be_uncertain_whose_slides_are_not(bundle: Bundle) -> None:
    rows = [row("a", 0.95), row("b", 0.05)]
    (one,) = answer_patients(rows, {"a": "p", "b": "p"}, bundle, uncertain_below=0.8)
    assert one.status == "uncertain" and one.uncertain_slides == 0


@pytest.mark.parametrize("reason", ["", "unfamiliar_colours", "risk little_tissue"])
def test_a_patient_with_one_slide_has_its_status_and_reasons(bundle: Bundle, reason: str) -> None:
    only = replace(row("a", 0.9, "uncertain"), reason=reason)
    found = answer_patient([only], bundle)
    assert (found.status, found.label, found.values) == ("uncertain", only.label, {"no": 1 - 0.9, "yes": 0.9})
    assert " ".join(found.reasons) == reason
    both = answer_patient([only, replace(only, slide_id="b", reason="no_class")], bundle)
    assert both.status == "uncertain" and " ".join(both.reasons).split() == [*reason.split(), "no_class"]
    assert answer_patient([only, row("b", 0.9)], bundle).status == "ok"


def test_slides_that_failed_have_no_say_and_are_named(bundle: Bundle) -> None:
    rows = [row("a", 0.9), row("b", 0, "failed"), row("c", 0, "failed"), row("d", 0, "failed")]
    one, other = answer_patients(rows, {"a": "p", "b": "p", "c": "q", "d": "q"}, bundle)
    assert one.status == "ok" and one.probabilities["yes"] == pytest.approx(0.9)
    assert (one.n_slides, one.failed_slides) == (2, 1) and one.message.startswith("1 of 2 slides failed: 'b'.")
    assert (other.status, other.label, other.probabilities) == ("failed", "", {})
    assert "'c', 'd'" in other.message and other.rule == "mean" and other.model == "abc"


@given(st.lists(st.tuples(st.floats(0, 1), st.sampled_from("pqr")), min_size=1, max_size=9), st.randoms())
@settings(deadline=None)
def test_the_order_of_slides_changes_no_row(bundle: Bundle, given: Sequence[tuple[float, str]], random: object) -> None:
    rows = [row(f"s{number}", yes) for number, (yes, _) in enumerate(given)]
    case_of = {f"s{number}": case for number, (_, case) in enumerate(given)}
    mixed = rows.copy()
    random.shuffle(mixed)  # type: ignore[attr-defined]
    for rule in rules_of(2):
        model = replace(bundle, case_rule=rule)
        assert answer_patients(mixed, case_of, model) == answer_patients(rows, case_of, model)


def patient(case_id: str = "p", yes: float = 0.75, **about: object) -> PatientRow:
    return PatientRow(case_id, "ok", "yes", {"no": 1 - yes, "yes": yes}, n_slides=2, rule="mean", **about)  # type: ignore[arg-type]


def test_the_table_is_complete_and_safe_to_open(tmp_path: Path) -> None:
    rows = [patient("=1+1", slides=("a", "b"), message="1 of 2 slides failed: 'b'."), PatientRow("q", "failed")]
    path = write_patients(tmp_path, rows, TASK)
    with path.open(newline="", encoding="utf-8") as file:
        first, second = csv.DictReader(file)
    assert path.name == "patients.csv" and first["case_id"] == "'=1+1" and first["prob_yes"] == "0.750000"
    assert (first["n_slides"], first["slides"], first["rule"]) == ("2", "a; b", "mean")
    assert second["status"] == "failed" and second["prob_yes"] == second["label"] == ""


def test_the_same_table_is_left_alone_and_another_is_kept(tmp_path: Path) -> None:
    path = write_patients(tmp_path, [patient()], TASK)
    before = path.stat()
    write_patients(tmp_path, [patient()], TASK)
    assert (path.stat().st_ino, path.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    earlier = path.read_bytes()
    write_patients(tmp_path, [patient(yes=0.5)], TASK)
    assert (tmp_path / "patients-1.csv").read_bytes() == earlier and b"0.500000" in path.read_bytes()


def test_no_file_of_others_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "patients.csv").write_text("case_id,age\np,50\n")
    slide = SlideSource("a", tmp_path / "a.svs")
    for refused in (
        lambda: write_patients(tmp_path, [patient()], TASK),
        lambda: require_patients_writable(tmp_path, [slide], []),
    ):
        with pytest.raises(OverwriteError, match=r"patients\.csv"):
            refused()
    assert (tmp_path / "patients.csv").read_text() == "case_id,age\np,50\n"
    out = tmp_path / "out"
    out.mkdir()
    require_patients_writable(out, [slide], [])
    with pytest.raises(OverwriteError, match=r"patients\.csv"):
        require_patients_writable(out, [slide], [out / "patients.csv"])
