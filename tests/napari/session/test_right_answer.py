"""Whatever is opened, closed, renamed, hidden, chosen or replaced: the answer on screen is of the slide on screen."""

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test
from napari.components import ViewerModel

from lrmil.slides.source import SlideSource
from napari.layers import Image, Labels
from napari_lrmil.layers.build import KEY, SlideFile
from napari_lrmil.layers.slides import belongs_to, file_of, masks_in, slides_in
from napari_lrmil.session.opened_slide import masks_of
from napari_lrmil.session.session import Session
from napari_lrmil.state.shown import ShownPrediction

if TYPE_CHECKING:
    from lrmil.models.bundle import Bundle as Model
    from lrmil.prediction.prediction import Prediction

FILES = [Path(f"case-{number}/HE.svs") for number in (1, 2)]
MODELS = [cast("Model", SimpleNamespace(sha256=sha256)) for sha256 in "ab"]


class Reading(RuleBasedStateMachine):
    """A reader's actions, in any order, on slides of one name in two folders."""

    slides = Bundle("slides")

    def __init__(self) -> None:
        super().__init__()
        self.viewer = ViewerModel()
        self.session = Session(self.viewer)
        self.session.bundle = MODELS[0]
        self.content = dict.fromkeys(FILES, 1)

    @rule(target=slides, path=st.sampled_from(FILES))
    def open(self, path: Path) -> Image:
        about = {"path": str(path), "slide_id": "HE", "mpp": 0.5, "mpp_source": "aperio MPP"}
        about |= {"fingerprint": f"{path} {self.content[path]}", "dimensions": (4, 4)}
        return self.viewer.add_image(np.zeros((4, 4, 3), np.uint8), rgb=True, name="HE", metadata={KEY: about})

    @rule(slide=consumes(slides))
    def close(self, slide: Image) -> None:
        self.viewer.layers.remove(slide)

    @rule(slide=slides)
    def choose(self, slide: Image) -> None:
        self.session.choose(slide)

    @rule(slide=slides)
    def select(self, slide: Image) -> None:
        self.viewer.layers.selection = {slide}

    @rule(slide=slides)
    def turn_eye(self, slide: Image) -> None:
        slide.visible = not slide.visible

    @rule(slide=slides, name=st.sampled_from(["HE", "HE [1]", "tissue: HE"]))
    def rename(self, slide: Image, name: str) -> None:
        slide.name = name

    @rule(slide=slides)
    def add_mask(self, slide: Image) -> None:
        of = SlideFile("HE", file_of(slide) or Path(), slide.metadata[KEY]["fingerprint"])
        about = {"slide_path": str(of.path), "slide_fingerprint": of.fingerprint}
        about |= {"to_level0": np.eye(2, 3).tolist(), "sha256": ""}
        self.viewer.add_labels(np.ones((4, 4), np.uint8), metadata={KEY: about})

    @rule()
    def remove_selected(self) -> None:
        if not isinstance(self.viewer.layers.selection.active, Image):
            self.viewer.layers.remove_selected()

    @rule(path=st.sampled_from(FILES))
    def replace_on_disk(self, path: Path) -> None:
        self.content[path] += 1

    @rule(model=st.sampled_from(MODELS))
    def use(self, model: "Model") -> None:
        self.session.take_model(Path("model"), model)

    @rule(path=st.sampled_from(FILES), status=st.sampled_from(["ok", "partial"]), since=st.integers(0, 1))
    def answer(self, path: Path, status: str, since: int = 0) -> None:
        """A job that began before, perhaps with another content of the file, ends or reports what it has so far."""
        model, content = cast("Model", self.session.bundle).sha256, max(1, self.content[path] - since)
        about = {"bundle_sha256": model, "slide_fingerprint": f"{path} {content}", "status": status}
        prediction = cast("Prediction", SimpleNamespace(**about))
        self.session.take(ShownPrediction(prediction, SlideSource("HE", path), Path("out")))

    @invariant()
    def the_answer_is_of_the_slide_on_screen(self) -> None:
        chosen, shown = self.session.chosen, self.session.shown
        visible = [slide for slide in slides_in(self.viewer.layers) if slide.visible]
        assert chosen in slides_in(self.viewer.layers) or not slides_in(self.viewer.layers)
        assert not visible or chosen in visible
        if shown is not None:
            assert chosen is not None and file_of(chosen) == shown.source.path
            assert chosen.metadata[KEY]["fingerprint"] == shown.prediction.slide_fingerprint
            assert shown.prediction.bundle_sha256 == cast("Model", self.session.bundle).sha256

    @invariant()
    def an_answer_without_a_painted_mask_is_marked_as_soon_as_there_is_one(self) -> None:
        shown = self.session.shown
        complete = shown is not None and shown.complete
        assert self.session.masks.differs == (complete and bool(masks_of(self.viewer.layers, shown.source.path)))

    @invariant()
    def masks_are_seen_on_their_own_slide_only(self) -> None:
        visible = [slide for slide in slides_in(self.viewer.layers) if slide.visible]
        for mask in masks_in(self.viewer.layers):
            assert isinstance(mask, Labels)
            assert (
                not mask.visible or not slides_in(self.viewer.layers) or any(belongs_to(mask, one) for one in visible)
            )


def test_a_file_that_is_replaced_and_opened_again_has_no_answer_yet() -> None:
    reading = Reading()
    before = reading.open(FILES[0])
    reading.answer(FILES[0], "ok")
    answered = reading.session.shown
    reading.replace_on_disk(FILES[0])
    now = reading.open(FILES[0])
    assert reading.session.chosen is now and reading.session.shown is None and answered is not None
    reading.answer(FILES[0], "ok", since=1)
    assert reading.session.shown is None
    reading.choose(before)
    assert reading.session.shown is not None
    reading.answer(FILES[0], "ok")
    assert reading.session.shown.prediction.slide_fingerprint == before.metadata[KEY]["fingerprint"]
    reading.choose(now)
    assert reading.session.shown.prediction.slide_fingerprint == now.metadata[KEY]["fingerprint"]


def test_the_answer_on_screen_is_of_the_slide_on_screen() -> None:
    slow = settings(max_examples=20, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(Reading, settings=slow)
