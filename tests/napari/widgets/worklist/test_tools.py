"""Names in the worklist."""

from napari_lrmil.widgets.worklist.tools import shortened


def test_long_names_do_not_widen_the_dock() -> None:
    assert shortened("slides") == "slides"
    assert shortened("x" * 40 + "end") == "…" + "x" * 24 + "end"
