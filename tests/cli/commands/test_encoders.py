"""`lrmil encoders`: what can be named, and what can be had here."""

import json
from pathlib import Path

import pytest

from lrmil.cli import main
from lrmil.models.encoders.catalogue import CATALOGUE, UNSUPPORTED
from support.encoder_folders import SMALL, encoder_folder


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["encoders"]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in (*CATALOGUE, *UNSUPPORTED))
    assert main(["encoders", "--json"]) == 0
    listed = {one["name"]: one for one in json.loads(capsys.readouterr().out)["encoders"]}
    assert set(listed) == set(CATALOGUE) and listed["virchow2"]["mpp"] is None
    assert listed["uni2-h"]["student_inherits"] is True and listed["uni2-h"]["arguments"]["mlp_layer"] == "SwiGLUPacked"


def test_the_list_can_be_read_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["encoders"]) == 0
    lines = capsys.readouterr().out.splitlines()
    row = next(line for line in lines if line.split()[:1] == ["uni2-h"])
    assert row.split() == ["uni2-h", "cls", "1536", "224", "0.5", "CC-BY-NC-ND-4.0", "yes", "yes"]
    assert not any("\u2026" in line for line in lines)


@pytest.mark.parametrize("fault", ["none", "lost", "other"])
def test_a_folder_can_be_had_where_it_can_be_loaded(
    fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "e"
    built = {"img_size": 224, **SMALL}
    encoder_folder(folder, "vit_tiny_patch16_224", built, stated={**built, "depth": 3} if fault == "other" else built)
    if fault == "lost":
        (folder / "model.safetensors").unlink()
    assert main(["doctor", "--encoder", str(folder)]) == (0 if fault == "none" else 1)
    said = capsys.readouterr()
    assert ("available: yes" in said.out) is (fault == "none") and ("local-dir:e" in said.err) is (fault != "none")
