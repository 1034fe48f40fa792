"""Hash values, whole files, and samples of slide files."""

import hashlib
import hmac
import json
from pathlib import Path

SAMPLE_BYTES = 1 << 20


def sha256_of(value: object) -> str:
    """Return the SHA-256 of a JSON-like value, in hex; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def keyed(key: str, text: str) -> str:
    """Return the HMAC-SHA256 of a text, in hex, under a key in hex.

    Raises
    ------
    ValueError
        If the key is not hexadecimal.
    """
    return hmac.new(bytes.fromhex(key), text.encode(), "sha256").hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of the whole content of a file, in hex.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fingerprint(path: Path) -> str:
    """Return a SHA-256, in hex, over the size of a file and three samples of 1 MiB (start, middle, end).

    A slide has gigabytes: reading all of it would cost more than classifying it. Files up to 3 MiB are hashed whole.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with path.open("rb") as file:
        for start in sorted({0, max(0, size // 2 - SAMPLE_BYTES // 2), max(0, size - SAMPLE_BYTES)}):
            file.seek(start)
            digest.update(file.read(SAMPLE_BYTES))
    return digest.hexdigest()
