"""Outputs that no sound network gives are refused with their number."""

import numpy as np
import pytest

from lrmil.errors import ModelError
from lrmil.models.finite import MAX_OUTPUT, require_finite


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
def test_common_numbers_pass_whatever_their_type(kind: type) -> None:
    require_finite("a head", np.array([0, -1e4, 6e4], kind), np.zeros((0, 3), kind))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 2 * MAX_OUTPUT, -2 * MAX_OUTPUT])
def test_what_is_none_is_counted_over_all_arrays(bad: float) -> None:
    with pytest.raises(ModelError, match=r"from a head.* in 3 of 5"):
        require_finite("a head", np.array([1.0, bad]), np.array([[bad], [bad], [0.0]]))
