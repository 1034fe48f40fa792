"""Keep triton out of a process whose OpenGL driver has loaded an LLVM of its own: the two crash each other.

torchvision imports triton where it is installed (it comes with torch for Linux). Its library holds another LLVM than
Mesa's drivers (software rendering, AMD), and loading it after theirs ends the process with a segmentation fault.
Nothing here needs triton, and without it torch only lacks `torch.compile`.
"""

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

MAPS = Path("/proc/self/maps")  # Linux only, as triton is


class TritonGuard(MetaPathFinder):
    """Refuses to find triton once libLLVM is in the process; finds nothing itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Raise ImportError for triton where loading it would crash; otherwise leave the search to the others."""
        if fullname == "triton" and driver_has_llvm():
            raise ModuleNotFoundError(
                "triton is left out: it would crash beside the LLVM of the OpenGL driver", name=fullname
            )
        return None


def install() -> None:
    """Put the guard in front of the other finders, once."""
    if not any(isinstance(finder, TritonGuard) for finder in sys.meta_path):
        sys.meta_path.insert(0, TritonGuard())


def driver_has_llvm() -> bool:
    """Whether a shared libLLVM is loaded into this process."""
    try:
        return "libLLVM" in MAPS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
