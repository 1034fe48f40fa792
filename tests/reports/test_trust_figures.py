"""Figures of what probabilities are worth: every line is there, and no name is markup."""

import re

import pytest

from lrmil.reports.run_trust import RunTrust, run_trust
from lrmil.reports.trust_figures import decision_svg, reliability_svg, selective_svg, trust_svgs
from lrmil.tasks.classification import Classification
from support.results import results

TWO, THREE = Classification(("no", "yes")), Classification(("a", "b", "c"))

pytestmark = pytest.mark.long


def trust_of(task: Classification, count: int = 40, *, calibrated: bool = True) -> RunTrust:
    found = run_trust(results(task, count, calibrated=calibrated), task)
    assert found is not None
    return found


def test_lines_and_bins_are_named() -> None:
    svg = reliability_svg(trust_of(TWO))
    assert ">uncalibrated: 4 bins of 10 slides<" in svg and ">calibrated: 4 bins of 10 slides<" in svg
    assert ">calibrated:" not in reliability_svg(trust_of(TWO, calibrated=False))
    assert "1 bin of 3 slides" in reliability_svg(trust_of(TWO, 3))


def test_the_decision_curve_has_each_arm_and_both_simple_rules() -> None:
    svg = decision_svg(trust_of(TWO), "yes")
    for name in (
        "act on every slide",
        "act on none",
        "HR teacher",
        "LR undistilled (baseline)",
        "LR student, calibrated",
    ):
        assert f">{name}<" in svg
    hostile = decision_svg(trust_of(TWO), "<script>$\\frac{$")
    assert "<script>" not in hostile and "&lt;script&gt;" in hostile


def test_the_area_and_the_error_of_all_are_told() -> None:
    trust = trust_of(TWO)
    svg = selective_svg(trust)
    assert f"area {trust.selective_area:.3f}" in svg
    assert f"all answered: {100 * trust.selective['risk'][-1]:.1f} % wrong" in svg


@pytest.mark.parametrize(("task", "count"), [(TWO, 3), (THREE, 2)], ids=["two classes", "three"])
def test_what_is_not_defined_is_not_drawn(task: Classification, count: int) -> None:
    for number in (1, 40):
        drawn = trust_svgs(trust_of(task, number), task.names)
        assert len(drawn) == count and all(re.match("<svg", one) for one in drawn)
        assert not any("nan" in one or "inf" in one for one in drawn)
        assert len({re.findall('id="(f[0-9a-f]{8}-)', one)[0] for one in drawn}) == count, "ids of their own"
