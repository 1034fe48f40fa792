"""The slides that are open in a viewer: the file and um/px of a layer, and the order of layers."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lrmil.errors import ConfigError
from lrmil.slides.source import SlideSource, slide_id_of
from napari_lrmil.layers.build import KEY

if TYPE_CHECKING:
    from napari.components import LayerList

    from napari.layers import Image, Labels, Layer


def slides_in(layers: "LayerList") -> "list[Image]":
    """Return the layers that show a slide: colour images from a file, whichever reader opened it."""
    from napari.layers import Image

    return [one for one in layers if isinstance(one, Image) and one.rgb and file_of(one) is not None]


def masks_in(layers: "LayerList") -> "list[Labels]":
    """Return the layers of tissue masks."""
    return [one for one in layers if "to_level0" in _about(one)]


def belongings_in(layers: "LayerList") -> "list[Layer]":
    """Return the layers that belong to a slide: its tissue mask, and what was drawn on it."""
    return [one for one in layers if "slide_path" in _about(one)]


def belongs_to(layer: "Layer", slide: "Layer") -> bool:
    """Return True if a tissue mask, or what was drawn, belongs to the file of this slide."""
    return bool(_about(layer)["slide_path"] == str(file_of(slide)))


def file_of(layer: "Layer") -> Path | None:
    """Return the file that a layer was opened from, None without one."""
    path = _about(layer).get("path") or layer.metadata.get("path") or layer.source.path
    return Path(path) if path else None


def source_of(layer: "Layer", mpp: float | None = None) -> SlideSource:
    """Return the slide that a layer shows, as the core takes it.

    Parameters
    ----------
    layer
        A layer.
    mpp
        um/px of level 0 given by hand; those set for the layer come first.

    Raises
    ------
    ConfigError
        If the layer has no file, or its slide has no usable um/px and none is given.
    """
    about, path = _about(layer), file_of(layer)
    if path is None:
        raise ConfigError(
            f"The layer {layer.name!r} was not opened from a slide file. Open the slide with File > Open."
        )
    if about.get("mpp_source") == "override":
        mpp = about["mpp"]
    if about and about.get("mpp") is None and mpp is None:
        raise ConfigError(f"{about['mpp_problem']} Type it into 'um/px of level 0', then run again.")
    return SlideSource(about.get("slide_id") or slide_id_of(path), path, mpp)


def is_of(layer: "Layer", source: SlideSource) -> bool:
    """Return True if a layer shows this slide, at the um/px that were given for it by hand."""
    about = _about(layer)
    given = about.get("mpp_source") != "override" or about["mpp"] == source.mpp
    return file_of(layer) == source.path and given


def find_slide(layers: "LayerList", source: SlideSource) -> "Image | None":
    """Return the first layer that shows this slide; None if it is not open.

    Parameters
    ----------
    layers
        Layers of the viewer.
    source
        The slide.
    """
    return next((one for one in slides_in(layers) if is_of(one, source)), None)


def was_replaced(layer: "Layer", fingerprint: str) -> bool:
    """Return True if a layer shows an earlier content of its file than the one with this fingerprint."""
    return bool(_about(layer).get("fingerprint", fingerprint) != fingerprint)


def answers_for(layer: "Layer", source: SlideSource, fingerprint: str) -> bool:
    """Return True if what was said of a slide, with this fingerprint, is of what a layer shows."""
    return is_of(layer, source) and not was_replaced(layer, fingerprint)


def bring_to_front(layers: "LayerList", slide: "Layer") -> None:
    """Move other slides and their layers below this one; layers that the user drew stay where they are."""
    above = layers[layers.index(slide) + 1 :]
    for layer in [one for one in above if _belongs_elsewhere(one, slide)]:
        layers.move(layers.index(layer), layers.index(slide))


def raise_overlays(layers: "LayerList", slide: "Layer") -> None:
    """Move the attention, then the squares of the gallery, above a slide that was opened after them."""
    for about in ("kind", "gallery"):
        for layer in [one for one in layers if about in _about(one)]:
            if layers.index(layer) < layers.index(slide):
                layers.move(layers.index(layer), len(layers))


def _belongs_elsewhere(layer: "Layer", slide: "Layer") -> bool:
    about = _about(layer)
    if about.keys() & {"kind", "gallery"}:  # they follow the prediction that is shown
        return False
    path = str(about.get("path") or about.get("slide_path") or "")
    return bool(path) and Path(path) != file_of(slide)


def _about(layer: "Layer") -> dict[str, Any]:
    about: dict[str, Any] = layer.metadata.get(KEY, {})
    return about
