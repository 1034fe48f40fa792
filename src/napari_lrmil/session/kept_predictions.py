"""The predictions of the slides that are open in a viewer, to show each again when the user comes back to its slide."""

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from napari_lrmil.layers.slides import is_of, slides_in, was_replaced
from napari_lrmil.state.shown import ShownPrediction

if TYPE_CHECKING:
    from napari.components import LayerList

    from lrmil.models.bundle import Bundle
    from napari.layers import Image


class KeptPredictions:
    """The last complete prediction of each slide, forgotten when its layer is closed."""

    def __init__(self) -> None:
        self._by_layer: WeakKeyDictionary[Image, ShownPrediction] = WeakKeyDictionary()

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
            if is_of(layer, shown.source) and not was_replaced(layer, shown.prediction.slide_fingerprint):
                self._by_layer[layer] = shown

    def find(self, layer: "Image", bundle: "Bundle | None") -> ShownPrediction | None:
        """Return the prediction of a layer by a model; None if there is none, or the layer has another um/px by now.

        Parameters
        ----------
        layer
            The layer of a slide.
        bundle
            The model, None for any.
        """
        kept = self._by_layer.get(layer)
        return kept if kept is not None and is_of(layer, kept.source) and is_by(kept, bundle) else None

    def forget(self, layer: "Image") -> None:
        """Forget the prediction of a layer, if there is one."""
        self._by_layer.pop(layer, None)


def is_by(shown: ShownPrediction, bundle: "Bundle | None") -> bool:
    """Return whether a prediction is by a model, None for any."""
    return bundle is None or shown.prediction.bundle_sha256 == bundle.sha256
