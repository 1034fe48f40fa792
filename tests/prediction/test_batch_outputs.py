"""Outputs of a batch whose folders the caller chooses."""

import csv
from dataclasses import replace
from pathlib import Path

import pytest

from lrmil.models.bundle import Bundle
from lrmil.prediction.batch import predict_batch
from lrmil.prediction.batch_outputs import BatchOutputs
from lrmil.prediction.table import PredictionRow
from lrmil.slides.source import SlideSource
from support.runs import ON_CPU, stamp_of, tiny_bundle

pytestmark = pytest.mark.long

PREDICTION_FILES = (".json", ".attention.ome.zarr", ".geojson", ".png")


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(tiny_bundle(), sha256="ab" * 32)


@pytest.fixture
def slides(slides: list[SlideSource]) -> list[SlideSource]:
    """Not in the order of their names: answers come in the order that was asked for."""
    return [slides[1], slides[0], slides[2]]


class TestOwnFolders:
    """Slides with a folder each, beside a table that begins with given lines."""

    def outputs(self, slides: list[SlideSource], tmp_path: Path) -> BatchOutputs:
        rows = [PredictionRow("elsewhere", "new"), *(PredictionRow(source.slide_id, "new") for source in slides)]
        folders = {source.path: tmp_path / f"results/{source.slide_id}-own" for source in slides}
        return BatchOutputs(tmp_path / "results", tmp_path / "results/tables/list.csv", folders, rows)

    def test_each_slide_lies_in_its_folder_and_the_table_has_all_lines(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path
    ) -> None:
        slides[1].path.write_bytes(b"x")
        outputs = self.outputs(slides, tmp_path)
        steps = list(predict_batch(slides, bundle, outputs, ON_CPU, rewording={"truncated": "cut off"}))
        assert steps[0].result is None and all(step.result is not None for step in steps[1:])
        outcomes = [step.result for step in steps[1:] if step.result is not None]
        finished = [one for one in outcomes if one.row is not None]
        assert [one.source for one in finished] == slides
        assert [(one.row.status, one.prediction is None, one.error is None) for one in finished if one.row] == [
            ("ok", False, True),
            ("failed", True, False),
            ("ok", False, True),
        ]
        reading = [one.source for one in outcomes if one.row is None]
        assert set(reading) == {slides[0], slides[2]}
        for source in (slides[0], slides[2]):
            own = sorted(path.name for path in outputs.slide_folders[source.path].iterdir())
            assert own == sorted(f"{source.slide_id}{ending}" for ending in PREDICTION_FILES)
        with outputs.table_path.open(newline="", encoding="utf-8") as file:
            lines = [(line["slide_id"], line["status"]) for line in csv.DictReader(file)]
        assert lines == [("elsewhere", "new"), ("demo-001", "ok"), ("demo-000", "failed"), ("demo-002", "ok")]
        assert not (tmp_path / "results/predictions.csv").exists()

    def test_words_of_a_failure_are_replaced_in_the_table(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path
    ) -> None:
        slides[0].path.write_bytes(slides[0].path.read_bytes()[:5000])
        name = "x" * 221
        outputs = self.outputs(slides, tmp_path)
        rewording = {"truncated": "cut off", "at most 220": "a short name: at most 220"}
        sources = [slides[0], slides[1]._replace(slide_id=name)]
        steps = predict_batch(sources, bundle, outputs, ON_CPU, rewording=rewording)
        rows = [step.result.row for step in steps if step.result is not None and step.result.row is not None]
        assert "cut off" in rows[0].message and "truncated" not in rows[0].message
        assert "a short name" in rows[1].message and rows[1].reason == "name"
        with outputs.table_path.open(newline="", encoding="utf-8") as file:
            found = {line["slide_id"]: line["message"] for line in csv.DictReader(file)}
        assert all(found[row.slide_id] == row.message for row in rows)

    def test_what_is_finished_is_skipped_next_time(
        self, slides: list[SlideSource], bundle: Bundle, tmp_path: Path
    ) -> None:
        outputs = self.outputs(slides, tmp_path)
        list(predict_batch(slides, bundle, outputs, ON_CPU))
        cards = [outputs.folder_of(source) / f"{source.slide_id}.json" for source in slides]
        before = [stamp_of(card) for card in cards]
        steps = list(predict_batch(slides, bundle, outputs, ON_CPU))
        assert [stamp_of(card) for card in cards] == before and len(steps) == 1 + 2 * len(slides)
