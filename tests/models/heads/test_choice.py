"""The head that settings ask for, and what files state of it."""

from typing import get_args

import pytest
import torch

from lrmil.configs import MILConfig, TrainConfig, with_settings
from lrmil.errors import ConfigError
from lrmil.models.heads.choice import kind_of, make_mil, make_stated
from lrmil.models.heads.kinds import HEADS, HeadName, card_in, kind_in


class TestMakeMil:
    def test_settings_reach_the_network(self) -> None:
        mil = make_mil(6, 4, MILConfig(gated=False, hidden_dim=9, projection_dim=5, dropout=0.5))
        assert mil.gate_branch is None and mil.tanh_branch.out_features == 9
        assert mil.classifier.in_features == 5 and mil.classifier.out_features == 4 and mil.dropout.p == 0.5

    def test_no_projection_by_default(self) -> None:
        mil = make_mil(6, 2, MILConfig())
        assert mil.classifier.in_features == 6 and mil.gate_branch is not None

    @pytest.mark.parametrize("name", HEADS)
    def test_the_head_is_the_one_of_that_name(self, name: HeadName) -> None:
        mil = make_mil(6, 4, MILConfig(head=name, projection_dim=5, dropout=0.25))
        assert (mil.name, mil.in_dim, mil.outputs) == (name, 6, 4)
        drops = [part.p for part in mil.modules() if isinstance(part, torch.nn.Dropout)]
        assert drops == [0.25] and not hasattr(mil, "members")
        assert any(isinstance(part, torch.nn.Linear) and part.out_features == 5 for part in mil.modules())

    @pytest.mark.parametrize("name", ["dsmil", "clam_sb"])
    def test_the_hidden_dimension_reaches_attention(self, name: HeadName) -> None:
        mil = make_mil(6, 4, MILConfig(head=name, hidden_dim=9))
        assert any(isinstance(part, torch.nn.Linear) and part.out_features == 9 for part in mil.modules())

    def test_plain_attention_in_clam(self) -> None:
        assert make_mil(6, 4, MILConfig(head="clam_sb", gated=False)).bags.gate_branch is None


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("name", HEADS)
def test_what_a_file_states_builds_the_same_head(name: HeadName, seeds: int) -> None:
    mil = make_mil(6, 4, MILConfig(head=name, projection_dim=5), seeds=seeds)
    card = card_in({**kind_of(mil), "in_dim": mil.in_dim, "outputs": mil.outputs})
    again = make_stated(card.in_dim, card.outputs, MILConfig(projection_dim=5), card)
    assert type(again) is type(mil)
    assert {n: v.shape for n, v in again.state_dict().items()} == {n: v.shape for n, v in mil.state_dict().items()}


@pytest.mark.parametrize("name", ["ensemble", "Mean", "", 3])
def test_an_unknown_head_is_refused_with_those_there_are(name: object) -> None:
    with pytest.raises(ConfigError, match=r"mil\.head") as caught:
        with_settings(TrainConfig(), {"mil.head": name})
    assert all(known in str(caught.value) for known in get_args(HeadName))


@pytest.mark.parametrize("seeds", [1, 3])
def test_no_network_is_made_of_a_head_that_is_to_be_chosen(seeds: int) -> None:
    config = with_settings(TrainConfig(), {"mil.head": "auto"}).mil
    with pytest.raises(ConfigError, match="auto"):
        make_mil(6, 4, config, seeds=seeds)
    assert make_stated(6, 4, config, kind_in({"head": "mean"})).name == "mean"
