"""Record the environment of a run: versions, device, system."""

import importlib.metadata
import platform
from pathlib import Path

import torch

from lrmil import __version__
from lrmil.io import atomic
from lrmil.io.ownership import is_environment

LIBRARIES = ("torch", "timm", "numpy", "tifffile", "openslide-python", "zarr")


def write_environment(folder: Path, device: torch.device) -> None:
    """Write environment.json: versions and the kind of device, but nothing that names the machine or its user.

    Parameters
    ----------
    folder
        Run folder.
    device
        Where the run computes.

    Raises
    ------
    OverwriteError, OutputError
        If it cannot be written.
    """
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    document = {
        "python": platform.python_version(),
        "system": platform.system(),
        "device": name,
        "threads": torch.get_num_threads(),
        "packages": installed_versions(),
    }
    atomic.write_json(folder / "environment.json", document, is_environment)


def installed_versions() -> dict[str, str]:
    """Return the version of each package that results depend on."""
    return {"napari-lrmil": __version__, **{name: importlib.metadata.version(name) for name in LIBRARIES}}
