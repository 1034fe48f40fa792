"""A prediction is shown again with its own slide, at its own um/px, by the model in use."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
from napari.components import ViewerModel

from lrmil.slides.source import SlideSource
from napari_lrmil.layers.build import KEY
from napari_lrmil.session.kept_predictions import KeptPredictions
from napari_lrmil.state.shown import ShownPrediction

if TYPE_CHECKING:
    from lrmil.prediction.prediction import Prediction
    from napari.layers import Image


def shown(name: str, mpp: float | None = None, *, by: str = "a") -> ShownPrediction:
    prediction = cast("Prediction", SimpleNamespace(bundle_sha256=by, slide_fingerprint="f"))
    return ShownPrediction(prediction, SlideSource(name, Path(f"{name}.svs"), mpp), Path("out"))


def add_slide(viewer: ViewerModel, name: str) -> "Image":
    about = {"path": f"{name}.svs", "slide_id": name, "mpp": 0.5, "mpp_source": "aperio MPP"}
    return viewer.add_image(np.zeros((4, 4, 3), np.uint8), rgb=True, name=name, metadata={KEY: about})


@pytest.fixture
def viewer() -> ViewerModel:
    return ViewerModel()


def test_it_is_that_of_the_slide_and_the_model(viewer: ViewerModel) -> None:
    one, other = add_slide(viewer, "one"), add_slide(viewer, "other")
    kept, answer = KeptPredictions(), shown("one")
    kept.keep(viewer.layers, answer)
    assert kept.find(one, "") is kept.find(one, "a") is answer
    assert kept.find(one, "b") is None and kept.find(other, "") is None
    kept.forget(one, "")
    kept.forget(other, "a")
    assert kept.find(one, "") is None


def test_those_of_two_models_are_kept_beside_each_other(viewer: ViewerModel) -> None:
    one, kept, answers = add_slide(viewer, "one"), KeptPredictions(), [shown("one", by="b"), shown("one")]
    assert not kept.has(viewer.layers, "")
    for answer in answers:
        kept.keep(viewer.layers, answer)
    assert [kept.find(one, name) for name in "ba"] == answers and kept.find(one, "") is answers[1]
    kept.forget(one, "a")
    assert [kept.has(viewer.layers, name) for name in "ba"] == [True, False]
    kept.keep(viewer.layers, answers[1])
    kept.keep(viewer.layers, answers[0])
    assert kept.find(one, "") is answers[0], "the last one"


def test_it_is_not_that_of_another_resolution(viewer: ViewerModel) -> None:
    layer, kept = add_slide(viewer, "one"), KeptPredictions()
    kept.keep(viewer.layers, shown("one"))
    layer.metadata[KEY].update(mpp=0.25, mpp_source="override")
    assert kept.find(layer, "") is None
    kept.keep(viewer.layers, shown("one", 0.25))
    assert kept.find(layer, "") is not None


def test_every_layer_of_the_slide_has_it(viewer: ViewerModel) -> None:
    layers = [add_slide(viewer, "one"), add_slide(viewer, "one")]
    kept, answer = KeptPredictions(), shown("one")
    kept.keep(viewer.layers, answer)
    assert [kept.find(layer, "") for layer in layers] == [answer, answer]
