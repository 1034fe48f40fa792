"""A job that outlives its window ends, cleans up, and neither ends the process nor calls what is gone."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.usefixtures("display")
SCRIPT = """
import subprocess, sys, time
from pathlib import Path
import platformdirs
own = Path(sys.argv[1])
for kind in ("data", "cache", "log", "state"):
    setattr(platformdirs, f"user_{kind}_path", lambda *_, kind=kind, **__: own / kind)
import napari
from qtpy.QtWidgets import QApplication
from lrmil.slides.source import SlideSource
from napari_lrmil import sample
from napari_lrmil.session.viewers import session_of
from napari_lrmil.widgets.device_box import DeviceBox
DeviceBox.look = lambda box: None  # it imports torch, which takes seconds and proves nothing here
real = subprocess.Popen

def start(command, *arguments, **options):
    if "lrmil" not in command:
        return real(command, *arguments, **options)
    process = real([sys.executable, "-c", "import time; time.sleep(600)"], **options)
    print("process", process.pid, flush=True)
    return process

sample.subprocess.Popen = start

def run(until):
    end = time.monotonic() + 60
    while not until() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.01)

for goes_on in (True, False):
    viewer = napari.Viewer()
    viewer.window.add_plugin_dock_widget("napari-lrmil", "Classify slide")
    session = session_of(viewer)
    steps, told = [], []
    session.jobs.stepped.connect(lambda step, steps=steps: steps.append(step))
    session.jobs.failed.connect(told.append)
    run(lambda: not session.jobs.busy)
    sample.make_demo_model(session, SlideSource("demo", own / "demo.ome.tif"))
    run(lambda: any(step.job == ("make the model",) for step in steps))
    assert session.jobs.busy
    viewer.close()
    if goes_on:
        run(lambda: not session.jobs.busy)
        assert not session.jobs.busy and not told, told
print("end", flush=True)
"""


def test_windows_are_closed_while_the_sample_is_made(tmp_path: Path) -> None:
    """The program goes on after the first window, and ends with the second one."""
    ended = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "NAPARI_CONFIG": str(tmp_path / "napari.yaml")},
        check=False,
    )
    assert ended.returncode == 0 and "Error" not in ended.stderr, ended.stderr
    lines = ended.stdout.split("\n")
    assert "end" in lines
    processes = [int(line.split()[1]) for line in lines if line.startswith("process")]
    assert len(processes) == 2 and not any(map(psutil.pid_exists, processes))
