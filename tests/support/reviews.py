"""A review that is whole."""

from lrmil.reviews.log import (
    Review,
)


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
