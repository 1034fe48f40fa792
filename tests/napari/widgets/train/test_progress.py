"""Progress of a training in words."""

from napari_lrmil.widgets.train.progress import duration


def test_times_are_told_in_words() -> None:
    assert [duration(seconds) for seconds in (3, 89, 95, 3600, 7000, 90000)] == [
        "3 s",
        "89 s",
        "2 min",
        "60 min",
        "1 h 57 min",
        "25 h 0 min",
    ]
