"""A case for others: figures equal the prediction's, the page needs nothing else, nothing that came in is executed."""

import base64
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from lrmil.bundle import Bundle, ModelCard
from lrmil.case_page import render_case, write_case
from lrmil.errors import ConfigError, SlideError
from lrmil.inference import Prediction, predict
from lrmil.review import Review
from lrmil.slide import Slide, open_slide
from runs import tiny_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return replace(tiny_bundle(classes=("no", "<b>yes</b>")), sha256="abc123")


@pytest.fixture(scope="module")
def card(bundle: Bundle) -> ModelCard:
    return replace(
        bundle.card,
        training={"slides": 10, "cases": 8, "date": "2026-01-02", "version": "9.9", "remark": "a remark"},
        metrics={"lr_student": {"auroc": 0.875, "auroc_ci": [0.7, 0.9], "balanced_accuracy": 0.8}},
    )


@pytest.fixture(scope="module")
def slide(cohort: Path) -> Iterator[Slide]:
    with open_slide(cohort / "slides/demo-001.ome.tif") as opened:
        yield opened


@pytest.fixture(scope="module")
def prediction(slide: Slide, bundle: Bundle) -> Prediction:
    return predict(slide, bundle, "cpu")


def review_of(prediction: Prediction, **changes: object) -> Review:
    values: dict[str, object] = {
        "event": "review",
        "slide_id": prediction.slide_id,
        "slide_fingerprint": prediction.slide_fingerprint,
        "bundle_sha256": "abc123",
        "output_label": prediction.label,
        "output_probabilities": prediction.probabilities,
        "output_status": prediction.status,
        "decision": "uncertain",
        "note": '<script>alert("x")</script>, and\na second line',
        "reviewer": "R7",
    }
    return Review(**{**values, **changes})  # type: ignore[arg-type]


def test_the_four_files(prediction: Prediction, slide: Slide, card: ModelCard, tmp_path: Path) -> None:
    page = write_case(tmp_path / "case", prediction, slide, card, review=review_of(prediction))
    assert page == tmp_path / "case/demo-001.html"
    assert sorted(path.name for path in page.parent.iterdir()) == [
        f"demo-001{ending}" for ending in (".csv", ".geojson", ".html", ".png")
    ]
    (row,) = csv.DictReader(io.StringIO((page.parent / "demo-001.csv").read_text(encoding="utf-8"), newline=""))
    assert row["slide_id"] == "demo-001" and row["label"] == prediction.label and row["status"] == "ok"
    assert float(row["prob_no"]) == pytest.approx(prediction.probabilities["no"], abs=1e-5)
    assert row["decision"] == "uncertain" and row["note"] == review_of(prediction).note and row["reviewer"] == "R7"
    tiles = json.loads((page.parent / "demo-001.geojson").read_text())
    assert len(tiles["features"]) == len(prediction.patches)
    with Image.open(page.parent / "demo-001.png") as picture:
        assert picture.width > 100


def test_the_page_needs_nothing_else_and_says_what_the_model_said(
    prediction: Prediction, slide: Slide, card: ModelCard
) -> None:
    page = render_case(prediction, slide, card, k=3)
    assert "http://" not in page and "https://" not in page and "<script" not in page
    assert str(slide.path.parent) not in page
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) >= 2 + 3 and all(source.startswith("data:image/") for source in sources)
    for source in sources:
        Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))).verify()
    for probability in prediction.probabilities.values():
        assert f"{100 * probability:.1f} %" in page
    for words in ("not a diagnosis", prediction.slide_fingerprint, "abc123", "a remark", "0.875", "OME PhysicalSize"):
        assert words in page
    assert f"{len(prediction.patches)} used" in page


def test_nothing_that_came_in_is_executed(prediction: Prediction, slide: Slide, card: ModelCard) -> None:
    page = render_case(prediction, slide, card, review=review_of(prediction))
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "<b>yes</b>" not in page and "&lt;b&gt;yes&lt;/b&gt;" in page


def test_a_patch_that_cannot_be_read_is_said(
    prediction: Prediction, slide: Slide, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*arguments: object) -> None:
        raise SlideError("gone")

    whole = render_case(prediction, slide, card, k=2)
    monkeypatch.setattr(slide, "read_region", fails)
    page = render_case(prediction, slide, card, k=2)
    assert (
        page.count("<img") < whole.count("<img")
        and "cannot be read" in page
        and "cannot be read" not in whole.replace("could not be read", "")
    )


def test_a_case_of_another_model_or_slide_is_refused(
    prediction: Prediction, slide: Slide, card: ModelCard, cohort: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="load the model"):
        write_case(tmp_path, prediction, slide, replace(card, sha256="other"))
    with pytest.raises(ConfigError, match="load the model"):
        write_case(tmp_path, prediction, slide, card, review=review_of(prediction, slide_fingerprint="other"))
    with open_slide(cohort / "slides/demo-002.ome.tif") as other, pytest.raises(ConfigError, match="classify it again"):
        write_case(tmp_path, prediction, other, card)
    assert not list(tmp_path.iterdir())
