"""Hashes of values, of whole files, and of slides by samples."""

import hashlib
import json
from pathlib import Path

SAMPLE_BYTES = 1 << 20


def sha256_of(value: object) -> str:
    """Hash a JSON-like value by its canonical text: equal values have equal hashes, whatever the order of keys."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """Hash the whole content of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Hash a slide by its size and three samples of 1 MiB (start, middle, end).

    A slide has gigabytes: reading it whole would cost more than classifying it. Files up to 3 MiB are hashed whole.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)}):
            file.seek(start)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
