"""The one place where a network's outputs are checked: what is no number is the model's fault, never the slide's."""

import numpy as np
from numpy.typing import NDArray

from lrmil.errors import ModelError

MAX_OUTPUT = 1e12  # embeddings and logits of networks in use are below 1e5


def require_finite(network: str, *outputs: NDArray[np.floating]) -> None:
    """Refuse outputs with NaN, infinity or numbers beyond any use, as finite but absurd weights give them.

    Parameters
    ----------
    network
        What gave them, for the message.
    outputs
        Arrays of any shape.

    Raises
    ------
    ModelError
        With how many are no numbers.
    """
    limit = np.float64(MAX_OUTPUT)  # a plain float would become a float16 beside one, and that is infinity
    bad = sum(int(np.count_nonzero(~(np.abs(values) <= limit))) for values in outputs)  # NaN is not <= either
    if bad:
        count = sum(values.size for values in outputs)
        raise ModelError(
            f"Expected finite numbers from {network}. Got NaN, infinity or more than {MAX_OUTPUT:g} in {bad} of "
            f"{count}: its weights are damaged or far too large, and no slide is to blame. Copy the model again, train "
            "it again, or use another one."
        )
