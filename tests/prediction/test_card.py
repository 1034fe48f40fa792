"""The card of a saved prediction, whatever someone wrote into it."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lrmil.models.bundle import Bundle
from lrmil.prediction.batch import predict_one
from lrmil.prediction.files import read_prediction
from lrmil.slides.source import SlideSource
from support.runs import ON_CPU, tiny_bundle


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return tiny_bundle()


@pytest.fixture(scope="module")
def written(cohort: Path, bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one prediction; its card is rewritten."""
    folder = tmp_path_factory.mktemp("strangers")
    list(predict_one(SlideSource("demo-001", cohort / "slides/demo-001.ome.tif"), bundle, folder, ON_CPU))
    (folder / "whole.json").write_bytes((folder / "demo-001.json").read_bytes())
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {"probabilities": {"no": 2.0, "yes": 0.0}},
        {"probabilities": {"no": -1, "yes": 0.0}},
        {"probabilities": {"no": "0.5", "yes": 0.5}},
        {"probabilities": [0.5, 0.5]},
        {"label": "other"},
        {"label": None},
        {"mpp": -0.5},
        {"mpp": 1e300},
        {"tissue_mm2": -1},
        {"failed_patches": "none"},
        {"timings": {"total": "long"}},
        {"slide_fingerprint": 3},
        {"another": 1},
    ],
    ids=str,
)
def test_values_that_no_prediction_has_are_none(written: Path, change: dict[str, object]) -> None:
    document = json.loads((written / "whole.json").read_text())
    (written / "demo-001.json").write_text(json.dumps(document))
    assert read_prediction(written, "demo-001") is not None
    document["prediction"].update(change)
    (written / "demo-001.json").write_text(json.dumps(document))
    assert read_prediction(written, "demo-001") is None


@pytest.mark.parametrize(
    "change", [{"origin_yx": [2.4e21]}, {"origin_yx": [0, 1 << 70]}, {"size": 0}, {"mpp": None}], ids=str
)
def test_a_lattice_that_no_prediction_has_is_none(written: Path, change: dict[str, object]) -> None:
    document = json.loads((written / "whole.json").read_text())
    document["grid"].update(change)
    (written / "demo-001.json").write_text(json.dumps(document))
    assert read_prediction(written, "demo-001") is None


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(
        ["grid", "prediction", "key", "format", "grid.mpp", "grid.size", "grid.origin_yx", "prediction.mpp"]
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
        max_leaves=5,
    ),
)
def test_no_card_raises(written: Path, name: str, value: object) -> None:
    document = json.loads((written / "whole.json").read_text())
    *above, leaf = name.split(".")
    (document[above[0]] if above else document)[leaf] = value
    (written / "demo-001.json").write_text(json.dumps(document))
    read = read_prediction(written, "demo-001")
    assert read is None or (0 < read.mpp <= 50 and read.label in read.probabilities)


@given(st.binary(max_size=50))
def test_no_bytes_raise(written: Path, data: bytes) -> None:
    (written / "demo-001.json").write_bytes(data)
    assert read_prediction(written, "demo-001") is None
