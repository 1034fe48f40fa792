"""Small stand-ins of the large pathology encoders, as folders of the hub, through extraction and training."""

import json
from pathlib import Path

import pytest
import torch

from lrmil import cli
from lrmil.features.store import read_card, read_features
from lrmil.models.bundle import load_bundle
from lrmil.prediction.inference import predict
from lrmil.reports.model_facts import model_facts
from lrmil.runs.train import train_steps
from support.encoder_folders import LAYERS, SMALL, encoder_folder
from support.runs import tiny_config

SCALED = {"init_values": 1e-5}
UNI = {**SMALL, "img_size": 224, "dynamic_img_size": True}
VIRCHOW2 = {**SMALL, "img_size": 224, "mlp_ratio": 5.3375, "global_pool": "", "reg_tokens": 4, "dynamic_img_size": True}
H_OPTIMUS = {**SMALL, "img_size": 224, "dynamic_img_size": False}
KINDS = {
    "uni": ("vit_large_patch16_224", UNI, SCALED),
    "Virchow2": ("vit_huge_patch14_224", VIRCHOW2, {**LAYERS, **SCALED}),
    "H-optimus-0": ("vit_giant_patch14_reg4_dinov2", H_OPTIMUS, SCALED),
}


def folder_of(name: str, place: Path) -> Path:
    architecture, stated, unstated = KINDS[name]
    encoder_folder(place / name, architecture, {**stated, **unstated}, stated=stated)
    return place / name


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "dim", "rule"), [("uni", 48, "pooled"), ("Virchow2", 96, "cls+mean"), ("H-optimus-0", 48, "pooled")]
)
def test_extraction(
    name: str, dim: int, rule: str, cohort: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    slides = sorted((cohort / "slides").iterdir())[:2]
    arguments = ["extract", *map(str, slides), "--encoder", str(folder_of(name, tmp_path)), "--at", "0.5"]
    assert cli.main([*arguments, "--out", str(tmp_path / "f"), "--device", "cpu", "--threads", "1"]) == 0
    for slide in slides:
        path = tmp_path / f"f/{slide.name.partition('.')[0]}.zarr"
        card, found = read_card(path), read_features(path).embeddings
        assert card.size == 224 and found.shape[1] == dim and found.std() > 0.01
        assert card.encoder is not None and (card.encoder["embedding"], card.encoder["dim"]) == (rule, dim)
    capsys.readouterr()
    if name != "uni":  # of patch 14: told once, before any slide, with the sizes that fit
        assert cli.main([*arguments, "--patch-size", "256", "--out", str(tmp_path / "g")]) == 1
        said = capsys.readouterr().err
        assert "252, 266" in said.replace("224, ", "") and "demo-" not in said and "Leave" not in said
        assert not (tmp_path / "g").exists()


@pytest.mark.long
def test_a_training_whose_teacher_binds_its_student(cohort: Path, tmp_path: Path) -> None:
    encoder = folder_of("Virchow2", tmp_path)
    config = tiny_config(encoder=f"local-dir:{encoder}", pretrained=True, patch_size=56)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        steps = list(train_steps(cohort / "slides", cohort / "labels.csv", tmp_path / "run", config, device="cpu"))
    finally:
        torch.set_num_threads(threads)
    (warning,) = [step.message for step in steps if step.job == ("terms of use",)]
    assert warning.count("no: the terms of local-dir:Virchow2 (CC-BY-NC-ND-4.0)") == 2
    bundle = load_bundle(tmp_path / "run/model")
    assert bundle.encoder.spec.embedding == "cls+mean" and bundle.encoder.dim == 96
    assert bundle.encoder.spec.model_args["mlp_layer"] == "SwiGLUPacked"
    facts = model_facts(bundle.card)
    assert facts["Teacher"].startswith("local-dir:Virchow2 (paige-ai/Virchow2): CC-BY-NC-ND-4.0")
    assert facts["Commercial use"].startswith("no:") and str(tmp_path) not in json.dumps(bundle.terms)
    result = predict(sorted((cohort / "slides").iterdir())[0], bundle, device="cpu")
    assert result.label in bundle.classes and sum(result.probabilities.values()) == pytest.approx(1)
