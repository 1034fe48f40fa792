"""Whether there is a screen to draw on; each of several test processes gets one of its own where Xvfb can make it.

Windows of two processes on one screen take the keyboard from each other.
"""

import atexit
import os
import shutil
import subprocess
import sys

HAS_DISPLAY = sys.platform != "linux" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def open_own_display() -> None:
    """Start a screen for this process and those that it starts, if it is one of several and there is a screen."""
    if "PYTEST_XDIST_WORKER" not in os.environ or not os.environ.get("DISPLAY") or not shutil.which("Xvfb"):
        return
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1600x1000x24", "-nolisten", "tcp"]
    server = subprocess.Popen(command, pass_fds=[write], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(server.terminate)
    os.close(write)
    with os.fdopen(read) as file:
        if number := file.readline().strip():  # "" if it could not start
            os.environ["DISPLAY"] = f":{number}"
