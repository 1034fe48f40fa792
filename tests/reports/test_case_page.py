"""A case for others: figures equal the prediction's, the page needs nothing else, nothing that came in is executed."""

import base64
import csv
import io
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lrmil.demo.synthetic import make_slide
from lrmil.errors import ConfigError, SlideError
from lrmil.models.bundle import Bundle
from lrmil.models.card import ModelCard
from lrmil.prediction.inference import predict, predict_steps
from lrmil.prediction.prediction import Prediction
from lrmil.reports.case_page import render_case, write_case
from lrmil.reviews.log import Review
from lrmil.slides.opening import open_slide
from lrmil.slides.slide import Slide
from support.runs import tiny_bundle
from support.slides import overwrite, segment_of, write_pyramid


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


PATCH = re.compile(r"<figcaption>#(\d+): ([^,]+),<br>percentile ([0-9.]+)</figcaption>")


def patches_on(page: str) -> list[tuple[int, float, float]]:
    """Place, attention and percentile of every patch on a page, the highest before the lowest."""
    return [(int(number), float(attention), float(rank)) for number, attention, rank in PATCH.findall(page)]


def test_patches_have_the_attention_and_rank_of_the_prediction(
    prediction: Prediction, slide: Slide, card: ModelCard
) -> None:
    found = patches_on(render_case(prediction, slide, card, k=3))
    order = np.sort(prediction.patch_attention)
    assert [number for number, _, _ in found] == [1, 2, 3, 1, 2, 3]
    assert [attention for _, attention, _ in found] == pytest.approx([*order[::-1][:3], *order[:3]], rel=1e-3)
    ranks = np.linspace(0, 1, len(order))
    assert [rank for _, _, rank in found] == pytest.approx([*ranks[::-1][:3], *ranks[:3]], abs=0.006)


def test_the_picture_of_a_patch_is_that_patch(prediction: Prediction, slide: Slide, card: ModelCard) -> None:
    page = render_case(prediction, slide, card, k=1)
    (address,) = re.findall(r'src="([^"]*)" alt="patch 1"', page.partition("Lowest attention")[0])
    best = int(prediction.patch_attention.argmax())
    expected = slide.read_region(tuple(prediction.patches.level0_yx[best].tolist()), (64, 64), 2.0)
    with Image.open(io.BytesIO(base64.b64decode(address.partition(",")[2]))) as picture:
        assert picture.size == (64, 64)
        assert np.abs(np.asarray(picture, float) - expected).mean() < 8  # JPEG


@pytest.mark.parametrize("k", [0, 10_000])
def test_no_patch_is_shown_twice(k: int, prediction: Prediction, slide: Slide, card: ModelCard) -> None:
    page = render_case(prediction, slide, card, k=k)
    assert len(patches_on(page)) == min(k, len(prediction.patches)) and "Lowest attention" not in page


def test_every_class_has_its_bar_and_the_scale_bar_its_length(
    prediction: Prediction, slide: Slide, card: ModelCard
) -> None:
    page = render_case(prediction, slide, card)
    widths = re.findall(r'<div class="bar"><span style="width: ([0-9.]+)%">', page)
    assert [float(width) for width in widths] == pytest.approx(
        [100 * value for value in prediction.probabilities.values()], abs=0.051
    )
    share, um = re.findall(r'class="scale" style="width: ([0-9.]+)%">(\d+) µm', page)[0]
    assert float(share) / 100 * slide.dimensions[0] * slide.mpp == pytest.approx(float(um), rel=0.01)


def test_a_part_of_the_slide_that_cannot_be_read_is_said(bundle: Bundle, card: ModelCard, tmp_path: Path) -> None:
    """One torn tile of 16 x 16 at the level that the picture, not the model, is made from."""
    path = write_pyramid(
        tmp_path / "torn.tif", make_slide("positive", seed=3, size=2048).pixels, tile=128, factors=(4,)
    )
    offset, count = segment_of(path, 0, 100)
    overwrite(path, offset, b"\xff" * count)
    with open_slide(path) as torn:
        page = write_case(tmp_path / "case", predict(torn, bundle, "cpu"), torn, card).read_text(encoding="utf-8")
    (share,) = re.findall(r"([0-9.]+) % of these", page)
    tile, block, side = 128 / 3, 16, 2048 / 3  # px of the picture; what a tile spoils is counted in whole blocks
    assert 100 * (tile / side) ** 2 <= float(share) <= 100 * ((tile + 2 * block) / side) ** 2


def test_what_a_strange_card_says_is_shown_as_text(prediction: Prediction, slide: Slide, card: ModelCard) -> None:
    strange = replace(
        card,
        training={"slides": ["<script>"], "remark": "see /home/someone/cohort"},
        metrics={"lr_student": 3, "hr_teacher": {"auroc": "{{ 7 * 7 }}"}},
        license="<img src=x onerror=alert(1)>",
    )
    page = render_case(prediction, slide, strange)
    assert "<script" not in page and "<img src=x" not in page and "/home/someone" not in page
    assert "&lt;img src=x" in page and "see cohort" in page and "not recorded" in page


def test_an_unfinished_prediction_or_a_blind_read_is_no_case(
    prediction: Prediction, slide: Slide, bundle: Bundle, card: ModelCard, tmp_path: Path
) -> None:
    partial = next(iter(predict_steps(slide, bundle, "cpu", live=True))).result
    assert partial is not None and partial.status == "partial"
    with pytest.raises(ConfigError, match="partial"):
        write_case(tmp_path, partial, slide, card)
    read = review_of(prediction, event="read", decision=None, human_label="no")
    with pytest.raises(ConfigError, match="'read'"):
        write_case(tmp_path, prediction, slide, card, review=read)
    assert not list(tmp_path.iterdir())


def test_an_uncertain_output_is_said(slide: Slide, bundle: Bundle, card: ModelCard) -> None:
    page = render_case(predict(slide, bundle, "cpu", uncertain_below=0.999), slide, card)
    assert "Status: <b>uncertain</b>: the highest probability is below the requested limit. Read the slide" in page


def test_the_threshold_of_an_answer_is_said(prediction: Prediction, slide: Slide, card: ModelCard) -> None:
    assert "is the answer from" not in render_case(prediction, slide, card)
    page = render_case(replace(prediction, threshold=0.25), slide, card)
    assert "&#39;&lt;b&gt;yes&lt;/b&gt;&#39; is the answer from a probability of 25.0 % on." in page


def test_a_case_of_another_model_or_slide_is_refused(
    prediction: Prediction, slide: Slide, card: ModelCard, cohort: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=prediction.slide_id):
        write_case(tmp_path, prediction, slide, replace(card, sha256="other"))
    with pytest.raises(ConfigError, match=prediction.slide_id):
        write_case(tmp_path, prediction, slide, card, review=review_of(prediction, slide_fingerprint="other"))
    with open_slide(cohort / "slides/demo-002.ome.tif") as other, pytest.raises(ConfigError, match="demo-002"):
        write_case(tmp_path, prediction, other, card)
    assert not list(tmp_path.iterdir())
