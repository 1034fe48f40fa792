"""Figures are drawn whatever numbers a damaged run holds."""

import math
import re

import pytest

from lrmil.reports.figures import LossLine, loss_svg


@pytest.mark.parametrize("odd", [1e308, -1e308, math.inf, math.nan])
def test_a_loss_beyond_all_axes_leaves_a_gap(odd: float) -> None:
    plain = LossLine("fold-0", [1.0, 0.5, 0.4], [1.1, 0.6, 0.5], 3)
    damaged = LossLine("fold-0", [1.0, odd, 0.4], [1.1, 0.6, 0.5], 3)
    drawn = [loss_svg({"Stage 1": [line]}) for line in (plain, damaged)]
    assert drawn[0] != drawn[1] and all(re.match(r"<svg[^>]*>", text) for text in drawn)
    assert "nan" not in drawn[1] and "inf" not in drawn[1]
