"""A closer look at uncertain slides: what is read, what is answered, what is kept, and when it is not taken."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from lrmil.cli import main
from lrmil.errors import ConfigError, SlideChangedError, SlideError
from lrmil.features.encoding import Encoded, concatenate, encode_patches
from lrmil.models.bundle import Bundle, save_bundle
from lrmil.models.devices import on_device
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.models.familiarity import Familiarity
from lrmil.models.heads.head import predict_bag
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import tissue_of
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.closer_look import COULD_NOT, look_closer_steps, settle_steps, why_not_closer
from lrmil.prediction.evaluation import evaluate_steps, thresholds_of
from lrmil.prediction.files import read_prediction, write_prediction
from lrmil.prediction.inference import predict
from lrmil.prediction.one import predict_one
from lrmil.prediction.options import PredictOptions
from lrmil.prediction.patients import answer_patient
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import row_of
from lrmil.raster import Raster
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource
from lrmil.steps import Step, last
from lrmil.tasks.classification import Classification
from lrmil.tasks.decision import LOW, SEVERAL, Decision
from support.bags import CPU
from support.deciding import view
from support.runs import ON_CPU, stamp_of
from support.teachers import decision_of, teaching

NAME = "demo-000"
ESCALATING = replace(ON_CPU, escalate=True)


@pytest.fixture
def source(cohort: Path) -> SlideSource:
    return SlideSource(NAME, cohort / f"slides/{NAME}.ome.tif")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return teaching()


@pytest.fixture(scope="module")
def first(cohort: Path, bundle: Bundle) -> Prediction:
    """The student's answer."""
    return predict(cohort / f"slides/{NAME}.ome.tif", bundle, "cpu")


def steps_of(source: SlideSource, bundle: Bundle, out: Path, *, escalate: bool = True) -> list[Step[Prediction]]:
    return list(predict_one(source, bundle, out, ESCALATING if escalate else ON_CPU))


@pytest.mark.parametrize("regions", [1, 2, 50])
@pytest.mark.parametrize("kind", ["region", "region_attention", "patch"])
def test_the_teacher_sees_the_patches_of_the_most_attended_regions(
    source: SlideSource, kind: str, regions: int
) -> None:
    bundle = teaching(kind=kind, regions=regions)
    before, after = (predict(source.path, bundle, "cpu", escalate=escalate) for escalate in (False, True))
    assert (before.status, before.reasons, before.escalation) == ("uncertain", (SEVERAL,), None)
    assert bundle.teacher_networks is not None
    with open_slide(source.path) as slide:
        patches = patches_of(slide, PatchPlan(2.0, 64, 2))
        chosen = np.argsort(-before.patch_attention, kind="stable")[:regions]
        cells = before.patches.index[chosen].tolist()
        corners, inside = [], []
        for row, cell in enumerate(patches.index.tolist()):
            if cell in cells:
                covered = patches.children_covered[row]
                corners.append(patches.children_level0_yx[row][covered])
                inside.append(covered)
        at = np.concatenate(corners)
        encoder = PatchEncoder(bundle.teacher_networks.encoder, CPU, batch_size=64)
        values = concatenate([*encode_patches(slide, at, patches.children_grid, encoder, threads=1)]).embeddings
    counts = [int(covered.sum()) for covered in inside]
    parts = np.split(values, np.cumsum(counts)[:-1])
    if kind == "patch":
        bag = values
    elif kind == "region":
        bag = np.stack([part.mean(0) for part in parts])
    else:
        bag = np.zeros((len(parts), 4, values.shape[1] + 1), np.float32)
        for place, (part, covered) in enumerate(zip(parts, inside, strict=True)):
            bag[place, covered, :-1], bag[place, covered, -1] = part, 1
    expected = bundle.task.values(predict_bag(bundle.teacher_networks.mil, torch.from_numpy(bag)).logits)
    assert [*after.probabilities.values()] == pytest.approx(expected.tolist(), abs=1e-5)
    looked = after.escalation
    assert looked is not None and (looked.patches, looked.failed_patches) == (len(at), 0)
    assert looked.regions == len(parts) == min(regions, len(before.patches)) and looked.mpp == 1.0
    assert (looked.label, looked.probabilities, looked.reasons) == (before.label, before.probabilities, before.reasons)


