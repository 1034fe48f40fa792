"""`lrmil extract` and `lrmil export`: features, once made kept, and as h5."""

from functools import partial
from pathlib import Path

import pytest

from lrmil.features.extraction import Extracted
from lrmil.models.encoders import loading
from support.cli import CPU, RunCli, stand_in, write_checksums, write_outline
from support.runs import stamp_of


def test_extract_and_export(run_cli: RunCli, cmu: Path, shared: Path, tmp_path: Path) -> None:
    encoder = f"local-dir:{shared / 'weights/mobilenetv2_100'}"
    options = ["--encoder", encoder, "--at", "5x", "--patch-size", "128", "--out", tmp_path / "f", *CPU]
    broken = shared / "data/slides/errors/histolab_broken.svs"
    code, text, _ = run_cli("extract", broken, cmu, *options, "--trident")
    assert code == 1 and (tmp_path / f"f/{cmu.stem}.zarr/zarr.json").is_file()
    assert f"{cmu.stem}: " in text and f"histolab_broken: {broken}" not in text and "histolab_broken: " in text
    before = stamp_of(tmp_path / f"f/{cmu.stem}.zarr/zarr.json")
    assert run_cli("extract", cmu, *options)[0] == 0
    assert stamp_of(tmp_path / f"f/{cmu.stem}.zarr/zarr.json") == before
    code, _, text = run_cli("extract", cmu, *[{"128": "64"}.get(str(one), one) for one in options])
    assert code == 1 and "128 px" in text and "64 px" in text
    assert stamp_of(tmp_path / f"f/{cmu.stem}.zarr/zarr.json") == before
    (tmp_path / "f/a.attention.ome.zarr").mkdir()  # a prediction's map, in a folder used for both
    assert run_cli("export", tmp_path / "f", "--to", "trident", "--out", tmp_path / "h5")[0] == 0
    one, other = (tmp_path / folder / f"{cmu.stem}.h5" for folder in ("f", "h5"))
    assert one.stat().st_size == other.stat().st_size > 1000


def test_every_option_arrives(run_cli: RunCli, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "load_encoder", partial(loading.load_encoder, pretrained=False))
    calls = stand_in(monkeypatch, "lrmil.features.extraction.extract_features", [Extracted("demo-001", tmp_path / "f")])
    slide = cohort / "slides/demo-001.ome.tif"
    mask, checksums = write_outline(tmp_path / "masks", "demo-001"), write_checksums(tmp_path / "sums.txt", slide)
    about = ["--mpp", "0.6", "--use-objective-power", "--checksums", checksums, "--tissue", mask.parent]
    numbers = ["--batch-size", 3, "--threads", 5, "--at", "8x", "--patch-size", 64, "--embedding", "mean"]
    arguments = ["extract", slide, "--encoder", "test_vit", "--out", tmp_path / "out", *numbers, *about]
    code, _, err = run_cli(*arguments, "--device", "cuda:99")
    assert code == 1 and "cuda:99" in err and not calls
    assert run_cli(*arguments, *CPU)[0] == 0
    (call,) = calls
    assert (call["threads"], call["encoder"].batch_size, call["out"]) == (5, 3, tmp_path / "out")
    assert (call["plan"].mpp, call["plan"].size, call["encoder"].encoder.spec.embedding) == (1.25, 64, "mean")
    assert call["encoder_hash"] == loading.encoder_hash(call["encoder"].encoder) and call["resolution"] == "lr"
    (source,) = call["slides"]
    assert (source.mpp, source.objective_power) == (0.6, True) and source.checksums
    assert list(call["tissue"]) == ["demo-001"] and set(call["inputs"]) == {checksums, mask}


def test_an_h5_file_in_the_way_is_a_failure(
    run_cli: RunCli, cohort: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load_encoder", partial(loading.load_encoder, pretrained=False))
    (tmp_path / "demo-001.h5").write_text("mine")
    slide, options = cohort / "slides/demo-001.ome.tif", ["--patch-size", 64, "--out", tmp_path, "--trident", *CPU]
    code, out, _ = run_cli("extract", slide, "--encoder", "test_vit", *options)
    assert code == 1 and (tmp_path / "demo-001.h5").read_text() == "mine" and "demo-001.h5" in out
