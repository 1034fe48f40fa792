"""Where the repository, its tests and the archived samples of its formats lie."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
REPOSITORY = TESTS.parent
FORMATS = TESTS / "formats"
