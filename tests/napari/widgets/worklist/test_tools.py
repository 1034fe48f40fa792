"""Words of the worklist: pace and names."""

from dataclasses import replace

from lrmil.steps import Step
from napari_lrmil.widgets.worklist.tools import progress_text, shortened


def test_pace_is_told_in_words() -> None:
    step: Step[object] = Step(("x",), 3, 9, metrics={"slides_per_min": 4.123, "seconds_left": 400.0})
    assert progress_text(step) == "3 of 9 slides, 4.12 slides/min, 7 min left"
    assert progress_text(replace(step, metrics={})) == "3 of 9 slides"
    assert progress_text(replace(step, metrics={**step.metrics, "seconds_left": 20.0})).endswith("20 s left")


def test_long_names_do_not_widen_the_dock() -> None:
    assert shortened("slides") == "slides"
    assert shortened("x" * 40 + "end") == "…" + "x" * 24 + "end"
