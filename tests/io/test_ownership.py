"""What is lrmil's is known by its content, also that of earlier versions; what is like it, or was added to, is not."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from lrmil.configs import TrainConfig
from lrmil.errors import OverwriteError
from lrmil.io import ownership
from lrmil.io.ownership import Ours
from lrmil.io.settings import write_toml
from lrmil.models.bundle import Bundle, load_bundle, save_bundle
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.patients import PatientRow, write_patients
from lrmil.prediction.table import PredictionRow, table_of
from lrmil.reviews.table import COLUMNS, write_review_table
from lrmil.runs.control import request_stop
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from lrmil.tasks.classification import Classification
from support.paths import FORMATS
from support.runs import ON_CPU, TinyRun, tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("ownership") / "model"
    save_bundle(folder, tiny_bundle())
    return load_bundle(folder)


@pytest.fixture(scope="module")
def predicted(cohort: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("predicted")
    last(predict_slides([SlideSource("a", cohort / "slides/demo-000.ome.tif")], bundle, out, ON_CPU))
    return out


@pytest.mark.parametrize(
    ("name", "ours"),
    [
        ("a.json", ownership.is_card),
        ("a.geojson", ownership.is_tiles),
        ("a.png", ownership.is_overlay),
        ("a.attention.ome.zarr", ownership.is_map),
        ("predictions.csv", ownership.is_prediction_table),
        (".lrmil.lock", ownership.is_lock),
    ],
)
class TestOfASlide:
    def test_what_was_written_is_ours_wherever_it_lies(
        self, predicted: Path, tmp_path: Path, name: str, ours: Ours
    ) -> None:
        assert ours(predicted / name) and not ours(tmp_path / name)
        copy = shutil.copytree if (predicted / name).is_dir() else shutil.copy
        copy(predicted / name, tmp_path / name)
        assert ours(tmp_path / name)

    def test_a_link_to_it_is_not(self, predicted: Path, tmp_path: Path, name: str, ours: Ours) -> None:
        (tmp_path / name).symlink_to(predicted / name)
        assert not ours(tmp_path / name)

    def test_nor_is_another_of_our_kinds(self, predicted: Path, name: str, ours: Ours) -> None:
        others = [path for path in predicted.iterdir() if path.name != name]
        assert len(others) == 5 and not [path for path in others if ours(path)]

    @pytest.mark.parametrize("content", [b"x", b"{}", b"[]", b"a,b\n", b"\x89PNG\r\n\x1a\n", b"\xff" * 70_000])
    def test_nor_is_what_a_person_wrote(self, tmp_path: Path, name: str, ours: Ours, content: bytes) -> None:
        (tmp_path / name).write_bytes(content)
        assert not ours(tmp_path / name)


def test_a_table_of_patients_is_ours_until_a_column_is_added(tmp_path: Path) -> None:
    rows = [PatientRow("p", "ok", "yes", {"no": 0.25, "yes": 0.75}, n_slides=2, rule="mean", slides=("a", "b"))]
    path = write_patients(tmp_path, rows, Classification(("no", "yes")))
    assert ownership.is_patient_table(path) and not ownership.is_prediction_table(path)
    header, *lines = path.read_text().splitlines()
    for edited in (f"{header},note", header.replace("prob_no", "site"), header.replace(",rule", ""), "p"):
        path.write_text("\n".join([edited, *lines]))
        assert not ownership.is_patient_table(path), edited
    path.unlink()
    (tmp_path / "other").mkdir()
    path.symlink_to(write_patients(tmp_path / "other", rows, Classification(("no", "yes"))))
    assert not ownership.is_patient_table(path)


class TestEdited:
    """What a person added to a file of ours makes it theirs."""

    @pytest.mark.parametrize("indent", [None, 1])
    @pytest.mark.parametrize("change", ["added", "moved", "removed", "renamed"])
    def test_tiles(self, predicted: Path, tmp_path: Path, change: str, indent: int | None) -> None:
        document = json.loads((predicted / "a.geojson").read_text())
        features = document["features"]
        if change == "added":
            features.append({**features[0], "properties": {"name": "a mitosis"}})
        elif change == "removed":
            del features[1:]
        elif change == "moved":
            features[0]["geometry"]["coordinates"][0][0][0] += 1
        else:
            features[-1]["properties"]["name"] = "tumour"
        (tmp_path / "a.geojson").write_text(json.dumps(document, indent=indent, ensure_ascii=False) + "\n")
        assert not ownership.is_tiles(tmp_path / "a.geojson")
        assert ownership.is_from_tiles(tmp_path / "a.geojson") == (indent is None)

    @pytest.mark.parametrize("cut", [1, 100, 1000])
    def test_tiles_that_are_cut(self, predicted: Path, tmp_path: Path, cut: int) -> None:
        (tmp_path / "a.geojson").write_bytes((predicted / "a.geojson").read_bytes()[:-cut])
        assert not ownership.is_tiles(tmp_path / "a.geojson")

    def test_tiles_of_earlier_versions_are_known_by_their_head(self, predicted: Path, tmp_path: Path) -> None:
        document = json.loads((predicted / "a.geojson").read_text())
        del document["lrmil"]["features_sha256"]
        (tmp_path / "a.geojson").write_text(json.dumps(document))
        assert ownership.is_tiles(tmp_path / "a.geojson")

    @pytest.mark.parametrize("column", ["my notes", "slide_id", "seconds"])
    def test_a_column_in_the_table_of_a_case(self, tmp_path: Path, column: str) -> None:
        row = PredictionRow("a", "ok", "no", {"no": 1.0})
        head = table_of([row], Classification(("no",))).splitlines()[0] + "," + ",".join(COLUMNS)
        for name, header, ours in [("a.csv", head, True), ("b.csv", f"{head},{column}", False)]:
            (tmp_path / name).write_text(f"{header}\n")
            assert ownership.is_case_table(tmp_path / name) is ours

    def test_a_column_in_a_table_of_reviews(self, tmp_path: Path) -> None:
        write_review_table(tmp_path / "reviews.csv", [])
        assert ownership.is_review_table(tmp_path / "reviews.csv")
        text = (tmp_path / "reviews.csv").read_text()
        (tmp_path / "reviews.csv").write_text(text.replace("decision,", "decision,second reader,"))
        assert not ownership.is_review_table(tmp_path / "reviews.csv")

    def test_a_file_in_a_model_is_not_lost_when_it_is_saved_again(self, bundle: Bundle, tmp_path: Path) -> None:
        save_bundle(tmp_path / "model", bundle)
        save_bundle(tmp_path / "model", bundle)
        (tmp_path / "model/README.md").write_text("the user's")
        with pytest.raises(OverwriteError, match="the folder 'model'"):
            save_bundle(tmp_path / "model", bundle)
        assert (tmp_path / "model/README.md").read_text() == "the user's"


class TestFolders:
    @pytest.mark.parametrize("added", ["notes.txt", "0/notes.txt", "0/c/0/notes.txt", "c", "deeper/zarr.json"])
    def test_a_map_with_something_added_is_not_ours(self, predicted: Path, tmp_path: Path, added: str) -> None:
        folder = Path(shutil.copytree(predicted / "a.attention.ome.zarr", tmp_path / "a.attention.ome.zarr"))
        (folder / added).parent.mkdir(parents=True, exist_ok=True)
        (folder / added).write_text("the user's")
        assert not ownership.is_map(folder)

    def test_what_desktops_leave_is_nobodys(self, predicted: Path, tmp_path: Path) -> None:
        folder = Path(shutil.copytree(predicted / "a.attention.ome.zarr", tmp_path / "a.attention.ome.zarr"))
        for name in (".DS_Store", "._zarr.json", "0/Thumbs.db"):
            (folder / name).write_text("x")
        assert ownership.is_map(folder)
        (folder / "link").symlink_to(predicted)
        assert not ownership.is_map(folder)

    def test_samples_of_earlier_versions_are_ours(self, tmp_path: Path) -> None:
        assert ownership.is_features(FORMATS / "features-1/sample.zarr")
        assert ownership.is_bundle(FORMATS / "bundle-1/sample")
        assert ownership.is_bundle_alone(FORMATS / "bundle-1/sample")
        model = Path(shutil.copytree(FORMATS / "bundle-1/sample", tmp_path / "model"))
        (model / "README.md").write_text("the user's")
        assert ownership.is_bundle(model) and not ownership.is_bundle_alone(model)


class TestPictures:
    """Overlays of earlier versions bear no mark: the card beside, which says its version now, tells them."""

    @pytest.fixture
    def earlier(self, predicted: Path, tmp_path: Path) -> Path:
        out = Path(shutil.copytree(predicted, tmp_path / "out"))
        with Image.open(out / "a.png") as picture:
            pixels = np.asarray(picture)
        Image.fromarray(pixels).save(out / "a.png")
        text = (out / "a.json").read_text()
        card = "\n".join(
            line for line in text.split("\n") if '"version": ' not in line and "tissue_content" not in line
        )
        (out / "a.json").write_text(card)
        return out

    def test_an_earlier_one_is_ours(self, earlier: Path) -> None:
        assert ownership.is_overlay(earlier / "a.png")

    def test_one_that_was_painted_on_since_is_not(self, earlier: Path) -> None:
        later = (earlier / "a.json").stat().st_mtime + 1
        os.utime(earlier / "a.png", (later, later))
        assert not ownership.is_overlay(earlier / "a.png")

    def test_one_without_a_card_or_beside_a_card_of_now_is_not(self, earlier: Path, predicted: Path) -> None:
        shutil.copy(predicted / "a.json", earlier / "a.json")
        assert not ownership.is_overlay(earlier / "a.png")
        (earlier / "a.json").unlink()
        assert not ownership.is_overlay(earlier / "a.png")

    def test_a_mark_of_another_program_is_none(self, tmp_path: Path) -> None:
        for text in ("lrmil viewer", "gimp"):
            mark = PngInfo()
            mark.add_text("Software", text)
            Image.new("RGB", (4, 4)).save(tmp_path / "a.png", pnginfo=mark)
            assert not ownership.is_overlay(tmp_path / "a.png")


RUN: dict[str, Callable[[Path], bool]] = {
    "plan.toml": ownership.is_plan,
    "splits.csv": ownership.is_splits,
    "environment.json": ownership.is_environment,
    "problems.json": ownership.is_problems,
    "metrics.json": ownership.is_metrics,
    "predictions.csv": ownership.is_out_of_fold_table,
    "steps.jsonl": ownership.is_log,
    "run.lock": ownership.is_lock,
    "model": ownership.is_bundle_alone,
    "fold-0/teacher": ownership.is_artefact,
    "fold-0/lr_encoder": ownership.is_artefact,
    "fold-0/outputs": ownership.is_artefact,
    "shared/lr/demo-000.zarr": ownership.is_features,
}


@pytest.mark.long
def test_what_a_run_writes_is_ours_and_nothing_else_of_it(tiny_run: TinyRun) -> None:
    for name, ours in RUN.items():
        assert ours(tiny_run.folder / name), name
        others = [other for other, kind in RUN.items() if kind is not ours and kind(tiny_run.folder / name)]
        assert name == "run.lock" or others == [], name  # an empty file may be a log that was just begun


def test_settings_and_requests_to_stop(tmp_path: Path) -> None:
    write_toml(tmp_path / "settings.toml", TrainConfig())
    assert ownership.is_settings(tmp_path / "settings.toml")
    text = (tmp_path / "settings.toml").read_text().split("\n", 1)[1]  # as before there was a mark
    (tmp_path / "earlier.toml").write_text(text)
    assert ownership.is_settings(tmp_path / "earlier.toml")
    (tmp_path / "mine.toml").write_text('encoder = "resnet50"\n')
    assert not ownership.is_settings(tmp_path / "mine.toml")
    request_stop(tmp_path)
    assert ownership.is_stop_request(tmp_path / "stop")
    for content in (b"", b"lrmil.stop/1", b"notes"):
        (tmp_path / "stop").write_bytes(content)
        assert not ownership.is_stop_request(tmp_path / "stop")
