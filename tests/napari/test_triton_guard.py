"""triton is refused only where loading it would crash the process."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from napari_lrmil import triton_guard
from napari_lrmil.triton_guard import TritonGuard, driver_has_llvm, install


def test_triton_is_refused_beside_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    maps = tmp_path / "maps"
    monkeypatch.setattr(triton_guard, "MAPS", maps)
    assert not driver_has_llvm(), "no such file: not Linux"
    maps.write_text("7f-8f r-xp 0 00:00 0 /usr/lib/libGL.so.1\n")
    assert TritonGuard().find_spec("triton", None) is None
    maps.write_text("7f-8f r-xp 0 00:00 0 /usr/lib/x86_64-linux-gnu/libLLVM-15.so.1\n")
    with pytest.raises(ImportError, match="OpenGL"):
        TritonGuard().find_spec("triton", None)
    assert TritonGuard().find_spec("torch", None) is None and TritonGuard().find_spec("triton_of_others", None) is None


def test_the_guard_stands_first_and_once() -> None:
    install()
    install()
    assert [type(finder) for finder in sys.meta_path].count(TritonGuard) == 1


@pytest.mark.usefixtures("display")
@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="torch came without triton")
def test_torch_and_timm_load_after_a_canvas_was_drawn() -> None:
    """In a process of its own, since the failure it guards against is a crash."""
    program = """
import napari
viewer = napari.Viewer(show=True)
import numpy as np
viewer.add_image(np.zeros((8, 8)))
viewer.screenshot(flash=False)
import napari_lrmil
import timm, torch, torchvision
assert timm.create_model("test_resnet", pretrained=False)(torch.zeros(1, 3, 64, 64)).shape == (1, 1000)
viewer.close()
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
