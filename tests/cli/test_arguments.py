"""Options that commands share: what they accept, and that each is spelled the same everywhere."""

import argparse

import pytest

from lrmil.cli.arguments import add_mpp, count, count_or_none, probability
from lrmil.cli.parser import build_parser


@pytest.mark.parametrize("text", ["0", "-1", "1.5", "many"])
def test_a_count_is_whole_and_above_0(text: str) -> None:
    assert count("3") == 3
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        count(text)


def test_a_count_may_be_0_where_0_has_a_meaning() -> None:
    assert count_or_none("0") == 0 and count_or_none("3") == 3
    with pytest.raises(argparse.ArgumentTypeError):
        count_or_none("-1")


@pytest.mark.parametrize("text", ["-0.1", "1.1", "nan", "half"])
def test_a_probability_is_from_0_to_1(text: str) -> None:
    assert probability("0") == 0 and probability("1") == 1
    with pytest.raises((argparse.ArgumentTypeError, ValueError)):
        probability(text)


def test_a_resolution_is_given_in_one_way(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    add_mpp(parser)
    assert parser.parse_args(["--mpp", "40x", "--use-objective-power"]).mpp == "40x"
    with pytest.raises(SystemExit):
        parser.parse_args(["--mpp", "40x", "--mpp-table", "a.csv"])
    assert "not allowed with" in capsys.readouterr().err


def test_an_option_of_several_commands_is_read_alike() -> None:
    actions = next(one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    kinds: dict[str, set[object]] = {}
    for parser in actions.choices.values():
        for action in parser._actions:
            for name in action.option_strings:
                if name.startswith("--") and name != "--out":
                    kinds.setdefault(name, set()).add((type(action), action.type))
    assert {name: kind for name, kind in kinds.items() if len(kind) > 1} == {}
