"""What the list says of a patient follows from the slides that are classified, and never from hidden ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrmil.errors import CohortError
from lrmil.prediction.table import PredictionRow
from lrmil.tasks.case_rule import pool_probabilities, rules_of
from napari_lrmil.state.worklist import Entry
from napari_lrmil.state.worklist_patients import (
    HIDDEN,
    patient_answer,
    read_patients,
    recall_table,
    remember_table,
)
from support.runs import tiny_bundle

BUNDLE = tiny_bundle()


def entry(name: str, yes: float | None = None, status: str = "ok") -> Entry:
    new = Entry(Path(f"{name}.svs"), name)
    if yes is None:
        return replace(new, status="new" if status == "ok" else status)  # type: ignore[arg-type]
    row = PredictionRow(name, status, "yes" if yes > 0.5 else "no", {"no": 1 - yes, "yes": yes})
    return replace(new, status=status, row=row)  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", rules_of(2))
def test_the_answer_is_that_of_the_models_rule(rule: str) -> None:
    entries = [entry("a", 0.9), entry("b", 0.3, "uncertain")]
    pooled = pool_probabilities(np.array([[0.1, 0.9], [0.7, 0.3]]), rule)  # type: ignore[arg-type]
    said = f"{['no', 'yes'][int(pooled.argmax())]} {100 * pooled.max():.1f} %"
    bundle = replace(BUNDLE, case_rule=rule)  # type: ignore[arg-type]
    assert patient_answer(entries, bundle) == said
    assert patient_answer(entries[::-1], bundle) == said
    assert patient_answer(entries, bundle, uncertain_below=0.999) == f"{said}, uncertain"


def test_slides_that_are_not_classified_are_counted() -> None:
    rest = [entry("c"), entry("d", status="failed"), entry("e", status="running"), entry("f", 0.9, "other model")]
    assert patient_answer(rest, BUNDLE) == "0 of 4 slides"
    assert patient_answer([entry("a", 0.9), *rest], BUNDLE) == "yes 90.0 %, 1 of 5 slides"


def test_nothing_of_a_hidden_result_is_said() -> None:
    entries = [entry("a", 0.9), entry("b", 0.3)]
    assert patient_answer(entries, BUNDLE, hidden=True) == HIDDEN
    assert patient_answer([*entries, entry("c")], BUNDLE, hidden=True) == f"{HIDDEN}, 2 of 3 slides"
    assert patient_answer(entries, None) == "" and patient_answer([entry("c")], None) == "0 of 1 slides"


def test_the_table_of_a_folder_is_read_and_remembered(tmp_path: Path) -> None:
    table = tmp_path / "cases.csv"
    table.write_text("slide,patient\na.svs,p\nb,p\nelsewhere,q\n")
    assert read_patients(table, ["a", "b"]) == ({"a": "p", "b": "p"}, "")
    found = read_patients(table, ["a", "b", "c"])
    assert found.case_of == {"a": "p", "b": "p"} and "'c'" in found.note and "cases.csv" in found.note
    with pytest.raises(CohortError):
        read_patients(tmp_path / "absent.csv", ["a"])
    assert recall_table(tmp_path) is None
    remember_table(tmp_path, table)
    assert recall_table(tmp_path) == table and recall_table(tmp_path / "other") is None
