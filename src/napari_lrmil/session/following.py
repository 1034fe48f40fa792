"""Follow the layers of a viewer: the slide that is active and visible is the one that the user is on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from weakref import WeakSet

from napari_lrmil.layers.slides import belongings_in, belongs_to, slides_in

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from napari.layers import Image, Layer

MARGIN = 0.95  # of the canvas that a slide fills when it is chosen


class Following:
    """Tells which slide the user turned to, and shows that one alone with its masks.

    Parameters
    ----------
    viewer
        The viewer.
    chosen
        Returns the slide that the user is on.
    choose
        Called with another one that they turned to.
    changed
        Called when the slide that they are on was hidden or shown.
    """

    def __init__(
        self,
        viewer: "ViewerModel",
        chosen: "Callable[[], Image | None]",
        choose: "Callable[[Image | None], None]",
        changed: Callable[[], None],
    ) -> None:
        self._layers = viewer.layers
        self._chosen, self._choose, self._changed = chosen, choose, changed
        self._known: WeakSet[Image] = WeakSet()
        self._put_away: WeakSet[Layer] = WeakSet()
        self._held = False
        self._watch(slides_in(self._layers))
        self._layers.events.inserted.connect(self._inserted)
        self._layers.events.removed.connect(self._removed)
        self._layers.selection.events.active.connect(self._activated)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Let layers come, go and be hidden without another choice."""
        before, self._held = self._held, True
        try:
            yield
        finally:
            self._held = before

    def show_alone(self, slide: "Image") -> None:
        """Show a slide and its masks, and hide the other slides with theirs."""
        with self.held():
            for other in slides_in(self._layers):
                other.visible = other is slide
            self._show_belongings()
            if self._layers.selection.active in slides_in(self._layers):
                self._layers.selection.active = slide

    def _watch(self, slides: "list[Image]") -> None:
        for slide in slides:
            if slide not in self._known:
                self._known.add(slide)
                slide.events.visible.connect(self._visibility_changed)

    def _inserted(self, _event: object = None) -> None:
        slides = slides_in(self._layers)
        new = [slide for slide in slides if slide not in self._known]
        self._watch(new)
        if self._held:
            return
        if new:
            self._choose(new[-1])
        self._show_belongings()

    def _removed(self, _event: object = None) -> None:
        slides = slides_in(self._layers)
        if self._held:
            return
        self._show_belongings()
        if self._chosen() not in slides:
            seen = [slide for slide in slides if slide.visible] or slides
            self._choose(seen[-1] if seen else None)

    def _activated(self, event: object) -> None:
        active = getattr(event, "value", None)
        if not self._held and active in slides_in(self._layers) and active is not self._chosen():
            self._choose(active)

    def _visibility_changed(self, _event: object = None) -> None:
        if self._held:
            return
        chosen, visible = self._chosen(), [slide for slide in slides_in(self._layers) if slide.visible]
        if visible and chosen not in visible:
            self._choose(visible[-1])
            return
        self._show_belongings()
        self._changed()

    def _show_belongings(self) -> None:
        """Hide masks and regions whose slide is hidden, and show them again with it."""
        visible = [slide for slide in slides_in(self._layers) if slide.visible]
        for layer in belongings_in(self._layers):
            on_screen = any(belongs_to(layer, slide) for slide in visible)
            if layer.visible and not on_screen:
                layer.visible = False
                self._put_away.add(layer)
            elif on_screen and layer in self._put_away:
                layer.visible = True
                self._put_away.discard(layer)


def fit(viewer: "ViewerModel", slide: "Image") -> None:
    """Show all of a slide: napari's own reset counts hidden layers too."""
    corners = slide.extent.world[:, -2:]
    height, width = corners[1] - corners[0]
    rows, columns = viewer.canvas.size
    viewer.scene.camera.center = (0.0, *corners.mean(0).tolist())
    if height > 0 and width > 0:
        viewer.scene.camera.zoom = MARGIN * min(rows / height, columns / width)
