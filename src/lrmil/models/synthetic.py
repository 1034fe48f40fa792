"""Say of a model that it learned from synthetic slides alone."""

from collections.abc import Mapping

SYNTHETIC = "synthetic"  # member of `training` in bundle.json, true for such a model; others do not have it
SYNTHETIC_NOTE = "The model was trained on synthetic slides: it shows the software, and knows nothing of real tissue."


def is_of_synthetic_slides(training: Mapping[str, object]) -> bool:
    """Return whether a model learned from synthetic slides alone, as its folder states.

    Parameters
    ----------
    training
        What the model says of its training.
    """
    return training.get(SYNTHETIC) is True


def synthetic_note(training: Mapping[str, object]) -> tuple[str, ...]:
    """Return a sentence for a prediction of a model that learned from synthetic slides alone; () for others."""
    return (SYNTHETIC_NOTE,) if is_of_synthetic_slides(training) else ()
