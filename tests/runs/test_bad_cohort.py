"""Of 60 slides 12 are bad, each in its own way: all is finished, the 12 are listed, the 48 give what they give alone.

The table says what is trained on and tested: folds that are drawn are drawn from the whole table, so that a slide that
cannot be read today moves no other.
"""

import csv
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
import torch

from lrmil import cli
from lrmil.io import atomic
from lrmil.io.settings import write_toml
from lrmil.runs.audit import audit_run
from support.runs import tiny_config
from support.slides import coordinate_pixels, overwrite, segment_of, write_pyramid

pytestmark = pytest.mark.long

SIZE = 512
PARTS = ("train", "train", "test", "train", "val", "train", "test", "train", "train")
CPU = ("--device", "cpu")


def torn(path: Path, good: Path) -> None:
    path.write_bytes(good.read_bytes()[:20_000])


def empty(path: Path, good: Path) -> None:
    path.write_bytes(b"")


def text(path: Path, good: Path) -> None:
    path.write_text("Slide 7 is in the other cupboard.\n")


def folder(path: Path, good: Path) -> None:
    path.mkdir()
    (path / "notes.txt").write_text("moved")


def link_to_nowhere(path: Path, good: Path) -> None:
    path.symlink_to(path.parent / "unmounted" / "slide.svs")


def without_mpp(path: Path, good: Path) -> None:
    write_pyramid(path, pixels_of(good), None)


def implausible_mpp(path: Path, good: Path) -> None:
    write_pyramid(path, pixels_of(good), 250.0)


def too_coarse(path: Path, good: Path) -> None:
    write_pyramid(path, pixels_of(good), 2.5)


def without_tissue(path: Path, good: Path) -> None:
    write_pyramid(path, np.full((SIZE, SIZE, 3), 242, np.uint8))


def sixteen_bit(path: Path, good: Path) -> None:
    tifffile.imwrite(path, coordinate_pixels(SIZE, SIZE).astype(np.uint16) * 200, photometric="rgb", tile=(256, 256))


def grey(path: Path, good: Path) -> None:
    tifffile.imwrite(path, pixels_of(good)[..., 0], photometric="minisblack", tile=(256, 256), metadata=None)


