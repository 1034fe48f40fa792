"""Every figure of a report has its definition, and no definition is of a figure that there is not."""

from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from lrmil.reports.definitions import DEFINITIONS, definitions_of, names_in
from lrmil.reports.run_data import gather
from lrmil.reports.run_trust import run_trust
from lrmil.reports.slide_results import SlideResult
from lrmil.runs.arms import ARMS
from lrmil.tasks.by_site import figures_by_site
from lrmil.tasks.classification import Classification

pytestmark = pytest.mark.long

# Members that hold no figure of their own: what the run is about, why a figure is absent, and names of folds and arms.
PLAIN = {"classes", "undefined", "hr_teacher", "lr_undistilled", "lr_student", "student", "cases_with_several_slides"}


def test_a_report_defines_its_figures(run: Path) -> None:
    report = gather(run)
    for name, inner in report.figures.items():
        for member in inner if isinstance(inner, dict) and name in PLAIN else [name]:
            plain = member in PLAIN or member.endswith("_reason") or member == "within_folds"  # which has its own
            assert plain or member in report.definitions, member
    assert report.definitions.keys() <= DEFINITIONS.keys() and "escalation" not in report.definitions


def test_what_probabilities_are_worth_is_defined() -> None:
    rng = np.random.default_rng(0)
    shares = rng.random(30)
    slides = [
        SlideResult(
            slide_id=str(place),
            case_id=str(place),
            fold="fold-0",
            label=["no", "yes"][place % 2],
            probabilities={arm: [1 - share, share] for arm in ARMS},
            predicted={},
            agreement={},
            mpp=0.5,
            mpp_source="",
        )
        for place, share in enumerate(shares.tolist())
    ]
    trust = run_trust(slides, Classification(("no", "yes")))
    assert trust is not None
    found = definitions_of({}, trust)
    assert {*asdict(trust)} - PLAIN <= found.keys()
    assert {"cost_ratios", "agreement"} <= found.keys() and "auroc" not in found


def test_figures_of_sites_are_defined() -> None:
    task, targets = Classification(("no", "yes")), [0, 1] * 10
    values = np.tile([[0.6, 0.4], [0.3, 0.7]], (10, 1))
    cases = [str(place) for place in range(20)]
    sites = figures_by_site(task, targets, values, cases, ["a", "b"] * 10)
    assert "by_site" in definitions_of({"by_site": sites}, None)
    assert {"means", "brier", "n_slides"} <= {*names_in(sites)}
