"""Why an answer is uncertain, and by which threshold it is given, is said beside a slide and in the worklist."""

from dataclasses import replace
from pathlib import Path

from lrmil.models.familiarity import TISSUE
from lrmil.models.synthetic import SYNTHETIC_NOTE, synthetic_note
from lrmil.prediction.one import predict_one
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from lrmil.tasks.decision import NONE
from napari_lrmil.state.worklist import entries_of, with_prediction
from napari_lrmil.widgets.classify.result_box import facts
from support.deciding import deciding
from support.runs import ON_CPU


def test_the_windows_say_why_and_by_which_threshold(cohort: Path, tmp_path: Path) -> None:
    source = SlideSource("demo-000", cohort / "slides/demo-000.ome.tif")
    bundle = deciding(tmp_path / "model", (1.0, 1.0), threshold=0.25, tissue=0)
    found = last(predict_one(source, bundle, tmp_path / "out", ON_CPU))
    assert found.reasons == (NONE, TISSUE) and found.plausible == ()
    first, rule, *_ = facts(found)
    assert first == (
        f"{source.slide_id}: uncertain: no class is probable enough; its tissue looks unlike that of the slides that "
        "the model learned from"
    )
    assert rule == f"'{bundle.classes[1]}' is the answer from a probability of 25.0 % on"
    (entry,) = entries_of([source.path])
    shown = with_prediction(entry, found, bundle.sha256)
    assert shown.status == "uncertain" and shown.message.startswith(
        "Uncertain: no class is probable enough; its tissue"
    )
    synthetic = replace(found, notes=("A note.", *synthetic_note({"synthetic": True})))
    assert facts(synthetic)[1] == SYNTHETIC_NOTE and facts(synthetic).count(SYNTHETIC_NOTE) == 1
    assert "A note." in facts(synthetic) and SYNTHETIC_NOTE not in facts(found)
    earlier = replace(found, reasons=(), threshold=None)
    assert facts(earlier)[0] == f"{source.slide_id}: uncertain" and "is the answer" not in facts(earlier)[1]
