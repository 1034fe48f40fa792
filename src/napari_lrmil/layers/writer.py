"""napari's writer for tissue masks: File > Save Selected Layers, in the format that `--tissue` reads."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import ConfigError
from lrmil.patches.mask_files import place_mask
from lrmil.patches.masks import OWN
from lrmil.raster import Raster
from napari_lrmil.layers.build import KEY


def write_tissue(path: str, data: NDArray[np.integer], attributes: dict[str, Any]) -> list[str]:
    """Write the tissue layer of a slide as OME-Zarr, and return the path that it got.

    Parameters
    ----------
    path
        As chosen; it gets the ending `.tissue.ome.zarr`, by which `lrmil predict --tissue` finds the masks in a folder.
        Another mask of that name is kept under a new one.
    data
        (rows, cols), above 0 where there is tissue.
    attributes
        Of the layer.

    Raises
    ------
    ConfigError
        If the layer is not the tissue mask of a slide.
    OverwriteError
        If there is content at the path that lrmil did not write.
    OutputError
        If it cannot be written.
    """
    about = attributes.get("metadata", {}).get(KEY, {})
    if "to_level0" not in about:
        raise ConfigError(
            f"The layer {attributes.get('name')!r} is not the tissue mask of a slide. Press 'Find tissue' in Classify "
            "slide and paint in the layer that appears, or save this one in another format."
        )
    mask = Raster(np.asarray(data) > 0, np.array(about["to_level0"]))
    out = Path(path)
    out = out.with_name(out.name.removesuffix(".zarr").removesuffix(".ome").removesuffix(".tissue") + OWN)
    place_mask(out, mask, "", mpp=float(attributes["scale"][0]) / mask.cell_yx[0], mpp_source="")
    return [str(out)]
