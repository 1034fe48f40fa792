"""Where um/px come from on the command line: override, table, metadata, objective power; and that outputs say so."""

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from lrmil import cli
from lrmil.demo.synthetic import make_slide
from lrmil.errors import CohortError
from lrmil.features.store import read_card
from lrmil.models.bundle import load_bundle, save_bundle
from lrmil.models.encoders import loading
from lrmil.prediction.inference import predict
from lrmil.reports.case_page import write_case
from lrmil.runs.train import train_steps
from lrmil.slides.opening import open_slide
from support.runs import tiny_bundle, tiny_config
from support.slides import write_pyramid
from support.vendor_slides import write_scn

CPU = ["--device", "cpu"]


@pytest.fixture(scope="module")
def tissue() -> NDArray[np.uint8]:
    return make_slide("negative", seed=0, size=1024).pixels


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "model"
    save_bundle(folder, tiny_bundle())
    return folder


@pytest.fixture(scope="module")
def slides(tissue: NDArray[np.uint8], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two slides without um/px, of which "power" states its magnification, and one with both."""
    folder = tmp_path_factory.mktemp("slides")
    for name, mpp, power in (("both", 0.5, 40), ("power", None, 20), ("neither", None, None)):
        write_pyramid(folder / f"{name}.svs", tissue, mpp, style="aperio", power=power)
    return folder


def found(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, dict[str, tuple[object, object]]]:
    """Run a command with --json: exit code, and um/px with its source by slide."""
    capsys.readouterr()
    code = cli.main([*map(str, arguments), "--json"])
    rows = json.loads(capsys.readouterr().out)
    key = "slide_id" if "slide_id" in rows[0] else "path"
    return code, {Path(row[key]).stem: (row.get("mpp"), row.get("mpp_source")) for row in rows}


def rows_of(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return {row["slide_id"]: row for row in csv.DictReader(file)}


class TestInspect:
    def test_power_counts_only_when_asked_for(self, slides: Path, capsys: pytest.CaptureFixture[str]) -> None:
        _, plain = found(capsys, "inspect", slides)
        assert plain["both"] == (0.5, "aperio MPP") and plain["power"][0] is plain["neither"][0] is None
        _, asked = found(capsys, "inspect", slides, "--use-objective-power")
        assert asked == {**plain, "power": (0.5, "objective power 20x")}

    def test_a_table_comes_before_everything_in_the_file(
        self, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mpp.csv").write_text("slide_id,mpp\nboth,0.4\nneither.svs,0.6\nboht,0.3\n")
        _, said = found(capsys, "inspect", slides, "--mpp-table", tmp_path / "mpp.csv", "--use-objective-power")
        assert said["both"] == (0.4, "override") and said["neither"] == (0.6, "override")
        assert said["power"] == (0.5, "objective power 20x")
        cli.main(["inspect", str(slides), "--mpp-table", str(tmp_path / "mpp.csv")])
        assert "mpp.csv: Row 4: there is no slide 'boht'; did you mean 'both'?" in capsys.readouterr().err

    def test_a_bad_table_stops_before_any_slide_is_opened(
        self, slides: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mpp.csv").write_text("slide_id,mpp\nboth,40y\n")
        assert cli.main(["inspect", str(slides), "--mpp-table", str(tmp_path / "mpp.csv")]) == 1
        captured = capsys.readouterr()
        assert captured.out == "" and "row 2: expected um/px" in captured.err

    def test_one_value_and_a_table_exclude_each_other(self, slides: Path) -> None:
        with pytest.raises(SystemExit) as caught:
            cli.main(["inspect", str(slides), "--mpp", "0.5", "--mpp-table", "x.csv"])
        assert caught.value.code == 2


class TestPredictAndExtract:
    def test_value_and_source_are_in_every_output(
        self, slides: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "mpp.csv").write_text("slide_id,mpp\nneither,0.45\n")
        options = ["--mpp-table", tmp_path / "mpp.csv", "--use-objective-power"]
        code, said = found(
            capsys, "predict", slides, "--model", model, "--out", tmp_path / "out", "--threads", 1, *CPU, *options
        )
        expected = {
            "both": (0.5, "aperio MPP"),
            "neither": (0.45, "override"),
            "power": (0.5, "objective power 20x"),
        }
        assert code == 0 and said == expected
        for name, (mpp, source) in expected.items():
            row = rows_of(tmp_path / "out/predictions.csv")[name]
            assert (float(row["mpp"]), row["mpp_source"]) == (mpp, source)
            for about in (
                json.loads((tmp_path / f"out/{name}.geojson").read_text())["lrmil"],
                json.loads((tmp_path / f"out/{name}.json").read_text())["prediction"],
                json.loads((tmp_path / f"out/{name}.attention.ome.zarr/zarr.json").read_text())["attributes"]["lrmil"],
            ):
                assert (about["mpp"], about["mpp_source"]) == (mpp, source)

    def test_an_answer_by_objective_power_does_not_count_when_it_is_not_asked_for(
        self, slides: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = ["predict", slides / "power.svs", "--model", model, "--out", tmp_path, "--threads", 1, *CPU]
        assert found(capsys, *arguments, "--use-objective-power") == (0, {"power": (0.5, "objective power 20x")})
        assert found(capsys, *arguments) == (1, {"power": (None, "")})
        assert "um/px of the slide is unknown" in rows_of(tmp_path / "predictions.csv")["power"]["message"]

    def test_features_say_it_too(self, slides: Path, tmp_path: Path) -> None:
        arguments = ["extract", slides / "power.svs", "--encoder", "test_resnet", "--patch-size", 64, "--threads", 1]
        arguments += ["--out", tmp_path, *CPU]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loading, "load_encoder", partial(loading.load_encoder, pretrained=False))
            assert cli.main([*map(str, arguments), "--use-objective-power"]) == 0
            card = read_card(tmp_path / "power.zarr")
            assert (card.slide_mpp, card.mpp_source) == (0.5, "objective power 20x")
            assert cli.main([*map(str, arguments)]) == 1

    def test_a_case_says_it_too(self, slides: Path, model: Path, tmp_path: Path) -> None:
        arguments = ["case", slides / "power.svs", "--model", model, "--out", tmp_path, "--threads", 1, *CPU]
        assert cli.main([*map(str, arguments)]) == 1
        assert cli.main([*map(str, arguments), "--use-objective-power"]) == 0
        assert "objective power 20x" in (tmp_path / "power.html").read_text(encoding="utf-8")
        assert "objective power 20x" in (tmp_path / "power.csv").read_text(encoding="utf-8")


class TestEvaluate:
    def test_a_table_and_the_objective_s_power_fill_what_the_labels_leave_open(
        self, slides: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (tmp_path / "labels.csv").write_text("slide_id,label,mpp\nboth,no,0.55\nneither,yes,\npower,no,\n")
        (tmp_path / "mpp.csv").write_text("slide_id,mpp\nneither,0.45\nboth,0.4\n")
        arguments = ["evaluate", slides, tmp_path / "labels.csv", "--model", model, "--out", tmp_path / "out", *CPU]
        arguments += ["--threads", 1, "--mpp-table", tmp_path / "mpp.csv", "--use-objective-power"]
        assert cli.main([*map(str, arguments)]) == 0
        said = {
            name: (row["mpp"], row["mpp_source"]) for name, row in rows_of(tmp_path / "out/predictions.csv").items()
        }
        assert said == {
            "both": ("0.55", "override"),
            "neither": ("0.45", "override"),
            "power": ("0.5", "objective power 20x"),
        }


class TestBounds:
    def test_they_are_recorded_and_subtracted_when_asked_for(
        self, tissue: NDArray[np.uint8], model: Path, tmp_path: Path
    ) -> None:
        path = write_scn(tmp_path / "a.scn", tissue[:512, :640])

        def corners(folder: str, *options: str) -> tuple[dict[str, object], NDArray[np.float64]]:
            arguments = ["predict", path, "--model", model, "--out", tmp_path / "out", "--threads", 1, *CPU, *options]
            assert cli.main([*map(str, arguments)]) == 0
            document = json.loads((tmp_path / folder / "a.geojson").read_text())
            first = [feature["geometry"]["coordinates"][0][0] for feature in document["features"]]
            return document["lrmil"], np.array(first)

        about, whole = corners("out")
        assert about["bounds_yx"] == [200.0, 100.0] and about["bounds_subtracted"] is False
        about, cropped = corners("out", "--subtract-bounds")  # the same folder: the file is made anew
        assert about["bounds_yx"] == [200.0, 100.0] and about["bounds_subtracted"] is True
        np.testing.assert_allclose(whole - cropped, [[100, 200]] * len(whole))

    def test_a_case_does_the_same(self, tissue: NDArray[np.uint8], model: Path, tmp_path: Path) -> None:
        bundle = load_bundle(model)
        with open_slide(write_scn(tmp_path / "a.scn", tissue[:512, :640])) as slide:
            prediction = predict(slide, bundle, "cpu", threads=1)
            write_case(tmp_path / "case", prediction, slide, bundle.card, subtract_bounds=True)
        about = json.loads((tmp_path / "case/a.geojson").read_text())["lrmil"]
        assert about["bounds_subtracted"] is True and about["mpp_source"] == "openslide.mpp"


class TestTrain:
    @pytest.mark.parametrize("asked", [True, False])
    def test_power_counts_only_when_the_settings_ask_for_it(
        self, tissue: NDArray[np.uint8], tmp_path: Path, asked: bool
    ) -> None:
        (tmp_path / "slides").mkdir()
        for number in range(8):
            path = tmp_path / f"slides/{number}.svs"
            write_pyramid(path, np.roll(tissue, 97 * number, axis=0), None, style="aperio", power=20)
        rows = [f"{number},{'ab'[number % 2]},{'test' if number > 3 else 'train'}" for number in range(8)]
        (tmp_path / "labels.csv").write_text("slide_id,label,split\n" + "\n".join(rows) + "\n")
        config = tiny_config(use_objective_power=asked, mpp_hr=1.0)
        steps = train_steps(tmp_path / "slides", tmp_path / "labels.csv", tmp_path / "run", config, device="cpu")
        done = 0
        try:
            for step in steps:
                done = max(done, step.done if step.job == ("HR features",) and step.unit == "slides" else 0)
                if done == 1:
                    break
        except CohortError as error:
            assert not asked and "um/px of the slide is unknown" in str(error)
        finally:
            steps.close()  # type: ignore[attr-defined]
        cards = [read_card(path) for path in (tmp_path / "run/shared/hr").glob("*.zarr")]
        assert [card.mpp_source for card in cards] == (["objective power 20x"] if asked else [])
