"""Features of the frozen encoder: a slide that cannot be read is left out and told, and a class must stay."""

import json
import shutil
from pathlib import Path

import pytest

from lrmil.cohorts.splits import read_splits
from lrmil.errors import CohortError, SlideError
from lrmil.models.bundle import load_bundle
from lrmil.models.encoders.loading import load_encoder
from lrmil.models.encoders.terms import EncoderTerms
from lrmil.runs.start_encoders import StartEncoders
from lrmil.runs.train import train, train_steps
from support.runs import TinyRun, tiny_config

pytestmark = pytest.mark.long


def test_a_bad_slide_is_left_out_and_told(tiny_run: TinyRun, tmp_path: Path) -> None:
    slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "slides"))
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
    bad = slides / "demo-000.ome.tif"
    bad.write_bytes(bad.read_bytes()[:20_000])
    run = train(slides, tiny_run.labels, tmp_path / "run", tiny_config(), device="cpu")
    assert list(run.failed) == ["demo-000"] and "truncated" in run.failed["demo-000"]
    problems = json.loads((run.folder / "problems.json").read_text())
    (problem,) = [problem for problem in problems if problem["slide_id"] == "demo-000"]
    assert problem["severity"] == "error" and problem["message"] == run.failed["demo-000"]
    (fold,) = read_splits(run.folder / "splits.csv")
    assert "demo-000" not in fold.train + fold.val + fold.test and len(fold.train + fold.val + fold.test) == 11
    assert run.metrics["lr_student"]["n_slides"] == 4 and load_bundle(run.model)  # type: ignore[index]


def test_a_slide_that_breaks_during_a_run_stops_it_with_its_name_and_the_next_call_leaves_it_out(
    tiny_run: TinyRun, tmp_path: Path
) -> None:
    slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "slides"))
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
    with pytest.raises(SlideError, match="demo-004"):
        for step in train_steps(slides, tiny_run.labels, tmp_path / "run", tiny_config(), device="cpu"):
            if step.job == ("fold-0", "stage 1"):
                (slides / "demo-004.ome.tif").write_bytes(b"torn")
    run = train(slides, tiny_run.labels, tmp_path / "run", tiny_config(), device="cpu")
    assert list(run.failed) == ["demo-004"] and load_bundle(run.model)


def test_a_class_without_a_readable_slide_stops_the_run_with_the_reasons(tiny_run: TinyRun, tmp_path: Path) -> None:
    slides = Path(shutil.copytree(tiny_run.slides, tmp_path / "slides"))
    for number in range(0, 12, 2):
        (slides / f"demo-{number:03d}.ome.tif").write_bytes(b"torn")
    with pytest.raises(
        CohortError, match=r"every class in each part of fold-0\. Got none for negative.* 6 slides failed: demo-000: "
    ):
        train(slides, tiny_run.labels, tmp_path / "run", tiny_config(), device="cpu")
    assert len(json.loads((tmp_path / "run/problems.json").read_text())) >= 6


def test_a_student_of_another_kind_stays_near_its_own_start(tiny_run: TinyRun, tmp_path: Path) -> None:
    """Its LR features are extracted once, and the shipped encoder has its own dimension and no projector."""
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
    config = tiny_config(student_encoder="test_convnext")
    run = train(tiny_run.slides, tiny_run.labels, tmp_path / "run", config, device="cpu")
    spec = load_encoder("test_convnext", size=64, pretrained=False).spec
    assert len(list((run.folder / "shared/start").glob("*.zarr"))) == 12
    encoder = load_bundle(run.model).encoder
    assert encoder.spec == spec and encoder.dim == 64
    figures = json.loads((run.folder / "fold-0/lr_encoder/fidelity.json").read_text())
    assert figures["start"]["r2"] is not None and figures["distilled"]["r2"] is not None


def test_the_same_encoder_needs_no_features_of_its_start(tiny_run: TinyRun) -> None:
    assert not (tiny_run.folder / "shared/start").exists()
    (history, *_) = json.loads((tiny_run.folder / "fold-0/lr_encoder/history.json").read_text())
    assert history["val_keep"] >= 0


def test_whoever_keeps_a_teacher_is_told_whose_weights_those_are() -> None:
    encoder = load_encoder("test_resnet", size=64, pretrained=False)
    known = EncoderTerms("uni", licence="cc-by-nc-nd-4.0", inherits=True, gated=True)
    encoder.terms = known
    encoders = StartEncoders(encoder, encoder)
    (restricted,) = encoders.warnings(with_teacher=False)
    assert "restrict the model" in restricted
    told = encoders.warnings(with_teacher=True)
    assert told[0] == restricted and "weights of its teacher, uni: cc-by-nc-nd-4.0" in told[1]
    encoder.terms = EncoderTerms("free", licence="apache-2.0")
    (held,) = encoders.warnings(with_teacher=True)
    assert "Whoever passes it on passes them on." in held and not encoders.warnings(with_teacher=False)
    encoder.terms = EncoderTerms("test_resnet", random=True)
    assert encoders.warnings(with_teacher=True) == []
