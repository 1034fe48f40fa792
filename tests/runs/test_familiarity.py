"""A run learns what its slides look like, its model keeps it, and strange slides are left without an answer."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lrmil.cohorts.splits import read_splits
from lrmil.features.store import read_card
from lrmil.models import familiarity
from lrmil.models.bundle import Bundle, load_bundle
from lrmil.models.familiarity import COLOURS
from lrmil.prediction.batch import predict_slides
from lrmil.prediction.inference import predict
from lrmil.runs.audit import audit_run
from lrmil.runs.train import Run, train
from lrmil.slides.source import SlideSource
from lrmil.steps import last
from support.runs import TinyRun, tiny_config

pytestmark = pytest.mark.long


@pytest.fixture(autouse=True)
def few_slides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(familiarity, "MIN_SLIDES", 2)


@pytest.fixture(scope="module")
def run(tiny_run: TinyRun, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The tiny run with a model that knows its slides; there are fewer than a lab would have."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(familiarity, "MIN_SLIDES", 2)
        folder = tmp_path_factory.mktemp("familiar") / "run"
        shutil.copytree(tiny_run.folder, folder)
        return train(
            tiny_run.slides, tiny_run.labels, folder, tiny_config(calibration__folds=2), device="cpu", replace=True
        )


def elsewhere(bundle: Bundle) -> Bundle:
    """The same model, as if its slides had had other colours."""
    assert bundle.familiarity is not None
    colours = bundle.familiarity.colours
    moved = replace(colours, mean=tuple(value + 10 for value in colours.mean))
    return replace(bundle, familiarity=replace(bundle.familiarity, colours=moved))


def test_the_model_knows_the_slides_of_its_fold(run: Run) -> None:
    bundle = load_bundle(run.model)
    ids = {slide_id for fold in read_splits(run.folder / "splits.csv") for slide_id in fold.train + fold.val}
    cards = [read_card(run.folder / f"fold-0/lr/{slide_id}.zarr") for slide_id in sorted(ids)]
    assert bundle.familiarity is not None and bundle.familiarity.slides == len(cards)
    assert bundle.familiarity.fewest_patches == min(card.total for card in cards)
    assert np.mean([card.appearance for card in cards], axis=0)[:6] == pytest.approx(bundle.familiarity.colours.mean)
    stated = run.metrics["calibration"]["abstention"]  # type: ignore[index]
    assert stated is None or stated["slides"] == 4
    assert audit_run(run.folder).findings == ()


def test_a_slide_of_other_colours_is_left_without_an_answer(run: Run, tiny_run: TinyRun, tmp_path: Path) -> None:
    bundle, slide = load_bundle(run.model), sorted(tiny_run.slides.iterdir())[0]
    known, strange = predict(slide, bundle, "cpu"), predict(slide, elsewhere(bundle), "cpu")
    assert COLOURS not in known.reasons
    assert COLOURS in strange.reasons and (strange.status, strange.label) == ("uncertain", known.label)
    source = [SlideSource(slide.stem, slide)]
    (row,) = last(predict_slides(source, elsewhere(bundle), tmp_path))
    assert row.status == "uncertain" and COLOURS in row.reason.split()
    assert last(predict_slides(source, elsewhere(bundle), tmp_path)) == [row]


def test_doubts_that_were_edited_away_come_back(run: Run, tiny_run: TinyRun, tmp_path: Path) -> None:
    bundle, slide = elsewhere(load_bundle(run.model)), sorted(tiny_run.slides.iterdir())[0]
    source, path = [SlideSource(slide.stem, slide)], tmp_path / f"{slide.stem}.json"
    last(predict_slides(source, bundle, tmp_path))
    document = json.loads(path.read_text())
    document["prediction"] |= {"reasons": [], "status": "ok"}
    path.write_text(json.dumps(document))
    (row,) = last(predict_slides(source, bundle, tmp_path))
    assert row.status == "uncertain" and COLOURS in row.reason.split()


def test_an_audit_finds_a_model_that_knows_other_slides(run: Run, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    path = tmp_path / "run/model/bundle.json"
    document = json.loads(path.read_text())
    document["familiarity"]["colours"]["limit"] = 1e6
    path.write_text(json.dumps(document))
    assert any("Its familiarity is not that" in one.message for one in audit_run(tmp_path / "run").findings)


def test_features_of_earlier_versions_teach_nothing(run: Run, tiny_run: TinyRun, tmp_path: Path) -> None:
    """One slide without an appearance is enough: a limit from the others would not be that of all."""
    shutil.copytree(run.folder, tmp_path / "run")
    learned = read_splits(tmp_path / "run/splits.csv")[0].train[0]
    path = tmp_path / f"run/fold-0/lr/{learned}.zarr/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["appearance"] = None
    path.write_text(json.dumps(document))
    assert read_card(path.parent).appearance is None
    config = tiny_config(calibration__folds=2)
    again = train(tiny_run.slides, tiny_run.labels, tmp_path / "run", config, device="cpu", replace=True)
    assert load_bundle(again.model).familiarity is None
