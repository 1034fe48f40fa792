"""Which slides are familiar: against scikit-learn and a loop, false alarms, what is flagged, and damaged members."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from sklearn.covariance import LedoitWolf

from lrmil.errors import FormatError
from lrmil.features.appearance import COLOURS as COLOUR_NUMBERS
from lrmil.features.appearance import SKETCH
from lrmil.models.card import read_model_card
from lrmil.models.familiarity import (
    COLOURS,
    LITTLE,
    MAX_SIZE,
    MEMBER,
    MIN_SLIDES,
    TISSUE,
    UNREAD,
    Familiarity,
    View,
    familiarity_in,
    learn_familiarity,
)
from support.models import rewrite


def learned(seed: int, slides: int = 60, folds: int = 3) -> Familiarity:
    rng = np.random.default_rng(seed)
    groups = np.array_split(rng.permutation(slides), folds)
    found = learn_familiarity(rng.normal(size=(slides, 10)), groups, [7, *[9] * (slides - 1)], colours=4)
    assert found is not None
    return found


@example(0, 100, 2)
@example(0, 199, 2)
@given(st.integers(0, 1000), st.integers(16, 120), st.integers(2, 5))
@settings(deadline=None, max_examples=30)
def test_limits_are_those_of_slides_that_were_left_out(seed: int, slides: int, folds: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(slides, 5)) @ rng.normal(size=(5, 5))
    groups = np.array_split(rng.permutation(slides), folds)
    found = learn_familiarity(vectors, groups, [5] * slides, colours=3)
    distances = []
    for group in groups:
        others = LedoitWolf().fit(np.array([vectors[row, :3] for row in range(slides) if row not in group]))
        distances += [float(others.mahalanobis(vectors[row : row + 1, :3])[0]) / 3 for row in group]
    if min(slides - len(group) for group in groups) < MIN_SLIDES:
        assert found is None
        return
    assert found is not None
    beyond = sum(distance > found.colours.limit + 1e-9 for distance in distances)
    assert beyond == max(0, (slides + 1) // 100 - 1)
    assert found.colours.limit == pytest.approx(sorted(distances)[-1 - beyond])
    whole = LedoitWolf().fit(vectors[:, 3:])
    assert found.tissue.distance(vectors[0, 3:].tolist()) == pytest.approx(whole.mahalanobis(vectors[:1, 3:])[0] / 2)


def test_few_familiar_slides_are_doubted() -> None:
    doubted = 0
    for seed in range(50):
        found, rng = learned(seed), np.random.default_rng(seed + 1000)
        doubted += sum(bool(found.doubts(rng.normal(size=10).tolist(), patches=9, failed=0)) for _ in range(20))
    assert doubted < 0.05 * 1000  # two views, each with the largest of 60 distances as its limit


def test_what_is_unlike_the_others_is_said() -> None:
    found = learned(0)
    familiar = [0.0] * 10
    assert found.doubts(familiar, patches=9, failed=0) == []
    assert found.doubts([50.0, *familiar[1:]], patches=9, failed=0) == [COLOURS]
    assert found.doubts([*familiar[1:], 50.0], patches=9, failed=0) == [TISSUE]
    assert found.doubts(familiar, patches=6, failed=0) == [LITTLE] and found.doubts(None, patches=7, failed=0) == []
    assert found.doubts(familiar, patches=100, failed=6) == [UNREAD]
    assert found.doubts(familiar, patches=100, failed=5) == []


def test_too_few_slides_teach_nothing() -> None:
    vectors, rows = np.random.default_rng(0).normal(size=(12, 5)), np.arange(12)
    assert learn_familiarity(vectors, np.array_split(rows, 4), [5] * 12, colours=3) is None
    assert learn_familiarity(vectors[:9], np.array_split(rows[:9], 9), [5] * 9, colours=3) is None
    assert learn_familiarity(vectors, np.array_split(rows, 12), [5] * 12, colours=3) is not None


def test_equal_slides_are_familiar_and_others_are_not() -> None:
    vectors = np.ones((20, 5))
    found = learn_familiarity(vectors, np.array_split(np.arange(20), 4), [5] * 20, colours=3)
    assert found is not None and found.doubts([1.0] * 5, patches=5, failed=0) == []


def test_it_is_read_as_it_was_written_and_checked() -> None:
    found = learned(1)
    document = json.loads(json.dumps({MEMBER: found.to_dict()}))
    assert familiarity_in(document) == found and familiarity_in({}) is None
    for view, name, bad in (
        ("colours", "precision", [[1.0] * 4] * 3),
        ("colours", "precision", [[1.0] * 3] * 4),
        ("colours", "precision", (np.eye(4) + np.eye(4, k=1)).tolist()),
        ("colours", "precision", (-np.eye(4)).tolist()),
        ("colours", "precision", np.full((4, 4), 1e300).tolist()),
        ("tissue", "mean", []),
        ("tissue", "mean", [1e300] * 6),
        ("tissue", "mean", [float("nan")] * 6),
        ("tissue", "limit", -1),
        ("tissue", "code", "import os"),
    ):
        stated = {**document[MEMBER], view: {**document[MEMBER][view], name: bad}}
        with pytest.raises(ValidationError):
            familiarity_in({MEMBER: stated})
    for stated in ([], {}, {**document[MEMBER], "fewest_patches": 0}):
        with pytest.raises(ValidationError):
            familiarity_in({MEMBER: stated})


def test_the_largest_numbers_that_are_read_do_not_overflow() -> None:
    ends = [MAX_SIZE, -MAX_SIZE]
    view = View(mean=(ends[0],) * 32, precision=((MAX_SIZE,) * 32,) * 32, limit=1)
    assert np.isfinite(view.distance(ends[1:] * 32)) and view.distance(ends[1:] * 32) > 1


@pytest.mark.parametrize("lengths", [(5, 32), (6, 31), (32, 6), (38, 1)])
def test_a_model_that_knows_slides_by_other_numbers_is_refused(model: Path, lengths: tuple[int, int]) -> None:
    def knowing(lengths: tuple[int, int]) -> None:
        colours, tissue = (View(mean=(0.0,) * k, precision=tuple(map(tuple, np.eye(k))), limit=1) for k in lengths)
        found = Familiarity(colours=colours, tissue=tissue, fewest_patches=1, slides=20)
        rewrite(model, lambda document: document.update({MEMBER: found.to_dict()}))

    knowing((COLOUR_NUMBERS, SKETCH))
    assert read_model_card(model).familiarity is not None
    knowing(lengths)
    with pytest.raises(FormatError, match="familiar slides does not fit"):
        read_model_card(model)
