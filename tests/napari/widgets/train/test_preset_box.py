"""Presets in the form of a training: what they fill in, what they leave alone, and the way back to one's own."""

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import Qt

from lrmil.configs import TrainConfig, with_settings
from lrmil.presets import PRESETS, SUMMARIES, preset
from napari_lrmil.widgets.train.preset_box import OWN
from napari_lrmil.widgets.train.settings import SettingsBox

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


@pytest.fixture
def settings(qtbot: "QtBot") -> SettingsBox:
    box = SettingsBox()
    qtbot.addWidget(box)
    return box


def test_a_preset_fills_in_the_method_and_leaves_data_and_machine_alone(settings: SettingsBox, qtbot: "QtBot") -> None:
    own = with_settings(TrainConfig(), {"encoder": "resnet50", "folds": 3, "threads": 7, "min_tissue": 0.5})
    settings.show_config(own)
    assert settings.preset.currentData() == "default"
    assert [settings.preset.itemData(i) for i in range(settings.preset.count())] == list(PRESETS)
    for name in ("paper", "fast", "default"):
        choose_preset(settings, name, qtbot)
        assert settings.config() == with_settings(own, dict(PRESETS[name]))
        assert settings.preset.currentData() == name and not settings.problem


def test_own_settings_are_no_preset_and_can_be_returned_to(settings: SettingsBox, qtbot: "QtBot") -> None:
    for leaf, text in (("stage1.stain", "0.2"), ("mil.dropout", "7"), ("teacher", "nobody")):  # two are refused
        settings.show_config(TrainConfig())
        before = settings.leaves()[leaf].text(1)
        settings.leaves()[leaf].setText(1, text)
        assert settings.preset.currentData() == OWN
        choose_preset(settings, "paper", qtbot)
        assert settings.config() == preset("paper")
        choose_preset(settings, OWN, qtbot)
        assert settings.leaves()[leaf].text(1) == text and settings.preset.currentData() == OWN
        settings.leaves()[leaf].setText(1, before)
        assert settings.preset.currentData() == "default"
    settings.show_config(preset("fast"))  # of another run
    assert settings.preset.currentData() == "fast" and settings.preset.findData(OWN) < 0


def test_a_preset_is_chosen_in_spite_of_a_bad_field(settings: SettingsBox, qtbot: "QtBot") -> None:
    settings.mpp_lr.setText("quick")
    choose_preset(settings, "paper", qtbot)
    assert "'quick'" in settings.problem and settings.mpp_lr.text() == "quick"
    settings.mpp_lr.setText("2.0")
    assert settings.config() == preset("paper")


def test_presets_are_explained_and_locked(settings: SettingsBox, qtbot: "QtBot") -> None:
    box = settings.preset
    for name, summary in SUMMARIES.items():
        assert f"{name}: {summary}" in box.toolTip()
        assert summary in box.itemData(box.findData(name), Qt.ItemDataRole.ToolTipRole)
    settings.set_locked(locked=True)
    assert not box.isEnabled()


def choose_preset(settings: SettingsBox, name: str, qtbot: "QtBot") -> None:
    """Choose a preset by the keyboard: up to the first, then down to it."""
    box = settings.preset
    qtbot.keyClick(box, Qt.Key.Key_Home)
    for _ in range(box.findData(name)):
        qtbot.keyClick(box, Qt.Key.Key_Down)
    assert box.currentData() == name
