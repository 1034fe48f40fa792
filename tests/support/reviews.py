"""Reviews that are whole, and a process that writes many of them."""

import json
from pathlib import Path

from lrmil.reviews.log import FORMAT, Review, append_review, plain_of


def entry(**changes: object) -> Review:
    """An entry that agrees, with changes."""
    values: dict[str, object] = {
        "event": "review",
        "slide_id": "a",
        "slide_fingerprint": "f1",
        "bundle_sha256": "b1",
        "output_label": "yes",
        "output_probabilities": {"no": 0.25, "yes": 0.75},
        "output_status": "ok",
        "decision": "agree",
        "human_label": "yes",
    }
    return Review(**(values | changes))  # type: ignore[arg-type]


def foreign_line(review: Review, **changes: object) -> bytes:
    """A line of a log as another program could have written it."""
    return json.dumps({"format": FORMAT, **plain_of(review), **changes}).encode()


def write_many(log: Path, writer: int, count: int) -> None:
    """Append long reviews to a log, as another process."""
    for number in range(count):
        append_review(log, entry(slide_id=f"{writer}-{number}", note="x" * 9000))
