"""Where on a slide it is classified: all of it, inside the shapes of a layer, or outside of them."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from lrmil.errors import TissueError
from napari_lrmil.layers.build import KEY
from napari_lrmil.layers.drawn_regions import claim, drawn_in, regions_layer, regions_of
from napari_lrmil.layers.slides import belongs_to, slides_in, source_of
from napari_lrmil.state.drawn_on import DrawnOn, require_drawn_on

if TYPE_CHECKING:
    from napari.components import LayerList, ViewerModel

    from napari.layers import Image, Shapes


class Where(NamedTuple):
    """A part of a slide."""

    shapes: "Shapes"
    inside: bool
    """Whether the inside of the shapes counts, or the rest of the slide."""

    def drawn(self, slide: "Image") -> DrawnOn:
        """Return the regions as they are drawn now.

        Parameters
        ----------
        slide
            The layer of the slide that they are on.

        Raises
        ------
        TissueError
            If they belong to another slide, or none has an area.
        """
        about = self.shapes.metadata.get(KEY, {})
        if not about or not belongs_to(self.shapes, slide):
            raise TissueError(f"The shapes in {self.shapes.name!r} were drawn on another slide than {slide.name}.")
        return DrawnOn(regions_of(self.shapes, slide, inside=self.inside), about["slide_fingerprint"])


class ShapesOnSlides:
    """Lets a layer of shapes belong to the slide on which it was made, and to no other.

    Parameters
    ----------
    layers
        Layers of the viewer.
    chosen
        Returns the slide that the user is on.
    """

    def __init__(self, layers: "LayerList", chosen: "Callable[[], Image | None]") -> None:
        self._layers, self._chosen = layers, chosen
        layers.events.inserted.connect(self._inserted)
        self._claim_all()

    def _inserted(self, event: object) -> None:
        chosen, new = self._chosen(), getattr(event, "value", None)
        for shapes in drawn_in(self._layers):
            if chosen is not None and KEY not in shapes.metadata and shapes is new:  # a copied layer has the key
                claim(shapes, chosen)
        self._claim_all()

    def _claim_all(self) -> None:
        """Let shapes that were there before belong to the only slide; of several, nobody knows which."""
        slides = slides_in(self._layers)
        if len(slides) == 1:
            for shapes in drawn_in(self._layers):
                if KEY not in shapes.metadata:
                    claim(shapes, slides[0])


def import_regions(viewer: "ViewerModel", slide: "Image", path: Path) -> "Shapes":
    """Add the regions of a GeoJSON file as a layer on a slide.

    Parameters
    ----------
    viewer
        The viewer.
    slide
        The layer of the slide.
    path
        The file.

    Returns
    -------
    Shapes
        The layer.

    Raises
    ------
    SlideError
        If the file has no regions of this slide, or the slide cannot be opened.
    ConfigError
        If the layer has no file, or no um/px.
    """
    from lrmil.patches.region_files import read_regions
    from lrmil.slides.opening import open_source

    with open_source(source_of(slide)) as opened:
        regions = read_regions(path, opened)
        require_drawn_on(opened, DrawnOn(regions, slide.metadata.get(KEY, {}).get("fingerprint", "")))
    data, keywords, _ = regions_layer(regions, slide, name=f"regions: {path.name}")
    shapes: Shapes = viewer.add_shapes(data, **keywords)
    claim(shapes, slide)
    return shapes
