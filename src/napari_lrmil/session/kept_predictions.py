"""The predictions of the slides that are open in a viewer, to show each again when the user comes back to its slide."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_lrmil.layers.slides import answers_for, is_of, slides_in
from napari_lrmil.state.shown import ShownPrediction

if TYPE_CHECKING:
    from napari.components import LayerList

    from napari.layers import Image


class KeptPredictions:
    """The last complete prediction of each slide by each model, forgotten when its layer is closed."""

    def __init__(self) -> None:
        self._by_layer: WeakKeyDictionary[Image, dict[str, ShownPrediction]] = WeakKeyDictionary()

    def keep(self, layers: "LayerList", shown: ShownPrediction) -> None:
        """Keep a prediction with the layers of its slide.

        Parameters
        ----------
        layers
            Layers of the viewer.
        shown
            The prediction.
        """
        for layer in slides_in(layers):
            if answers_for(layer, shown.source, shown.prediction.slide_fingerprint):
                kept = self._by_layer.setdefault(layer, {})
                kept.pop(shown.prediction.bundle_sha256, None)
                kept[shown.prediction.bundle_sha256] = shown

    def find(self, layer: "Image", by: str) -> ShownPrediction | None:
        """Return the prediction of a layer by a model; None if there is none, or the layer has another um/px by now.

        Parameters
        ----------
        layer
            The layer of a slide.
        by
            Hash of the model, "" for the last one.
        """
        kept = self._by_layer.get(layer, {}).values()
        fitting = (shown for shown in kept if is_of(layer, shown.source) and is_by(shown, by))
        return next(reversed(list(fitting)), None)

    def has(self, layers: "LayerList", by: str) -> bool:
        """Return whether a slide that is open has a prediction by a model; parameters as in `keep` and `find`."""
        return any(self.find(layer, by) is not None for layer in slides_in(layers))

    def forget(self, layer: "Image", by: str) -> None:
        """Forget the prediction of a layer by a model, "" for those by any."""
        if by:
            self._by_layer.get(layer, {}).pop(by, None)
        else:
            self._by_layer.pop(layer, None)


def is_by(shown: ShownPrediction, by: str) -> bool:
    """Return whether a prediction is by the model of a hash, "" for any."""
    return by in ("", shown.prediction.bundle_sha256)
