"""Stage 1 without labels: slides become an encoder that a training starts from."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lrmil.cohorts.splits import read_splits
from lrmil.configs import TrainConfig
from lrmil.errors import CohortError, ConfigError, OverwriteError, RunError
from lrmil.models.bundle import load_bundle
from lrmil.models.encoders.distilled import read_encoder_card, save_encoder
from lrmil.models.encoders.loading import load_encoder
from lrmil.reports.run_report import write_report
from lrmil.runs.audit import audit_run
from lrmil.runs.control import run_lock
from lrmil.runs.distil import Distilled, distil_steps
from lrmil.runs.train import train
from lrmil.slides.opening import open_source
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from lrmil.training.start_map import PRIOR
from support.runs import TinyRun, stamp_of, tiny_config, tiny_encoder

pytestmark = pytest.mark.long


def sources_of(run: TinyRun, count: int = 3) -> list[SlideSource]:
    return [SlideSource(path.name.split(".")[0], path) for path in sorted(run.slides.iterdir())[:count]]


def distil(run: TinyRun, out: Path, config: TrainConfig | None = None, count: int = 3) -> Distilled:
    return last(distil_steps(sources_of(run, count), out, config or tiny_config(), device="cpu"))


@pytest.fixture(scope="module")
def distilled(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Distilled:
    return distil(tiny_run, tmp_path_factory.mktemp("distilled") / "encoder")


def test_the_encoder_differs_from_its_start_and_is_loaded_by_name(distilled: Distilled) -> None:
    found = load_encoder(f"local-dir:{distilled.folder}", size=64)
    start = load_encoder("test_resnet", size=64, pretrained=False)
    pixels = torch.randint(0, 256, (2, 3, 64, 64), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    with torch.inference_mode():
        assert found.spec == start.spec and not torch.allclose(found(pixels).embedding, start(pixels).embedding)


def test_its_card_says_how_it_was_made_and_what_it_has_seen(distilled: Distilled, tiny_run: TinyRun) -> None:
    card = read_encoder_card(distilled.folder)
    assert card is not None and (card.mpp_hr, card.mpp_lr, card.patch_size) == (1.0, 2.0, 64)
    assert card.terms["teacher"].random and card.fidelity["patches"] == distilled.fidelity.patches > 0
    seen = []
    for source in sources_of(tiny_run, 5):
        with open_source(source) as slide:
            seen.append(card.has_seen(slide.fingerprint))
    assert seen == [True, True, True, False, False]


def test_the_held_out_slide_is_not_learned_from(distilled: Distilled) -> None:
    inputs = json.loads((distilled.folder / "work/lr_encoder/artefact.json").read_text())["inputs"]
    assert len(inputs["train"]) == 2 and len(inputs["val"]) == 1 and not inputs["train"].keys() & inputs["val"].keys()
    assert inputs["start_map"] == {"ridge": PRIOR}


def test_again_it_changes_nothing_and_other_settings_train_again(tiny_run: TinyRun, tmp_path: Path) -> None:
    out = tmp_path / "encoder"
    first = distil(tiny_run, out)
    stamps = {path.name: stamp_of(path) for path in out.iterdir() if path.is_file()}
    distil(tiny_run, out)
    assert {path.name: stamp_of(path) for path in out.iterdir() if path.is_file()} == stamps
    second = distil(tiny_run, out, tiny_config(stage1__fit__steps=6))
    assert second.folder == first.folder and read_encoder_card(out) is not None
    assert {path.name: stamp_of(path) for path in out.iterdir() if path.is_file()} != stamps


def test_a_bad_slide_is_left_out_and_too_few_are_an_error(tiny_run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "bad.svs").write_bytes(b"torn")
    bad = SlideSource("bad", tmp_path / "bad.svs")
    done = last(distil_steps([*sources_of(tiny_run, 2), bad], tmp_path / "a", tiny_config(), device="cpu"))
    assert list(done.failed) == ["bad"]
    with pytest.raises(CohortError, match=r"two or more slides.*Got 1\. bad: "):
        last(distil_steps([*sources_of(tiny_run, 1), bad], tmp_path / "b", tiny_config(), device="cpu"))


def test_what_needs_labels_or_a_projector_is_refused(tiny_run: TinyRun, tmp_path: Path) -> None:
    asked = tiny_config(teacher="patch", stage1__weighting="teacher_attention")
    with pytest.raises(ConfigError, match="without labels"):
        distil(tiny_run, tmp_path / "a", asked)
    other = tiny_config(student_encoder="test_convnext", stage1__lambda_keep=0.0)
    with pytest.raises(ConfigError, match="lambda_keep"):
        distil(tiny_run, tmp_path / "b", other)


def test_a_student_of_another_kind(tiny_run: TinyRun, tmp_path: Path) -> None:
    done = distil(tiny_run, tmp_path / "encoder", tiny_config(student_encoder="test_convnext"))
    assert load_encoder(str(done.folder), size=64).dim == 64 and done.fidelity.start.r2 is not None


def test_files_of_others_and_inputs_are_left_alone(tiny_run: TinyRun, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(OverwriteError, match=r"config\.json"):
        distil(tiny_run, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]
    with pytest.raises(OverwriteError, match="input"):
        last(distil_steps(sources_of(tiny_run), tiny_run.slides / "demo-000.ome.tif", tiny_config(), device="cpu"))


def test_two_at_once_in_a_folder_are_refused(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lrmil.runs.control.PATIENCE", 0.1)
    (tmp_path / "work").mkdir()
    with run_lock(tmp_path / "work"), pytest.raises(RunError):
        distil(tiny_run, tmp_path)


def test_the_share_held_out_is_a_setting(tiny_run: TinyRun, tmp_path: Path) -> None:
    distil(tiny_run, tmp_path, replace(tiny_config(), val_fraction=0.5), count=4)
    inputs = json.loads((tmp_path / "work/lr_encoder/artefact.json").read_text())["inputs"]
    assert (len(inputs["train"]), len(inputs["val"])) == (2, 2)


def test_a_training_starts_from_it_without_steps_of_its_own(
    distilled: Distilled, tiny_run: TinyRun, tmp_path: Path
) -> None:
    """It has seen three slides of this cohort, and the report says which of them are tested on."""
    card = read_encoder_card(distilled.folder)
    assert card is not None
    (tmp_path / "teacher").mkdir()
    save_encoder(tmp_path / "teacher", tiny_encoder("test_resnet"), card)
    names = {"encoder": tmp_path / "teacher", "student_encoder": distilled.folder}
    settings: dict[str, object] = {name: f"local-dir:{folder}" for name, folder in names.items()}
    config = tiny_config(pretrained=True, stage1__fit__steps=0, **settings)
    shutil.copytree(tiny_run.folder / "shared", tmp_path / "run/shared")
    run = train(tiny_run.slides, tiny_run.labels, tmp_path / "run", config, device="cpu")
    ours = load_bundle(run.model).encoder.state_dict()
    theirs = load_encoder(str(distilled.folder), size=64).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    (fold,) = read_splits(run.folder / "splits.csv")
    tested = sorted({source.slide_id for source in sources_of(tiny_run)}.intersection(fold.test))
    expected = {"slides": 3, "seen": 3, "tested": {"fold-0": tested} if tested else {}}
    assert run.metrics["student_start"] == expected
    findings = audit_run(run.folder).findings
    assert [where for where, _ in findings] == (["metrics.json"] if tested else [])
    write_report(run.folder)
    assert "The encoder that the student started from" in (run.folder / "report.html").read_text()
