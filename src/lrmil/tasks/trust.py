"""What the values of answers are worth beyond one score: how often they are right, and what acting on them gains."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lrmil.calibration import Reliability
from lrmil.selective import Selective


class Benefit(NamedTuple):
    """A decision curve: points (t,) of `lrmil.net_benefit.net_benefit`."""

    thresholds: NDArray[np.float64]
    net_benefit: NDArray[np.float64]
    """Of acting by the values."""
    treat_all: NDArray[np.float64]
    """Of acting on every slide."""


class Trust(NamedTuple):
    """Of one arm on the same slides."""

    reliability: Reliability
    selective: Selective
    benefit: Benefit | None
    """None unless there are two classes."""