def test_its_cost_is_counted(first: Prediction, source: SlideSource, bundle: Bundle) -> None:
    with open_slide(source.path) as slide:
        steps = list(look_closer_steps(slide, bundle, first, ON_CPU))
    found = steps[-1].result
    assert found is not None and found.escalation is not None
    assert (found.status, found.reasons, found.threshold) == ("escalated", (), 0.5)
    assert found.timings["total"] == pytest.approx(first.timings["total"] + found.escalation.seconds)
    assert found.timings["closer"] == found.escalation.seconds > 0
    if found.bytes_read is not None:
        assert found.escalation.bytes_read and found.bytes_read == (first.bytes_read or 0) + found.escalation.bytes_read
    assert [step.done for step in steps][-1] == found.escalation.patches == steps[-1].total
    assert found.notes[-1] == found.escalation.sentence and "patches at 1 um/px" in found.notes[-1]
    np.testing.assert_array_equal(found.patch_attention, first.patch_attention)  # it stays the student's


def test_a_teacher_that_is_not_sure_either_leaves_it_uncertain(source: SlideSource) -> None:
    found = predict(source.path, teaching(teacher=(0.0, 0.0)), "cpu", escalate=True)
    assert (found.status, found.reasons, found.plausible) == ("uncertain", (SEVERAL,), ("no", "yes"))
    assert found.escalation is not None
    low = predict(source.path, teaching(), "cpu", escalate=True, uncertain_below=0.99999)
    assert low.status == "uncertain" and low.reasons == (LOW,) and low.escalation is not None


def test_a_sure_student_and_an_unfamiliar_slide_are_left_alone(source: SlideSource, first: Prediction) -> None:
    sure = predict(source.path, teaching(student=(0.5, 0.5)), "cpu", escalate=True)
    assert (sure.status, sure.escalation) == ("ok", None)
    known = Familiarity(colours=view(6, limit=0.0), tissue=view(32), fewest_patches=1, slides=20)
    strange = predict(source.path, replace(teaching(), familiarity=known), "cpu", escalate=True)
    assert strange.status == "uncertain" and strange.escalation is None and "closer" not in strange.timings
    assert "does not know it" in why_not_closer(teaching(), strange)
    assert why_not_closer(teaching(), sure) == "The answer is not uncertain."
    assert why_not_closer(teaching(), first) == ""


def test_without_a_teacher_it_is_refused(source: SlideSource, first: Prediction) -> None:
    plain = replace(teaching(), teacher=None, teacher_networks=None)
    assert "--with-teacher" in why_not_closer(plain, first)
    with pytest.raises(ConfigError, match="train it with --with-teacher, or leave out --escalate"):
        predict(source.path, plain, "cpu", escalate=True)
    with open_slide(source.path) as slide, pytest.raises(ConfigError, match="loaded with its teacher"):
        list(look_closer_steps(slide, replace(teaching(), teacher_networks=None), first, ON_CPU))


def test_the_answer_of_another_slide_is_refused(cohort: Path, first: Prediction, bundle: Bundle) -> None:
    with open_slide(cohort / "slides/demo-001.ome.tif") as slide, pytest.raises(SlideChangedError):
        list(look_closer_steps(slide, bundle, first, ON_CPU))


def test_a_slide_without_finer_pixels_stays_uncertain_with_a_note(source: SlideSource) -> None:
    found = predict(source.path, teaching(mpp=0.125), "cpu", escalate=True)
    assert (found.status, found.escalation) == ("uncertain", None)
    assert found.notes[-1].startswith("The teacher could not look closer: ") and "um/px" in found.notes[-1]


