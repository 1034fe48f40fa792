"""Answers of a model with a threshold, conformal sets and knowledge of its slides: stored, edited and evaluated."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lrmil.errors import SlideError
from lrmil.features.appearance import COLOURS, SKETCH
from lrmil.models.bundle import Bundle
from lrmil.models.familiarity import TISSUE, UNREAD, Familiarity
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import Tissue, tissue_of
from lrmil.prediction.evaluation import evaluate_steps
from lrmil.prediction.inference import predict
from lrmil.prediction.one import predict_one
from lrmil.prediction.patients import answer_patient
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import row_of
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, last
from lrmil.tasks.classification import Classification
from lrmil.tasks.decision import SEVERAL, Decision, PredictionSets
from support.deciding import deciding, view
from support.runs import ON_CPU

NAME = "demo-000"


@pytest.fixture
def source(cohort: Path) -> SlideSource:
    return SlideSource(NAME, cohort / f"slides/{NAME}.ome.tif")


def steps_of(source: SlideSource, bundle: Bundle, out: Path) -> list[Step[Prediction]]:
    return list(predict_one(source, bundle, out, ON_CPU))


@pytest.mark.parametrize(
    "change",
    [
        {"plausible": ["moonlight"]},
        {"plausible": None},
        {"plausible": []},
        {"reasons": [], "status": "ok"},
        {"reasons": ["moonlight"]},
        {"reasons": [TISSUE, SEVERAL]},
        {"status": "ok"},
        {"threshold": None},
        {"threshold": 0.3},
        {"label": "yes"},
        {"appearance": None},
        {"appearance": None, "reasons": [SEVERAL]},
        {"appearance": [1e300] * (COLOURS + SKETCH)},
    ],
    ids=str,
)
def test_an_answer_that_was_edited_is_made_again(change: dict[str, Any], source: SlideSource, tmp_path: Path) -> None:
    bundle = deciding(tmp_path / "model", (0.0, 0.0), threshold=0.999, tissue=0)
    first = steps_of(source, bundle, tmp_path / "out")[-1].result
    assert first is not None and (first.label, first.status) == (bundle.classes[0], "uncertain")
    assert first.reasons == (SEVERAL, TISSUE) and first.plausible == bundle.classes
    assert len(steps_of(source, bundle, tmp_path / "out")) == 1
    path = tmp_path / f"out/{source.slide_id}.json"
    document = json.loads(path.read_text())
    document["prediction"] |= change
    path.write_text(json.dumps(document))
    again = steps_of(source, bundle, tmp_path / "out")
    assert len(again) > 1 and again[-1].result is not None
    assert replace(again[-1].result, timings=first.timings, bytes_read=0).reasons == first.reasons
    assert json.loads(path.read_text())["prediction"]["plausible"] == list(bundle.classes)


def test_a_probability_at_the_threshold_is_positive_everywhere(source: SlideSource, tmp_path: Path) -> None:
    bundle = deciding(tmp_path / "first", (0.0, 0.0), threshold=0.5)
    found = last(predict_one(source, bundle, tmp_path / "out", ON_CPU))
    negative, positive = bundle.classes
    tied = deciding(tmp_path / "tied", (0.0, 0.0), threshold=found.probabilities[positive])
    above = deciding(tmp_path / "above", (0.0, 0.0), threshold=float(np.nextafter(found.probabilities[positive], 1)))
    for model, label in ((tied, positive), (above, negative)):
        out = tmp_path / f"out-{label}"
        answer = last(predict_one(source, model, out, ON_CPU))
        assert answer.label == label and len(steps_of(source, model, out)) == 1
        assert answer_patient([row_of(source.slide_id, answer)], model).label == label
        values = np.array([*answer.probabilities.values()])
        assert model.decision.confidence(values) == pytest.approx(0.5)


def test_an_evaluation_counts_answers_by_the_threshold_and_sets(cohort: Path, tmp_path: Path) -> None:
    bundle = deciding(tmp_path / "model", (0.0, 1.0), threshold=0.999, classes=("negative", "positive"))
    steps = evaluate_steps(cohort / "slides", cohort / "labels.csv", bundle, tmp_path / "out", ON_CPU, part="all")
    found = last(steps)
    negative = bundle.classes[0]
    confusion: Any = found.metrics["confusion"]
    assert [row[1] for row in confusion] == [0, 0] and found.abstention is not None
    assert found.abstention["in_set"] == sum(confusion[0]) and found.abstention["uncertain"] == 0
    assert found.abstention["wrong"] == sum(confusion[1]) and negative in bundle.classes


def test_patches_that_could_not_be_read_count(source: SlideSource, tmp_path: Path) -> None:
    known = Familiarity(colours=view(COLOURS), tissue=view(SKETCH), fewest_patches=1, slides=20)
    assert known.doubts([0.0] * (COLOURS + SKETCH), patches=1, failed=1) == [UNREAD]
    assert known.doubts([0.0] * (COLOURS + SKETCH), patches=1, failed=0) == []


def test_more_classes_have_sets_and_no_threshold() -> None:
    task = Classification(("a", "b", "c"))
    sets = PredictionSets(coverage=0.9, limits=(0.3, 0.3, 0.3), by_class=False, slides=(9, 9, 9))
    answer = task.answer(np.array([0.2, 0.4, 0.4]), Decision(sets=sets))
    assert (answer.label, answer.plausible, answer.reasons) == ("b", ("b", "c"), (SEVERAL,))


def test_patches_in_areas_that_could_not_be_read_count_as_failed(
    source: SlideSource, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it is unknown whether there is tissue, a patch was not read, and may have changed the answer."""
    bundle = replace(deciding(tmp_path / "model", (0.5, 0.5), threshold=0.5), max_failed=0.6)
    with open_slide(source.path) as slide:
        whole = tissue_of(slide, None)
        before = patches_of(slide, PatchPlan(bundle.mpp, bundle.patch_size), whole)
    plain = predict(source.path, bundle, "cpu")
    assert (plain.failed_patches, plain.status) == (0, "ok")

    def partly_read() -> Tissue:
        """The lower 40 % of the tissue could not be read."""
        mask, unread = whole.mask.array.copy(), np.zeros_like(whole.mask.array)
        rows = np.flatnonzero(mask.any(1))
        first = rows[-round(0.4 * len(rows))]
        unread[first:] = mask[first:]
        mask[first:] = False
        return Tissue(Raster(mask, whole.mask.to_level0), Raster(unread, whole.mask.to_level0), ("Torn.",))

    monkeypatch.setattr("lrmil.prediction.inference.tissue_of", lambda slide, given: partly_read())
    found = predict(source.path, bundle, "cpu")
    assert 0 < found.failed_patches <= 0.6 * len(before)
    assert len(found.patches) + found.failed_patches <= len(before)
    assert found.reasons == (UNREAD,) and found.status == "uncertain"
    assert f"{found.failed_patches} of {len(found.patches) + found.failed_patches} patches" in " ".join(found.notes)
    last_step = last(predict_one(source, bundle, tmp_path / "out", ON_CPU))
    assert last_step.failed_patches == found.failed_patches
    strict = replace(bundle, max_failed=(found.failed_patches - 0.5) / (len(found.patches) + found.failed_patches))
    with pytest.raises(SlideError, match=rf"unreadable patches\. Got {found.failed_patches} of \d+"):
        predict(source.path, strict, "cpu")
