"""What files state of a head: its kind and its dimensions, and nothing else."""

import pytest

from lrmil.errors import FormatError
from lrmil.models.heads.kinds import HEADS, MAX_DIM, HeadCard, card_in, kind_in


def test_the_first_is_meant_where_none_is_stated() -> None:
    assert kind_in({}).head == HEADS[0] == card_in({"in_dim": 6, "outputs": 4}).head
    assert [kind_in({"head": name}).head for name in HEADS] == list(HEADS)
    assert card_in({"in_dim": 6, "outputs": 4}) == HeadCard(in_dim=6, outputs=4)


@pytest.mark.parametrize("name", ["transformer", "", None, 1, ["abmil"]])
def test_an_unknown_head_is_refused(name: object) -> None:
    for read in (kind_in, lambda document: card_in({"in_dim": 6, "outputs": 4, **document})):
        with pytest.raises(FormatError, match="update lrmil"):
            read({"head": name})


@pytest.mark.parametrize("dim", [0, -1, MAX_DIM + 1, 2.0, "6", True, None])
@pytest.mark.parametrize("side", ["in_dim", "outputs"])
def test_no_memory_is_claimed_for_dimensions_that_no_head_has(side: str, dim: object) -> None:
    with pytest.raises(FormatError, match="update lrmil"):
        card_in({"in_dim": 6, "outputs": 4, side: dim})


@pytest.mark.parametrize("document", [None, [], {}, {"in_dim": 6}, {"in_dim": 6, "outputs": 4, "heads": 8}])
def test_too_little_or_too_much_is_refused(document: object) -> None:
    with pytest.raises(FormatError, match="update lrmil"):
        card_in(document)
