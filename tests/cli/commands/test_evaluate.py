"""`lrmil evaluate`: metrics of what could be read."""

import json
import shutil
from pathlib import Path

from support.cli import CPU, RunCli
from support.runs import TinyRun


def test_evaluate(run_cli: RunCli, tiny_run: TinyRun, tmp_path: Path) -> None:
    slides = tmp_path / "slides"
    slides.mkdir()
    rows = tiny_run.labels.read_text().splitlines()
    for name in ("demo-008", "demo-009", "demo-010"):
        shutil.copy(tiny_run.slides / f"{name}.ome.tif", slides)
    (slides / "demo-010.ome.tif").write_bytes(b"torn")
    kept = ("slide_id", "demo-008", "demo-009", "demo-010")
    wanted = [",".join(row.split(",")[:3]) for row in rows if row.startswith(kept)]
    (tmp_path / "labels.csv").write_text("\n".join(wanted) + "\n")
    arguments = ["evaluate", slides, tmp_path / "labels.csv", "--model", tiny_run.folder / "model", *CPU]
    code, out, err = run_cli(*arguments, "--out", tmp_path / "out", "--json")
    assert out, err
    found = json.loads(out)
    assert code == 1 and list(found["failed"]) == ["demo-010"]
    assert found["metrics"]["n_slides"] == 2 and found["metrics"]["auroc"] in (0.0, 0.5, 1.0)
    assert json.loads((tmp_path / "out/evaluation.json").read_text())["metrics"] == found["metrics"]
    text = (tmp_path / "labels.csv").read_text().replace("positive", "strange")
    (tmp_path / "labels.csv").write_text(text)
    code, _, err = run_cli(*arguments)
    assert code == 1 and "strange" in err and "negative, positive" in err
