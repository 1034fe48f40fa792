"""The attention overlay: a layer with the attention of the shown prediction, its scale, opacity and legend."""

from typing import TYPE_CHECKING, cast
from weakref import ref

import numpy as np
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QCheckBox, QComboBox, QHBoxLayout, QLabel, QSlider, QVBoxLayout, QWidget

from napari_lrmil.layers.build import KEY, KIND_NAMES, AttentionKind, attention_layer
from napari_lrmil.session.session import Session
from napari_lrmil.state.shown import ShownPrediction
from napari_lrmil.widgets.parts import Text, listen

if TYPE_CHECKING:
    from napari.layers import Image

SCALES: dict[AttentionKind, str] = {
    "percentile": "Rank of each patch in this slide, 0 to 1; every slide has a patch of rank 1. Attention is where the "
    "model looked, not evidence that it is right.",
    "raw": "Share of the slide's attention, from 0 to its highest patch; all patches sum to 1. Attention is where the "
    "model looked, not evidence that it is right.",
}


class OverlayBox(QWidget):
    """Controls of the attention layer over the shown slide; they follow napari's own controls of that layer."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._followed: ref[Image] | None = None
        self.visible = QCheckBox("Show (H)")
        self.visible.setChecked(True)
        self.kind = QComboBox()
        self.kind.setAccessibleName("Scale of the attention")
        self.kind.setToolTip("Draw the rank of each patch's attention in this slide, or the attention itself")
        self.kind.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        for kind, name in KIND_NAMES.items():
            self.kind.addItem(name.removeprefix("attention, "), kind)
        self.opacity = QSlider(Qt.Orientation.Horizontal)
        self.opacity.setRange(0, 100)
        self.opacity.setValue(round(100 * session.preferences.opacity))
        self.opacity.setToolTip("Opacity of the overlay (keys , and .)")
        self.opacity.setAccessibleName("Opacity of the overlay")
        self.scale = Text()
        first, second = QHBoxLayout(), QHBoxLayout()
        first.addWidget(self.visible)
        first.addWidget(self.kind, 1)
        second.addWidget(QLabel("Opacity"))
        second.addWidget(self.opacity, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(first)
        column.addLayout(second)
        column.addWidget(self.scale)
        self.visible.toggled.connect(self._apply_visible)
        self.opacity.valueChanged.connect(self._apply_opacity)
        self.kind.currentIndexChanged.connect(self.refresh)
        listen(session.shown_changed, self.refresh)
        listen(session.revealed_changed, self.refresh)
        listen(session.on_screen_changed, self._apply_visible)
        self.refresh()

    @property
    def layer(self) -> "Image | None":
        """The attention layer, also if the user renamed it; None if there is none."""
        layers = self._session.viewer.layers
        return next((one for one in layers if one.metadata.get(KEY, {}).get("kind") in KIND_NAMES.values()), None)

    @property
    def chosen(self) -> AttentionKind:
        """The chosen scale of the values."""
        return cast(AttentionKind, self.kind.currentData())

    def refresh(self) -> None:
        """Update the layer to the prediction that the session shows."""
        self.scale.setText(SCALES[self.chosen])
        shown, layer = self._session.shown, self.layer
        if layer is not None:
            self._follow(layer)
        if shown is None or not self._session.revealed:
            if layer is not None:
                _blank(layer)
        elif layer is None:
            self._add(shown)
        else:
            self._update(layer, shown)

    def toggle(self) -> None:
        """Show or hide the overlay."""
        self.visible.toggle()

    def change_opacity(self, by: int) -> None:
        """Change the opacity by percentage points."""
        self.opacity.setValue(self.opacity.value() + by)

    def _add(self, shown: ShownPrediction) -> None:
        data, keywords, _ = attention_layer(shown.prediction, kind=self.chosen, opacity=self.opacity.value() / 100)
        added = self._session.viewer.add_image(data, visible=self._is_drawn, **keywords)
        added.colorbar.visible = True
        self._follow(added)

    def _update(self, layer: "Image", shown: ShownPrediction) -> None:
        values, keywords, _ = attention_layer(shown.prediction, kind=self.chosen)
        layer.data = values
        limits = keywords["contrast_limits"]
        layer.contrast_limits_range = limits
        layer.contrast_limits = limits
        for name in ("scale", "translate", "name", "metadata"):
            setattr(layer, name, keywords[name])
        layer.visible = self._is_drawn

    @property
    def _is_drawn(self) -> bool:
        return self.visible.isChecked() and self._session.on_screen

    def _follow(self, layer: "Image") -> None:
        if self._followed is None or self._followed() is not layer:
            self._followed = ref(layer)
            listen(layer.events.opacity, self._show_state)
            listen(layer.events.visible, self._show_state)
            self._show_state()

    def _show_state(self, _event: object = None) -> None:
        """Show the layer's opacity, and whether the user hid it; while there is no output, it is hidden in any case."""
        layer = self.layer
        if layer is None:
            return
        with QSignalBlocker(self.opacity), QSignalBlocker(self.visible):
            self.opacity.setValue(round(100 * layer.opacity))
            if self._session.shown is not None and self._session.revealed and self._session.on_screen:
                self.visible.setChecked(layer.visible)

    def _apply_visible(self) -> None:
        layer, session = self.layer, self._session
        if layer is not None:
            layer.visible = self._is_drawn and session.shown is not None and session.revealed

    def _apply_opacity(self) -> None:
        layer = self.layer
        if layer is not None:
            layer.opacity = self.opacity.value() / 100


def _blank(layer: "Image") -> None:
    """Empty a layer and hide it. Removing it, with its colour bar, can crash Mesa's OpenGL at the next drawing."""
    layer.data = np.full(layer.data.shape, np.nan, np.float32)
    layer.visible = False
