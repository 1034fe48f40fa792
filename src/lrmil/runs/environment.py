"""On what a run was made: versions, device, machine."""

import importlib.metadata
import platform
from pathlib import Path

import torch

from lrmil import __version__
from lrmil.io import atomic
from lrmil.io.ownership import is_environment

LIBRARIES = ("torch", "timm", "numpy", "tifffile", "openslide-python", "zarr")


def write_environment(folder: Path, device: torch.device) -> None:
    """Save what the run ran on: versions and the kind of device, nothing that names the machine or its user."""
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
    """Version of each package that a result depends on."""
    return {"napari-lrmil": __version__, **{name: importlib.metadata.version(name) for name in LIBRARIES}}
