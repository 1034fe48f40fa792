"""What is kept of the machine: versions and the kind of device, no name of host or user."""

import getpass
import json
import platform
from pathlib import Path

import torch

from lrmil import __version__
from lrmil.io.ownership import is_environment
from lrmil.runs.environment import LIBRARIES, installed_versions, write_environment


def test_versions_and_device_are_kept_and_no_name(tmp_path: Path) -> None:
    write_environment(tmp_path, torch.device("cpu"))
    path = tmp_path / "environment.json"
    document = json.loads(path.read_text(encoding="utf-8"))
    assert is_environment(path) and document["device"] == "cpu" and document["packages"] == installed_versions()
    assert not {platform.node(), getpass.getuser()} & {str(value) for value in document.values()}


def test_every_library_has_its_version() -> None:
    found = installed_versions()
    assert found["napari-lrmil"] == __version__ and torch.__version__.startswith(found["torch"])
    assert found.keys() == {"napari-lrmil", *LIBRARIES}
