"""Figures are drawn whatever numbers a damaged run holds."""

import math
import re

import pytest

from lrmil import metrics
from lrmil.reports.figures import LossLine, RocLine, loss_svg, roc_svg
from lrmil.reports.run_report import ARM_NAMES


@pytest.mark.parametrize("odd", [1e308, -1e308, math.inf, math.nan])
def test_a_loss_beyond_all_axes_leaves_a_gap(odd: float) -> None:
    plain = LossLine("fold-0", [1.0, 0.5, 0.4], [1.1, 0.6, 0.5], 3)
    damaged = LossLine("fold-0", [1.0, odd, 0.4], [1.1, 0.6, 0.5], 3)
    drawn = [loss_svg({"Stage 1": [line]}) for line in (plain, damaged)]
    assert drawn[0] != drawn[1] and all(re.match(r"<svg[^>]*>", text) for text in drawn)
    assert "nan" not in drawn[1] and "inf" not in drawn[1]


pytestmark = pytest.mark.long


def test_a_training_without_validation_is_drawn_alone() -> None:
    svg = loss_svg({"stage": [LossLine("fold-0", [1.0, 0.5], [], 2)]})
    assert ">kept<" in svg and ">training (solid)<" in svg and ">validation" not in svg


def test_training_is_solid_and_validation_dashed_as_in_the_window() -> None:
    svg = loss_svg({"stage": [LossLine("fold-0", [1.0, 0.5], [1.1, 0.6], 2)]}).lower()
    styles = [style.split('"')[0] for style in svg.split('style="')[1:] if "stroke-width: 1.6" in style.split('"')[0]]
    dashed = {color: any(color in one and "dasharray" in one for one in styles) for color in ("#0072b2", "#c24e00")}
    assert dashed == {"#0072b2": False, "#c24e00": True}
    assert ">training (solid)<" in svg and ">validation (dashed)<" in svg


def test_a_stage_without_a_step_says_so_in_place_of_a_legend() -> None:
    assert ">not trained<" in loss_svg({"stage": []})


def test_figures_mark_arms_by_dashes_and_draw_every_fold() -> None:
    truth, scores = [0, 1, 0, 1], [[0.9, 0.1], [0.4, 0.6], [0.3, 0.7], [0.2, 0.8]]
    roc = metrics.roc(truth, scores, 1)
    assert roc is not None
    rates = roc.false_positive_rate.tolist(), roc.true_positive_rate.tolist()
    svg = roc_svg("of a test", [RocLine(arm, f"{arm}: AUROC 0.750", *rates) for arm in ARM_NAMES])
    dashes = {part.split('"')[0].split(";")[0] for part in svg.split("stroke-dasharray: ")[1:]}
    assert len(dashes) == 2
    assert all(f"{arm}: AUROC 0.750" in svg for arm in ARM_NAMES)
    steps = loss_svg({"stage": [LossLine("fold-0", [1.0, 0.5], [1.1, 0.8], 2, [250, 500])]})
    assert "optimisation step" in steps and ">450<" in steps and ">epoch<" not in steps
    one = loss_svg({"stage": [LossLine("fold-0", [1.0, 0.5], [1.1, 0.8], 2)]})
    two = loss_svg({"stage": [LossLine(f"fold-{fold}", [1.0, 0.5], [1.1, 0.8], 2) for fold in range(2)]})
    assert ">epoch<" in one and "optimisation step" not in one
    for own in ("stroke-dasharray: ", "stroke: #c24e00"):
        assert one.count(own) < two.count(own)


def test_weights_from_before_the_first_step_have_no_mark() -> None:
    """The legend names the mark of another fold."""
    start, later = (LossLine(name, [1.0, 0.5], [1.1, 0.8], best) for name, best in (("fold-0", 0), ("fold-1", 2)))
    assert ">kept<" not in loss_svg({"stage": [start]}) and ">training (solid)<" in loss_svg({"stage": [start]})
    assert loss_svg({"stage": [start, later]}).count(">kept<") == 1
    assert loss_svg({"stage": [later, later]}).count(">kept<") == 1