def test_a_look_that_failed_is_tried_again_and_its_note_goes(source: SlideSource, tmp_path: Path) -> None:
    bundle = teaching(mpp=0.125)
    for _ in range(2):
        found = steps_of(source, bundle, tmp_path)[-1].result
        assert found is not None and sum(note.startswith(COULD_NOT) for note in found.notes) == 1
        stamp = stamp_of(tmp_path / f"{NAME}.json")
    steps_of(source, bundle, tmp_path)
    assert stamp_of(tmp_path / f"{NAME}.json") == stamp  # it says the same, so nothing is written
    with open_slide(source.path) as slide:
        now = last(look_closer_steps(slide, teaching(), found, ON_CPU))
        assert now.escalation is not None and now.notes == (*found.notes[:-1], now.escalation.sentence)
        assert found.notes[-1].startswith(COULD_NOT)


def test_an_answer_of_another_model_or_resolution_is_refused(
    source: SlideSource, first: Prediction, bundle: Bundle
) -> None:
    with open_slide(source.path) as slide, pytest.raises(ConfigError, match="of another model"):
        list(look_closer_steps(slide, replace(bundle, sha256="another"), first, ON_CPU))
    with open_slide(source.path, mpp=0.25) as slide, pytest.raises(ConfigError, match="that it was classified with"):
        list(look_closer_steps(slide, bundle, first, ON_CPU))


