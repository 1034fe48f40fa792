"""`lrmil extract` and `lrmil export`: features, once made kept, and as h5."""

from pathlib import Path

from support.cli import CPU, RunCli
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
