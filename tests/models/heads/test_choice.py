"""The head that settings ask for, and what files state of it."""

import pytest

from lrmil.configs import MILConfig
from lrmil.errors import FormatError
from lrmil.models.heads.choice import HEADS, MAX_DIM, HeadCard, card_in, head_in, make_mil


class TestMakeMil:
    def test_settings_reach_the_network(self) -> None:
        mil = make_mil(6, 4, MILConfig(gated=False, hidden_dim=9, projection_dim=5, dropout=0.5))
        assert mil.gate_branch is None and mil.tanh_branch.out_features == 9
        assert mil.classifier.in_features == 5 and mil.classifier.out_features == 4 and mil.dropout.p == 0.5

    def test_no_projection_by_default(self) -> None:
        mil = make_mil(6, 2, MILConfig())
        assert mil.classifier.in_features == 6 and mil.gate_branch is not None


class TestHeadInFiles:
    def test_the_first_is_meant_where_none_is_stated(self) -> None:
        assert head_in({}) == HEADS[0] == card_in({"in_dim": 6, "outputs": 4}).head
        assert [head_in({"head": name}) for name in HEADS] == list(HEADS)
        assert card_in({"in_dim": 6, "outputs": 4}) == HeadCard(in_dim=6, outputs=4)

    @pytest.mark.parametrize("name", ["transformer", "", None, 1, ["abmil"]])
    def test_an_unknown_head_is_refused(self, name: object) -> None:
        for read in (head_in, lambda document: card_in({"in_dim": 6, "outputs": 4, **document})):
            with pytest.raises(FormatError, match="update lrmil"):
                read({"head": name})

    @pytest.mark.parametrize("dim", [0, -1, MAX_DIM + 1, 2.0, "6", True, None])
    @pytest.mark.parametrize("side", ["in_dim", "outputs"])
    def test_no_memory_is_claimed_for_dimensions_that_no_head_has(self, side: str, dim: object) -> None:
        with pytest.raises(FormatError, match="update lrmil"):
            card_in({"in_dim": 6, "outputs": 4, side: dim})

    @pytest.mark.parametrize("document", [None, [], {}, {"in_dim": 6}, {"in_dim": 6, "outputs": 4, "heads": 8}])
    def test_too_little_or_too_much_is_refused(self, document: object) -> None:
        with pytest.raises(FormatError, match="update lrmil"):
            card_in(document)
