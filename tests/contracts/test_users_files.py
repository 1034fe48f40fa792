"""No command loses a file of the user's: what lies in the output folder and beside the slides is there afterwards.

Each example scatters files, folders and links with random content under names that outputs, leftovers and slides bear,
runs a command, and compares bytes. The exit code may be any.
"""

import json
import os
import random
import shutil
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from PIL import Image

from lrmil import cli
from lrmil.demo import cohort as demo_cohort
from lrmil.demo.slide import demo_slide
from lrmil.errors import OverwriteError
from lrmil.features.extraction import extract_features
from lrmil.models.bundle import save_bundle
from lrmil.models.encoders.loading import PatchEncoder
from lrmil.patches.plan import PatchPlan
from lrmil.reviews.log import Review, append_review
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import TINY, TinyRun, tiny_bundle, tiny_encoder
from support.slides import COHORT_SIDE, write_ome_zarr_slide

CPU = ("--device", "cpu")
SLIDE_ENDINGS = (
    *(".json", ".geojson", ".png", ".csv", ".html", ".h5", ".zarr", ".attention.ome.zarr", ".tissue.ome.zarr"),
    *(".jpg", ".txt", ".tissue-1.ome.zarr", ".thumbnail.png"),
)
COMMON = (
    *("predictions.csv", "predictions-1.csv", "evaluation.json", "notes.txt", ".bashrc.old", ".config.old", ".x.tmp"),
    *(".x.old", ".a.json.0123abcd.tmp", ".run.0123abcd.old", ".lrmil.tmp", ".lrmil-notes.old", "reviews.csv", "a.toml"),
)
RUN = (
    *("plan.toml", "splits.csv", "report.html", "report.json", "metrics.json", "environment.json", "problems.json"),
    *("changes.json", "steps.jsonl", "stop", "run.lock", "model", "settings.toml", "train.log", "earlier-1", "shared"),
    *("fold-0/teacher", "fold-0/outputs", "fold-0/teacher.checkpoint.safetensors", "shared/lr/demo-000.zarr"),
    *("shared/regions/demo-000.zarr", "fold-0/teacher.inner-0"),
    *("fold-0/head", "fold-0/teacher.mean.inner-0", "fold-0/lr_undistilled.max.inner-1.checkpoint.safetensors"),
    *("shared/hr/.lrmil.lock", "final", "fold-0/notes.txt", "model/README.md", "fold-0/lr_encoder/notes.txt"),
)
DEMO = ("model.lock", ".making-bread", "synthetic-positive.json", "synthetic-positive.ome.tif", "demo-model-1")
DEMO += ("cohort/labels.csv", "cohort/slides/demo-000.ome.tif", "cohort/truth/demo-000.json", "cohort/notes.txt")
DEMO += ("prediction/predictions.csv", "prediction/demo-011.png", "run/report.html")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterable[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("of users") / "model"
    save_bundle(folder, tiny_bundle())
    return folder


@pytest.fixture
def place(cohort: Path, tmp_path: Path) -> Path:
    """Two good slides and a broken one in ``slides``, with a labels table beside."""
    (tmp_path / "slides").mkdir()
    for name in ("demo-000", "demo-001"):
        shutil.copy(cohort / f"slides/{name}.ome.tif", tmp_path / "slides")
    whole = (cohort / "slides/demo-002.ome.tif").read_bytes()
    (tmp_path / "slides/demo-002.ome.tif").write_bytes(whole[: len(whole) // 3])
    rows = ["slide_id,label", "demo-000,no", "demo-001,yes", "demo-002,no"]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    return tmp_path


def names_of(slide_ids: Iterable[str], *more: str) -> list[str]:
    return [*(f"{slide_id}{ending}" for slide_id in slide_ids for ending in SLIDE_ENDINGS), *COMMON, *more]


class Scattered:
    """Files of a user, and how they were when they were put there."""

    def __init__(self, seed: int, elsewhere: Path) -> None:
        self._random, self._elsewhere = random.Random(seed), elsewhere
        self._before: dict[Path, object] = {}

    def put(self, folder: Path, names: Iterable[str], share: float = 0.5) -> None:
        """Put something under some of the names that are free."""
        for name in names:
            path = folder / name
            if self._random.random() > share or os.path.lexists(path):
                continue
            if any(parent.is_symlink() or (parent.exists() and not parent.is_dir()) for parent in path.parents):
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            self._random.choice([_file, _file, _like_an_output, _folder, _link, _hard_link])(
                path, self._random, self._elsewhere
            )
            self.note(path)

    def note(self, path: Path) -> None:
        """Remember a file, or all that is in a folder."""
        for part in (path, *path.rglob("*")) if path.is_dir() and not path.is_symlink() else (path,):
            self._before[part] = _state(part)

    def lost(self) -> list[str]:
        """What is no longer as it was; a table that is put aside keeps its bytes under the next number."""
        return [str(path) for path, before in self._before.items() if before not in _states(path)]


def _states(path: Path) -> list[object]:
    aside = sorted(path.parent.glob("predictions-*.csv")) if path.name == "predictions.csv" else []
    return [_state(one) for one in (path, *aside)]


def _state(path: Path) -> object:
    if path.is_symlink():
        return "link", str(path.readlink()), path.read_bytes() if path.is_file() else None
    if path.is_dir():
        return "folder"
    return path.read_bytes() if path.exists() else None


def _file(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.write_bytes(chance.randbytes(chance.choice([0, 1, 30, 3000])))


def _folder(path: Path, chance: random.Random, elsewhere: Path) -> None:
    path.mkdir()
    _file(path / chance.choice(["a.txt", "zarr.json", "bundle.json", "0"]), chance, elsewhere)
    if chance.random() < 0.5:
        (path / "deeper").mkdir()
        _file(path / "deeper/b.txt", chance, elsewhere)


def _link(path: Path, chance: random.Random, elsewhere: Path) -> None:
    target = elsewhere / f"{chance.randbytes(6).hex()}.dat"
    _file(target, chance, elsewhere)
    path.symlink_to(target if chance.random() < 0.8 else elsewhere / "nowhere")


def _hard_link(path: Path, chance: random.Random, elsewhere: Path) -> None:
    target = elsewhere / f"{chance.randbytes(6).hex()}.dat"
    _file(target, chance, elsewhere)
    path.hardlink_to(target)


def _like_an_output(path: Path, chance: random.Random, elsewhere: Path) -> None:
    """What another program writes under such a name."""
    if path.name.endswith(".zarr"):
        pixels = np.frombuffer(chance.randbytes(48 * 48 * 3), np.uint8).reshape(48, 48, 3)
        if chance.random() < 0.5:
            write_ome_zarr_slide(path, pixels, factors=(2,), version=chance.choice(["0.4", "0.5"]))
        else:
            zarr.create_array(path, data=pixels)
    elif path.suffix == ".png":
        Image.fromarray(np.full((9, 9, 3), chance.randrange(256), np.uint8)).save(path)
    elif path.suffix in (".json", ".geojson"):
        plain = [{}, [], None, {"type": "FeatureCollection", "features": []}, {"format": "other/1"}, {"auroc": 0.5}]
        path.write_text(json.dumps(chance.choice(plain)))
    elif path.suffix == ".csv":
        path.write_text(chance.choice(["slide_id,status\na,ok\n", "slide_id,label\na,b\n", "a;b\n1;2\n"]))
    elif path.suffix == ".html":
        path.write_text("<!DOCTYPE html><html><head><title>My LRMIL report</title></head></html>")
    elif path.suffix == ".toml":
        path.write_text("format = 'other'\n")
    elif path.suffix == ".jsonl":
        path.write_text('{"step": 1}\n')
    else:
        _file(path, chance, elsewhere)


def lose_nothing(seed: int, place: Path, out: Path, names: Iterable[str], run: Callable[[], object]) -> None:
    """Scatter files in the output folder and the slides' one, run twice, and compare."""
    (place / "elsewhere").mkdir(exist_ok=True)
    users = Scattered(seed, place / "elsewhere")
    names = list(names)
    users.put(out, names, share=0.1 + 0.05 * (seed % 8))
    users.put(place / "slides", [name for name in names if not name.endswith(".jpg")], share=0.2)
    for path in (place / "slides", place / "labels.csv", place / "elsewhere"):
        users.note(path)
    for _ in range(2):
        run()
        assert users.lost() == []


def lrmil(*arguments: object) -> int:
    try:
        return cli.main([str(argument) for argument in arguments])
    except SystemExit as stop:  # wrong usage
        return int(str(stop.code))


SLIDES = ("demo-000", "demo-001", "demo-002")


@pytest.mark.parametrize("seed", range(8))
class TestOnSlides:
    def test_predict(self, seed: int, place: Path, model: Path) -> None:
        out = place / ("slides" if seed % 3 == 0 else "out")
        options = ["--model", model, "--out", out, *CPU]
        lose_nothing(seed, place, out, names_of(SLIDES), lambda: lrmil("predict", place / "slides", *options))

    def test_case(self, seed: int, place: Path, model: Path) -> None:
        out, slide = place / ("slides" if seed % 3 == 0 else "out"), place / f"slides/demo-00{seed % 3}.ome.tif"
        options = ["--model", model, "--out", out, *CPU]
        lose_nothing(seed, place, out, names_of(SLIDES), lambda: lrmil("case", slide, *options))

    def test_evaluate(self, seed: int, place: Path, model: Path) -> None:
        out = place / ("slides" if seed % 3 == 0 else "out")
        options = ["--model", model, "--out", out, *CPU]
        lose_nothing(
            seed,
            place,
            out,
            names_of(SLIDES),
            lambda: lrmil("evaluate", place / "slides", place / "labels.csv", *options),
        )

    def test_extract(self, seed: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("lrmil.models.encoders.loading.load_encoder", lambda *_, **__: tiny_encoder())
        out = place / ("slides" if seed % 3 == 0 else "out")
        options = ["--encoder", "test", "--patch-size", "64", "--out", out, "--trident", *CPU]
        lose_nothing(seed, place, out, names_of(SLIDES), lambda: lrmil("extract", place / "slides", *options))

    def test_export_and_reviews(self, seed: int, place: Path) -> None:
        sources = [SlideSource(name, place / f"slides/{name}.ome.tif") for name in SLIDES]
        encoder = PatchEncoder(tiny_encoder(), torch.device("cpu"), batch_size=64)
        last(extract_features(sources, encoder, "00", place / "features", PatchPlan(mpp=2.0, size=64)))
        review = Review(
            event="review",
            slide_id="a",
            slide_fingerprint="0",
            bundle_sha256="1",
            output_label="no",
            output_probabilities={"no": 1.0},
            output_status="ok",
            decision="agree",
            human_label="no",
        )
        append_review(place / "log.jsonl", review)
        append_review(place / "log.jsonl", replace(review, slide_id="demo-000"))
        labels = ["labels-from-reviews", place / "log.jsonl", "--slides", place / "slides", "--out"]
        out = place / ("features" if seed % 3 == 0 else "out")

        def run() -> None:
            lrmil("export", place / "features", "--to", "trident", "--out", out)
            lrmil("reviews", place / "log.jsonl", "--csv", out / "reviews.csv")
            assert lrmil("reviews", place / "log.jsonl", "--csv", place / "log.jsonl") == 1
            lrmil(*labels, out / "labels.csv")
            for taken in ("log.jsonl", "labels.csv", "slides/demo-000.ome.tif"):
                assert lrmil(*labels, place / taken) == 1

        lose_nothing(seed, place, out, names_of(SLIDES, "labels.csv"), run)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(8))
class TestOnRuns:
    @pytest.fixture(autouse=True)
    def with_run(self, tiny_run: TinyRun, place: Path) -> None:
        """A finished run, which is gone on with: all but the end of a training is there."""
        for name in ("slides", "labels.csv"):
            (shutil.rmtree if (place / name).is_dir() else Path.unlink)(place / name)
        shutil.copytree(tiny_run.slides, place / "slides")
        shutil.copy(tiny_run.labels, place / "labels.csv")
        if not place.name.endswith("fresh"):
            shutil.copytree(tiny_run.folder, place / "run")

    @staticmethod
    def without(run: Path, seed: int) -> None:
        """Take some of what is ours away, so that the user's own may have its name."""
        chance = random.Random(seed)
        for path in sorted(run.iterdir()):
            if path.name not in ("shared", "fold-0") and chance.random() < 0.4:
                (shutil.rmtree if path.is_dir() else Path.unlink)(path)

    def test_train_and_report(self, seed: int, place: Path) -> None:
        run = place / "run"
        if seed % 2:
            self.without(run, seed)
        settings = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items() if not isinstance(value, str)]
        settings += ["--encoder", "test_resnet", "--out", run, *CPU]

        def again() -> None:
            lrmil("train", place / "slides", place / "labels.csv", *settings)
            lrmil("report", run)

        lose_nothing(seed, place, run, names_of(["demo-000"], *RUN), again)

    def test_demo(self, seed: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in (("SLIDES", 12), ("SIZE", COHORT_SIDE), ("SETTINGS", TINY)):
            monkeypatch.setattr(demo_cohort, name, value)
        out = place / "demo"
        out.mkdir()
        (place / "run").rename(out / "run")
        if seed % 2:
            self.without(out / "run", seed)
        names = [*COMMON, *DEMO, *(f"run/{name}" for name in RUN), "prediction/demo-011.json"]
        lose_nothing(seed, place, out, names, lambda: lrmil("demo", "--out", out, *CPU))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(2))
def test_a_fresh_run(seed: int, place: Path, cohort: Path) -> None:
    """From nothing to the end, among files whose names are not those of outputs, and among those."""
    run = place / "out"
    shutil.rmtree(place / "slides")
    shutil.copytree(cohort / "slides", place / "slides")
    shutil.copy(cohort / "labels.csv", place / "labels.csv")
    settings = [f"--set={name}={json.dumps(value)}" for name, value in TINY.items() if not isinstance(value, str)]
    settings += ["--encoder", "test_resnet", "--out", run, *CPU]
    names = [*COMMON[3:], "stop.txt"] if seed == 0 else [*COMMON, *RUN]
    codes = []
    lose_nothing(
        seed,
        place,
        run,
        names,
        lambda: codes.append(lrmil("train", place / "slides", place / "labels.csv", *settings)),
    )
    assert codes == ([0, 0] if seed == 0 else [1, 1]) and (run / "metrics.json").exists() == (seed == 0)


class Untrained(Exception):
    """Raised in place of half a minute of training."""


def _untrained(*_: object, **__: object) -> None:
    raise Untrained


@pytest.mark.parametrize("seed", range(8))
def test_the_small_demonstration(seed: int, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lrmil.demo.model.make_cohort_steps", _untrained)
    monkeypatch.setattr("lrmil.demo.slide.SIDE", 1028)

    def run() -> None:
        with suppress(Untrained):
            lrmil("demo", "--small", "--out", place / "out", *CPU)
        with suppress(OverwriteError):
            demo_slide(place / "out")

    lose_nothing(seed, place, place / "out", [*COMMON, *DEMO], run)
