"""Notice when the tissue mask of a slide is painted, taken back or removed after the slide was classified."""

from collections.abc import Callable
from typing import TYPE_CHECKING
from weakref import WeakSet

from lrmil.errors import TissueError
from napari_lrmil.layers.slides import masks_in
from napari_lrmil.session.opened_slide import painted_sha256
from napari_lrmil.state.shown import ShownPrediction

if TYPE_CHECKING:
    from napari.components import LayerList

    from napari.layers import Labels


class MaskWatch:
    """Compares the mask of the slide that is shown with the one that its answer was made with.

    Parameters
    ----------
    layers
        Layers of the viewer.
    shown
        Returns the prediction that is shown.
    changed
        Called when the answer begins or ceases to be one with another mask.

    Attributes
    ----------
    differs
        Whether the answer that is shown was made with another mask.
    """

    def __init__(
        self, layers: "LayerList", shown: Callable[[], ShownPrediction | None], changed: Callable[[], None]
    ) -> None:
        self._layers, self._shown, self._changed = layers, shown, changed
        self._known: WeakSet[Labels] = WeakSet()
        self.differs = False
        layers.events.inserted.connect(self.look)
        layers.events.removed.connect(self.look)

    def look(self, _event: object = None) -> None:
        """Compare again."""
        for mask in masks_in(self._layers):
            if mask not in self._known:
                self._known.add(mask)
                for event in (mask.events.labels_update, mask.events.set_data, mask.events.data):
                    event.connect(self.look)
        before, self.differs = self.differs, self._compare()
        if before != self.differs:
            self._changed()

    def _compare(self) -> bool:
        shown = self._shown()
        if shown is None or not shown.complete:
            return False
        try:
            return painted_sha256(self._layers, shown.source.path) != shown.mask_sha256
        except TissueError:
            return True  # of several masks none counts
