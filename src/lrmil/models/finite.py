"""Check the outputs of a network. NaN and infinity come from the model, never from a slide."""

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import ModelError

MAX_OUTPUT = 1e12  # embeddings and logits of common networks are below 1e5


def require_finite(network: str, *outputs: NDArray[np.floating]) -> None:
    """Raise on outputs with NaN, infinity or numbers so large that the weights must be damaged.

    Parameters
    ----------
    network
        What computed them, for the message.
    outputs
        Arrays of any shape.

    Raises
    ------
    ModelError
        With the number of such values.
    """
    limit = np.float64(MAX_OUTPUT)  # a Python float would become a float16 beside one, and that is infinity
    bad = sum(int(np.count_nonzero(~(np.abs(values) <= limit))) for values in outputs)  # False for NaN too
    if bad:
        count = sum(values.size for values in outputs)
        raise ModelError(
            f"Expected finite numbers from {network}. Got NaN, infinity or more than {MAX_OUTPUT:g} in {bad} of "
            f"{count}: its weights are damaged or far too large; the slides are not the cause. Copy the model again, "
            "train it again, or use another one."
        )