def corrupt_tiles(path: Path, good: Path) -> None:
    write_pyramid(path, pixels_of(good), 0.5, factors=(), tile=128)
    for index in range((SIZE // 128) ** 2 // 2):
        offset, count = segment_of(path, 0, index)
        overwrite(path, offset, b"\xa5" * count)


def pixels_of(slide: Path) -> np.ndarray:
    return np.asarray(tifffile.imread(slide, key=0))


BAD: dict[str, tuple[Callable[[Path, Path], None], str]] = {
    "torn.ome.tif": (torn, "truncated"),
    "empty.svs": (empty, "empty.svs"),
    "text.svs": (text, "OpenSlide cannot open text.svs"),
    "folder.svs": (folder, "folder.svs is a folder"),
    "link.svs": (link_to_nowhere, "leads nowhere"),
    "no-mpp.ome.tif": (without_mpp, "um/px"),
    "implausible.ome.tif": (implausible_mpp, "0.05 to 5"),
    "coarse.ome.tif": (too_coarse, "coarse"),
    "glass.ome.tif": (without_tissue, "tissue"),
    "sixteen-bit.tif": (sixteen_bit, "RGB"),
    "grey.tif": (grey, "RGB"),
    "corrupt.ome.tif": (corrupt_tiles, "unreadable patches"),
}


class Cohorts(NamedTuple):
    """The 48 good slides alone, and with the 12 bad ones; each with its table."""

    good: Path
    good_labels: Path
    all: Path
    all_labels: Path
    settings: Path


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def cohorts(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Cohorts:
    root = tmp_path_factory.mktemp("bad")
    (root / "good").mkdir()
    rows = []
    for place, row in enumerate(rows_of(cohort / "labels.csv")):
        pixels = pixels_of(cohort / "slides" / f"{row['slide_id']}.ome.tif")
        for corner in range(4):
            y, x = corner // 2 * SIZE, corner % 2 * SIZE
            write_pyramid(root / "good" / f"g{place:02}-{corner}.ome.tif", pixels[y : y + SIZE, x : x + SIZE])
            rows.append(f"g{place:02}-{corner},p-{place}-{corner},{row['label']},{PARTS[place // 2 + corner]}")
    shutil.copytree(root / "good", root / "all")
    slides = sorted((root / "good").iterdir())
    bad = []
    for place, (name, (make, _)) in enumerate(BAD.items()):
        make(root / "all" / name, slides[place])
        bad.append(f"{name.split('.')[0]},p-{place},{('negative', 'positive')[place % 2]},{PARTS[place % len(PARTS)]}")
    header = "slide_id,case_id,label,split"
    atomic.write_text(root / "good.csv", "\n".join([header, *rows]) + "\n")
    atomic.write_text(root / "all.csv", "\n".join([header, *rows[:20], *bad, *rows[20:]]) + "\n")
    write_toml(root / "settings.toml", tiny_config(mil__fit__epochs=1, stage1__fit__steps=2))
    return Cohorts(root / "good", root / "good.csv", root / "all", root / "all.csv", root / "settings.toml")


def rows_of(table: Path) -> list[dict[str, str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


class Trained(NamedTuple):
    code: int
    run: Path
    said: str


@pytest.fixture(scope="module")
def trained(cohorts: Cohorts, tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Trained]:
    """`lrmil train` on all 60, and on the good ones alone."""
    capture = pytest.MonkeyPatch()
    root, results = tmp_path_factory.mktemp("runs"), []
    for name, slides, labels in [
        ("all", cohorts.all, cohorts.all_labels),
        ("good", cohorts.good, cohorts.good_labels),
    ]:
        said: list[str] = []
        printed = "lrmil.cli.printing.stdout.print"
        capture.setattr(printed, lambda *texts, said=said, **_: said.extend(map(str, texts)))
        arguments = ["train", slides, labels, "--out", root / name, "--config", cohorts.settings, *CPU]
        results.append(Trained(cli.main([str(argument) for argument in arguments]), root / name, "\n".join(said)))
    capture.undo()
    return results[0], results[1]


class TestTrain:
    def test_it_finishes_and_lists_the_12_with_their_reasons(self, trained: tuple[Trained, Trained]) -> None:
        bad, good = trained
        assert (bad.code, good.code) == (1, 0)
        problems = json.loads((bad.run / "problems.json").read_text())
        listed = {problem["slide_id"]: problem["message"] for problem in problems if problem["slide_id"]}
        assert sorted(listed) == sorted(name.split(".")[0] for name in BAD)
        page = (bad.run / "report.html").read_text(encoding="utf-8")
        for name, (_, reason) in BAD.items():
            slide_id = name.split(".")[0]
            assert reason in listed[slide_id], (name, listed[slide_id])
            assert f"Left out: {slide_id}: " in bad.said and f"<td>{slide_id}</td>" in page
            assert str(bad.run.parent) not in listed[slide_id]
        assert audit_run(bad.run).findings == audit_run(good.run).findings == ()
        assert not [p for p in json.loads((good.run / "problems.json").read_text()) if p["slide_id"]]

    def test_the_model_is_that_of_the_good_ones_alone(self, trained: tuple[Trained, Trained]) -> None:
        bad, good = (one.run for one in trained)
        for name in ("model/mil.safetensors", "model/encoder/model.safetensors"):
            assert (bad / name).read_bytes() == (good / name).read_bytes()
        assert (bad / "splits.csv").read_bytes() == (good / "splits.csv").read_bytes()

    def test_so_are_its_predictions_and_figures(self, trained: tuple[Trained, Trained]) -> None:
        bad, good = (one.run for one in trained)
        assert (bad / "predictions.csv").read_bytes() == (good / "predictions.csv").read_bytes()
        measured = [json.loads((run / "metrics.json").read_text()) for run in (bad, good)]
        assert measured[0]["lr_student"]["n_slides"] == measured[1]["lr_student"]["n_slides"] == 12
        for arm in ("hr_teacher", "lr_undistilled", "lr_student"):
            for name in ("auroc", "auroc_ci", "balanced_accuracy"):
                assert measured[0][arm][name] == measured[1][arm][name]


class TestPredict:
    def test_the_good_ones_get_what_they_get_alone(
        self, trained: tuple[Trained, Trained], cohorts: Cohorts, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        model = str(trained[1].run / "model")
        out, alone = tmp_path / "all", tmp_path / "good"
        assert cli.main(["predict", str(cohorts.all), "--model", model, "--out", str(out), *CPU]) == 1
        assert "12 of 60 failed" in capsys.readouterr().err
        assert cli.main(["predict", str(cohorts.good), "--model", model, "--out", str(alone), *CPU]) == 0
        rows = {row["slide_id"]: row for row in rows_of(out / "predictions.csv")}
        assert len(rows) == 60
        failed = {slide_id: row["message"] for slide_id, row in rows.items() if row["status"] == "failed"}
        assert sorted(failed) == sorted(name.split(".")[0] for name in BAD)
        for name, (_, reason) in BAD.items():
            assert reason in failed[name.split(".")[0]], (name, failed[name.split(".")[0]])
        for expected in rows_of(alone / "predictions.csv"):
            given = rows[expected["slide_id"]]
            assert {**given, "seconds": ""} == {**expected, "seconds": ""}

    def test_validate_names_those_that_cannot_be_opened(
        self, cohorts: Cohorts, capsys: pytest.CaptureFixture[str]
    ) -> None:
        code = cli.main(["validate", str(cohorts.all), str(cohorts.all_labels), "--mpp-hr", "1.0", "--json"])
        found = json.loads(capsys.readouterr().out)
        assert code == 1 and found["ok"]
        named = {problem["message"].split("'")[1] for problem in found["problems"] if "Slide '" in problem["message"]}
        seen_later = {"glass", "corrupt"}  # only tissue and patches show it
        assert named >= {name.split(".")[0] for name in BAD} - seen_later
