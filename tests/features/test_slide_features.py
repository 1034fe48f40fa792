"""How much of a slide may be unreadable before its features are refused."""

import pytest

from lrmil.errors import SlideError, TissueError
from lrmil.features.slide_features import require_readable, unreadable_note


def test_the_limit_of_failures_is_inclusive() -> None:
    require_readable(2, 10, 0.2)
    with pytest.raises(SlideError, match="Got 3 of 10"):
        require_readable(3, 10, 0.2)
    with pytest.raises(TissueError):
        require_readable(0, 0, 0.2)


def test_a_note_states_number_and_share_and_is_none_where_nothing_is_missing() -> None:
    assert unreadable_note(0, 10) == ()
    for failed, total, share in ((1, 4, "25 %"), (1, 1000, "less than 1 %"), (10, 1000, "1 %"), (4, 4, "100 %")):
        (note,) = unreadable_note(failed, total)
        assert note.startswith(f"{failed} of {total} patches ({share})")


def test_the_notes_on_tissue_go_with_the_error() -> None:
    with pytest.raises(TissueError, match="glass 100"):
        require_readable(0, 0, 0.2, ["glass 100.0 %"])
