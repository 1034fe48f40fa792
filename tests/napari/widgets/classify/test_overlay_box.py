"""The controls of the overlay follow those that napari has for the same layer."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from napari_lrmil.docks.classify import ClassifySlide
from napari_lrmil.session.session import Session

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot

    from napari.layers import Image


@pytest.fixture
def answered(dock: ClassifySlide, cohort: Path, finish: Callable[[Session], None]) -> ClassifySlide:
    dock.slides.open_file(str(cohort / "slides/demo-001.ome.tif"))
    dock.start()
    finish(dock.session)
    return dock


def layer_of(dock: ClassifySlide) -> "Image":
    layer = dock.overlay.layer
    assert layer is not None
    return layer


def test_opacity_and_visibility_changed_in_napari_are_shown(answered: ClassifySlide) -> None:
    overlay, layer = answered.overlay, layer_of(answered)
    layer.opacity = 0.333
    assert overlay.opacity.value() == 33 and layer.opacity == 0.333, "shown, and not rounded in the layer"
    overlay.change_opacity(10)
    assert layer.opacity == pytest.approx(0.43)
    layer.visible = False
    assert not overlay.visible.isChecked()
    overlay.toggle()
    assert layer.visible and layer.opacity == pytest.approx(0.43)


def test_hidden_output_does_not_change_what_the_user_chose(answered: ClassifySlide) -> None:
    overlay, session = answered.overlay, answered.session
    shown = session.shown
    session.show(None)
    assert not layer_of(answered).visible and overlay.visible.isChecked()
    session.show(shown)
    session.read_first = True
    assert layer_of(answered).visible is session.revealed
    session.read_first = False
    overlay.toggle()
    session.show(None)
    session.show(shown)
    assert not layer_of(answered).visible and not overlay.visible.isChecked()


def test_a_dock_that_is_opened_again_shows_the_layer_as_it_is(answered: ClassifySlide, qtbot: "QtBot") -> None:
    layer_of(answered).opacity, layer_of(answered).visible = 0.2, False
    again = ClassifySlide(answered.session.viewer)
    qtbot.addWidget(again)
    assert again.overlay.opacity.value() == 20 and not again.overlay.visible.isChecked()
    assert not layer_of(again).visible
    qtbot.waitUntil(lambda: not again.gallery.reading and not again.device.looking, timeout=60_000)
