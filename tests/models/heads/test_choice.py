"""The head that settings ask for."""

from lrmil.configs import MILConfig
from lrmil.models.heads.choice import make_mil


class TestMakeMil:
    def test_settings_reach_the_network(self) -> None:
        mil = make_mil(6, 4, MILConfig(gated=False, hidden_dim=9, projection_dim=5, dropout=0.5))
        assert mil.gate_branch is None and mil.tanh_branch.out_features == 9
        assert mil.classifier.in_features == 5 and mil.classifier.out_features == 4 and mil.dropout.p == 0.5

    def test_no_projection_by_default(self) -> None:
        mil = make_mil(6, 2, MILConfig())
        assert mil.classifier.in_features == 6 and mil.gate_branch is not None
