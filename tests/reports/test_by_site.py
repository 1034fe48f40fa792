"""The table by site: a row for each, with reasons; none in runs without sites."""

import numpy as np

from lrmil.reports.by_site import MAX_MEANS, by_site
from lrmil.tasks.by_site import BY_SITE, figures_by_site
from lrmil.tasks.classification import Classification


def test_each_site_is_a_row_with_predicted_beside_observed() -> None:
    task = Classification(("no", "yes"))
    values = np.array([[0.2, 0.8], [0.4, 0.6], [0.7, 0.3]])
    sites = figures_by_site(task, [1, 1, 0], values, ["a", "b", "c"], ["South", "North", "South"])
    found = by_site({BY_SITE: {"calibrated": True, "sites": sites}}, task)
    assert [row.site for row in found.rows] == ["North", "South"] and found.calibrated
    assert found.names == ["no", "yes"] and found.rows[0].means == [(0.4, 0.0), (0.6, 1.0)]
    assert all(len(row.figures) == len(found.titles) for row in found.rows)
    assert any(reason.startswith("Not defined, North: AUROC") for reason in found.reasons)


def test_runs_without_sites_have_no_table() -> None:
    assert by_site({}, Classification(("no", "yes"))).rows == []


def test_many_classes_leave_out_their_means() -> None:
    task = Classification(tuple(f"c{n}" for n in range(MAX_MEANS + 1)))
    values = np.full((2, MAX_MEANS + 1), 1 / (MAX_MEANS + 1))
    sites = figures_by_site(task, [0, 1], values, ["a", "b"], ["North", "North"])
    found = by_site({BY_SITE: {"calibrated": False, "sites": sites}}, task)
    assert found.names == [] and found.rows[0].means == []
