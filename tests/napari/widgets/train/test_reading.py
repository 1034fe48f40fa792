"""Problems of a table name the fields of the form, not the options of the command line."""

import argparse
from typing import TYPE_CHECKING

from lrmil.cli.parser import build_parser
from napari_lrmil.widgets.train.reading import FIELDS, IN_THE_FORM, SKIP_MISSING, ReadingBox, with_names_of_fields

if TYPE_CHECKING:
    from pytestqt.qtbot import QtBot


def test_every_option_of_reading_a_table_has_its_field(qtbot: "QtBot") -> None:
    box = ReadingBox()
    qtbot.addWidget(box)
    assert box.skip_missing.text() == SKIP_MISSING and SKIP_MISSING in IN_THE_FORM["--skip-missing"]
    for name, (title, _, _) in FIELDS.items():
        assert f"'{title}'" in IN_THE_FORM["--" + name.replace("_", "-")]


def test_only_options_of_the_command_line_are_replaced() -> None:
    commands = next(one for one in build_parser()._actions if isinstance(one, argparse._SubParsersAction))
    known = commands.choices["train"]._option_string_actions
    assert set(IN_THE_FORM) <= set(known)
    for option in IN_THE_FORM:
        assert "--" not in with_names_of_fields(f"Choose it with {option}.")
