"""Keep triton out of a process whose OpenGL driver has loaded its own LLVM, because the two crash each other.

torchvision imports triton if it is installed (it comes with torch for Linux). triton contains another LLVM than Mesa's
drivers (software rendering, AMD). Loading it after theirs ends the process with a segmentation fault. Nothing here
needs triton; without it torch only lacks `torch.compile`.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

MAPS = Path("/proc/self/maps")  # Linux only, as triton is


class TritonGuard(MetaPathFinder):
    """Refuses triton once libLLVM is in the process; leaves every other module to the other finders."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the signature of a finder
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> ModuleSpec | None:
        """Return None, so that the other finders search.

        Raises
        ------
        ModuleNotFoundError
            If triton is asked for and loading it would crash.
        """
        if fullname == "triton" and driver_has_llvm():
            raise ModuleNotFoundError(
                "triton is not loaded, because it would crash with the LLVM of the OpenGL driver", name=fullname
            )
        return None


def install() -> None:
    """Put the guard before the other finders, unless it is there."""
    if not any(isinstance(finder, TritonGuard) for finder in sys.meta_path):
        sys.meta_path.insert(0, TritonGuard())


def driver_has_llvm() -> bool:
    """Return True if a shared libLLVM is loaded into this process."""
    try:
        return "libLLVM" in MAPS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
