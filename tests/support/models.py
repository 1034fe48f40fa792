"""Model folders that are changed by hand."""

import json
from collections.abc import Callable
from pathlib import Path


def rewrite(model: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Change bundle.json."""
    document = json.loads((model / "bundle.json").read_text())
    change(document)
    (model / "bundle.json").write_text(json.dumps(document))
