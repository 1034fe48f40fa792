"""What all readers share: rectangles inside a level, and images that are named as no scan."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.slides.readers.protocol import Level, is_associated, require_inside, scene_note

LEVELS = (Level((20, 30), 1.0, (8, 8)), Level((10, 15), 2.0, (8, 8)))


@given(st.integers(-5, 25), st.integers(-5, 35), st.integers(-2, 25), st.integers(-2, 35), st.integers(0, 1))
def test_a_rectangle_is_inside_or_refused(y: int, x: int, h: int, w: int, level: int) -> None:
    height, width = LEVELS[level].shape
    rows, columns = range(y, y + h), range(x, x + w)
    inside = (
        len(rows) > 0 and len(columns) > 0 and set(rows) <= set(range(height)) and set(columns) <= set(range(width))
    )
    if inside:
        require_inside(LEVELS, level, y, x, h, w)
    else:
        with pytest.raises(ValueError, match=f"inside level {level} "):
            require_inside(LEVELS, level, y, x, h, w)


@pytest.mark.parametrize("name", ["label", "Macro image", "slide_label", "MacroPhoto", "thumbnail", "overview preview"])
def test_names_of_pictures_beside_a_scan(name: str) -> None:
    assert is_associated(name)


@pytest.mark.parametrize("name", ["", "Scan 1", "labelled cells", "macrophages", "tissue"])
def test_names_of_scans(name: str) -> None:
    assert not is_associated(name)


def test_only_a_choice_is_worth_a_note() -> None:
    assert scene_note(1, 1) == ()
    (note,) = scene_note(2, 3)
    assert "scene 2 of 3" in note