def test_only_tissue_of_the_given_mask_is_looked_at(source: SlideSource, tmp_path: Path) -> None:
    bundle = teaching(regions=50)
    with open_slide(source.path) as slide:
        width, height = slide.dimensions
        array = np.zeros((height // 64, width // 64), bool)
        array[:, : array.shape[1] // 2] = True
        mask = Raster.on_lattice(array, cell_level0=64.0, origin_yx=(0.0, 0.0))
        expected = int(patches_of(slide, PatchPlan(2.0, 64, 2), tissue_of(slide, mask)).children_covered.sum())
        whole = int(patches_of(slide, PatchPlan(2.0, 64, 2)).children_covered.sum())
    at_once = last(predict_one(source, bundle, tmp_path / "one", ESCALATING, tissue=mask))
    list(predict_one(source, bundle, tmp_path / "two", ON_CPU, tissue=mask))
    later = last(predict_one(source, bundle, tmp_path / "two", ESCALATING, tissue=mask))
    assert expected != whole
    for found in (at_once, later):
        assert found.tissue_source == "given" and found.escalation is not None
        assert found.escalation.patches == expected and found.probabilities == at_once.probabilities
    written = json.loads((tmp_path / "two" / f"{NAME}.json").read_text())
    assert written["tissue_content"] and (tmp_path / "two" / f"{NAME}.tissue.ome.zarr").is_dir()
    assert not (tmp_path / "two" / f"{NAME}.tissue-1.ome.zarr").exists()


def test_patches_have_the_least_tissue_of_the_teacher(source: SlideSource) -> None:
    bundle = teaching(regions=50)
    assert bundle.teacher is not None
    strict = replace(bundle, teacher=replace(bundle.teacher, min_tissue=0.9))
    with open_slide(source.path) as slide:
        counts = [
            int(patches_of(slide, PatchPlan(2.0, 64, 2, *least)).children_covered.sum())
            for least in ((0.25, 0.9), (0.9, 0.25), (0.25, 0.25))
        ]
        found = predict(slide, strict, "cpu", escalate=True)
        array = np.zeros([side // 16 for side in reversed(slide.dimensions)], bool)
        array[:, ::2] = True  # a half of each patch
        striped = predict(
            slide,
            strict,
            "cpu",
            tissue=Raster.on_lattice(array, cell_level0=16.0, origin_yx=(0.0, 0.0)),
            escalate=True,
        )
    assert len({*counts}) == 3 and found.escalation is not None and found.escalation.patches == counts[0]
    assert striped.escalation is None and "attended to has enough tissue" in striped.notes[-1]


def test_all_bytes_that_are_read_are_counted_once(source: SlideSource, bundle: Bundle) -> None:
    with open_slide(source.path) as slide:
        before = slide.bytes_read
        found = predict(slide, bundle, "cpu", escalate=True)
        assert before is not None and slide.bytes_read is not None and found.escalation is not None
        assert found.bytes_read == slide.bytes_read - before
        assert 0 < (found.escalation.bytes_read or 0) < found.bytes_read


def test_a_slide_that_changes_meanwhile_has_no_answer(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / source.path.name
    shutil.copy(source.path, path)
    with open_slide(path) as slide:
        steps = look_closer_steps(slide, bundle, predict(slide, bundle, "cpu"), ON_CPU)
        next(iter(steps))
        with path.open("ab") as file:
            file.write(b"more")
        with pytest.raises(SlideChangedError):
            list(steps)


def test_patches_that_cannot_be_read_are_left_out_and_told(
    source: SlideSource, first: Prediction, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*arguments: Any, **options: Any) -> Iterator[Encoded]:
        encoded = concatenate([*encode_patches(*arguments, **options)])
        parts = (value[1:] for value in (encoded.positions, encoded.embeddings))
        yield Encoded(*parts, (), encoded.positions[:1], encoded.colours[1:])

    monkeypatch.setattr("lrmil.prediction.closer_look.encode_patches", failing)
    with open_slide(source.path) as slide:
        found = last(look_closer_steps(slide, replace(bundle, max_failed=0.9), first, ON_CPU))
        assert found.escalation is not None and found.escalation.failed_patches == 1
        assert found.escalation.patches > 1 and "1 of" in found.notes[-1]
        stays = last(settle_steps(slide, replace(bundle, max_failed=0.0), first, ESCALATING))
    assert stays.escalation is None and stays.notes[-1].startswith(COULD_NOT)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "more memory than is available"),
        (ConfigError("no memory left for one patch"), "no memory left"),
        (OSError(5, "Input/output error"), "Input/output error"),
        (SlideError("{path} is cut"), f"{NAME}.ome.tif is cut"),  # without the folder, which may name a person
    ],
)
def test_a_look_that_fails_leaves_the_stored_answer(
    source: SlideSource,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    told: str,
) -> None:
    first = steps_of(source, bundle, tmp_path, escalate=False)[-1].result
    if isinstance(error, SlideError):
        error = SlideError(str(error).format(path=source.path))

    def failing(*_arguments: Any, **_options: Any) -> Iterator[Encoded]:
        raise error

    monkeypatch.setattr("lrmil.prediction.closer_look.encode_patches", failing)
    (row,) = last(predict_slides([source], bundle, tmp_path, ESCALATING))
    assert first is not None and (row.status, row.label, row.looked_closer) == ("uncertain", first.label, False)
    assert row.notes[-1].startswith(COULD_NOT) and told in row.notes[-1] and str(source.path) not in row.notes[-1]
    stored = read_prediction(tmp_path, NAME)
    assert stored is not None and stored.probabilities == first.probabilities


def test_the_teacher_is_placed_once_for_all_slides(
    cohort: Path, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert bundle.teacher_networks is not None
    placed: list[object] = []

    def counting(network: Any, device: torch.device) -> Any:
        placed.append(network)
        return on_device(network, device)

    monkeypatch.setattr("lrmil.prediction.batch.on_device", counting)
    slides = [SlideSource(path.name[:8], path) for path in sorted((cohort / "slides").iterdir())[:2]]
    plain = last(predict_slides(slides, bundle, tmp_path / "plain", ON_CPU))
    assert placed == [bundle.encoder] and not any(row.looked_closer for row in plain)
    rows = last(predict_slides(slides, bundle, tmp_path / "out", ESCALATING))
    assert placed[1:] == [bundle.teacher_networks.encoder, bundle.encoder]
    assert [row.looked_closer for row in rows] == [True, True]


def test_a_batch_without_the_teacher_is_refused_before_a_slide_is_read(source: SlideSource, tmp_path: Path) -> None:
    bare = replace(teaching(), teacher_networks=None)
    with pytest.raises(ConfigError, match="loaded with its teacher"):
        last(predict_slides([source], bare, tmp_path / "out", ESCALATING))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="loaded with its teacher"):  # although the student is sure
        sure = replace(teaching(student=(0.5, 0.5)), teacher_networks=None)
        predict(source.path, sure, "cpu", escalate=True)


def unlike(student: float, teacher: float) -> Bundle:
    """A model whose student and teacher answer from other thresholds on, and are never sure."""
    bundle = teaching()
    assert bundle.teacher is not None
    card = replace(bundle.teacher, decision=decision_of((0.0, 0.0), threshold=teacher))
    task = Classification(("negative", "positive"))
    return replace(bundle, task=task, decision=decision_of((0.0, 0.0), threshold=student), teacher=card)


@pytest.mark.parametrize(("student", "teacher"), [(0.0, 1.0), (1.0, 0.0)])
def test_an_evaluation_measures_at_the_threshold_that_answered(
    cohort: Path, tmp_path: Path, student: float, teacher: float
) -> None:
    bundle = unlike(student, teacher)
    steps = evaluate_steps(cohort / "slides", cohort / "labels.csv", bundle, tmp_path, ESCALATING)
    found = last(steps)
    confusion = np.array(found.metrics["confusion"])
    assert found.looked_closer == found.classified == confusion.sum() and found.abstention is not None
    assert confusion[:, int(teacher == 0.0)].sum() == found.classified  # all have the label of the teacher's threshold
    assert found.abstention["wrong"] == confusion.sum() - np.trace(confusion)
    assert f"looked closer at {found.classified} of these" in found.closer
    assert json.loads((tmp_path / "evaluation.json").read_text())["looked_closer"] == found.looked_closer


def test_patients_are_decided_on_by_who_answered(source: SlideSource) -> None:
    bundle = unlike(0.0, 1.0)
    row = row_of("a", predict(source.path, bundle, "cpu", escalate=True))
    other = row_of("b", predict(source.path, bundle, "cpu"))
    assert (row.label, row.looked_closer, other.label, other.looked_closer) == ("negative", True, "positive", False)
    assert answer_patient([row], bundle).label == answer_patient([row, row], bundle).label == "negative"
    assert answer_patient([row, other], bundle).label == answer_patient([other, row], bundle).label == "positive"
    assert thresholds_of(bundle, [True, False, True], ["p", "p", "q"]) == ([1.0, 0.0, 1.0], {"p": 0.0, "q": 1.0})
    nothing = replace(bundle, decision=Decision(), teacher=None)
    assert thresholds_of(nothing, [False], ["p"]) == (None, None)


def test_stored_answers_are_looked_at_and_kept(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    first = steps_of(source, bundle, tmp_path, escalate=False)
    assert {step.unit for step in first} == {"patches"} and first[-1].result is not None
    second = steps_of(source, bundle, tmp_path)
    assert {step.unit for step in second[:-1]} <= {"HR patches", "patches"}
    assert sum(step.unit == "patches" for step in second) <= 2  # no LR patch is read again
    looked = second[-1].result
    assert looked is not None and looked.status == "escalated"
    np.testing.assert_array_equal(looked.patch_attention, first[-1].result.patch_attention.astype(np.float32))
    for escalate in (True, False):  # it is kept by a call that does not ask for it, too
        (again,) = steps_of(source, bundle, tmp_path, escalate=escalate)
        assert again.result is not None and again.result.escalation == looked.escalation
        assert again.result.status == "escalated"


EDITS: dict[str, Callable[[dict[str, Any]], object]] = {
    "the label": lambda card: card.update(label="no" if card["label"] == "yes" else "yes"),
    "the status": lambda card: card.update(status="ok"),
    "no escalation": lambda card: card.pop("escalation"),
    "the values": lambda card: card.update(probabilities={"no": 0.5, "yes": 0.5}, plausible=["no", "yes"]),
    "another class before": lambda card: card["escalation"].update(probabilities={"moon": 1.0}),
    "the label before": lambda card: card["escalation"].update(label="moon"),
    "sure before": lambda card: card["escalation"].update(reasons=[]),
    "unfamiliar before": lambda card: card["escalation"].update(reasons=["unfamiliar_colours"]),
    "another resolution": lambda card: card["escalation"].update(mpp=0.5),
    "more regions than the teacher takes": lambda card: card["escalation"].update(regions=3),
    "no region": lambda card: card["escalation"].update(regions=0),
    "negative cost": lambda card: card["escalation"].update(patches=-1),
    "another member": lambda card: card["escalation"].update(more=1),
}


@pytest.mark.parametrize("edit", EDITS, ids=str)
def test_an_edited_answer_is_made_again(edit: str, source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    expected = steps_of(source, bundle, tmp_path)[-1].result
    path = tmp_path / f"{NAME}.json"
    document = json.loads(path.read_text())
    EDITS[edit](document["prediction"])
    path.write_text(json.dumps(document))
    again = steps_of(source, bundle, tmp_path)
    assert len(again) > 1 and again[-1].result is not None and expected is not None
    assert again[-1].result.probabilities == expected.probabilities
    assert again[-1].result.status == "escalated" and again[-1].result.escalation is not None


def test_what_is_written_is_read(source: SlideSource, bundle: Bundle, tmp_path: Path) -> None:
    with open_slide(source.path) as slide:
        found = last(_steps(slide, bundle))
        write_prediction(tmp_path, NAME, found, slide, key="key")
    again = read_prediction(tmp_path, NAME)
    assert again is not None and again.escalation == found.escalation
    assert (again.status, again.reasons, again.plausible) == (found.status, found.reasons, found.plausible)


def _steps(slide: Slide, bundle: Bundle) -> list[Step[Prediction]]:
    options = PredictOptions(device="cpu", threads=1)
    first = last(predict_one_open(slide, bundle, options))
    return list(look_closer_steps(slide, bundle, first, options))


def predict_one_open(slide: Slide, bundle: Bundle, options: PredictOptions) -> list[Step[Prediction]]:
    from lrmil.prediction.inference import classify_steps

    return list(classify_steps(slide, bundle, options))


def test_the_command_looks_closer_and_says_so(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_bundle(tmp_path / "model", teaching())
    slides = [str(cohort / f"slides/demo-00{number}.ome.tif") for number in range(2)]
    arguments = ["predict", *slides, "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out")]
    assert main([*arguments, "--device", "cpu"]) == 0
    assert "uncertain" in capsys.readouterr().out
    assert main([*arguments, "--device", "cpu", "--escalate"]) == 0
    said = capsys.readouterr().out
    assert "Where the teacher looked closer, 'yes' is the answer from a probability of 50.0 % on." in " ".join(
        said.split()
    )
    assert said.count("escalated") == 2 and "The teacher looked closer at 2 regions" in " ".join(said.split())
    table = (tmp_path / "out/predictions.csv").read_text()
    assert table.count(",escalated,") == 2 and table.count("The teacher looked closer") == 2


def test_the_command_refuses_a_model_without_one(
    cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_bundle(tmp_path / "model", replace(teaching(), teacher=None, teacher_networks=None))
    slide = str(cohort / f"slides/{NAME}.ome.tif")
    code = main(["predict", slide, "--model", str(tmp_path / "model"), "--out", str(tmp_path / "out"), "--escalate"])
    assert code == 1 and "Expected a model that keeps its teacher" in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "out").exists()


def test_an_evaluation_can_look_closer(cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = teaching()
    save_bundle(tmp_path / "model", replace(bundle, task=Classification(("negative", "positive"))))
    arguments = ["evaluate", str(cohort / "slides"), str(cohort / "labels.csv"), "--model", str(tmp_path / "model")]
    arguments += ["--out", str(tmp_path / "out"), "--device", "cpu", "--json"]
    counts = []
    for more in ([], ["--escalate"]):
        assert main([*arguments, *more]) == 0
        counts.append(json.loads(capsys.readouterr().out)["abstention"]["uncertain"])
    assert counts[0] > 0 == counts[1]
