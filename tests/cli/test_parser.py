"""Every command is in one group, listed with its summary, and leads to its function."""

import argparse
import pkgutil

import pytest

from lrmil.cli import commands
from lrmil.cli.parser import GROUPS, build_parser, name_of


def test_every_file_of_commands_is_in_one_group() -> None:
    grouped = [module.__name__.rpartition(".")[2] for group in GROUPS.values() for module in group]
    assert sorted(grouped) == sorted(module.name for module in pkgutil.iter_modules(commands.__path__))


def test_help_lists_each_with_its_summary() -> None:
    text = build_parser().format_help()
    for name, group in GROUPS.items():
        assert f"\n{name}:\n" in text
        for module in group:
            assert f"  {name_of(module)} " in text and module.SUMMARY in text and not module.SUMMARY.endswith(".")


def test_each_has_a_function_an_example_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    parser = build_parser()
    actions = next(one for one in parser._actions if isinstance(one, argparse._SubParsersAction))
    for group in GROUPS.values():
        for module in group:
            name = name_of(module)
            assert actions.choices[name].get_default("run") is module.run
            with pytest.raises(SystemExit) as ended:
                parser.parse_args([name, "--help"])
            assert ended.value.code == 0 and f"Example: lrmil {name}" in capsys.readouterr().out
