"""Pages escape what they show, and a template that lacks a value fails instead of leaving a gap."""

import jinja2
import pytest

from lrmil.reports.page import environment


def test_values_are_escaped() -> None:
    assert environment().from_string("{{ name }}").render(name="<script>&") == "&lt;script&gt;&amp;"


@pytest.mark.parametrize("template", ["{{ missing }}", "{{ given.missing }}", "{% if missing %}x{% endif %}"])
def test_a_missing_value_raises(template: str) -> None:
    with pytest.raises(jinja2.UndefinedError):
        environment().from_string(template).render(given={})


@pytest.mark.parametrize("name", ["case.html", "report.html"])
def test_the_templates_of_the_package_are_found(name: str) -> None:
    assert name in environment().list_templates()


def test_two_pages_share_no_filters() -> None:
    environment().filters["figure"] = str
    assert "figure" not in environment().filters
