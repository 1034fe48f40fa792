"""What is printed: numbers and truths in words, exit codes, and no sign that a terminal would obey."""

import json

import pytest

from lrmil.cli.printing import UNKNOWN, exit_code, figure, print_facts, print_json, word


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "not defined"),
        (0.5, "0.500"),
        ([0.25, 1.0], "0.250 - 1.000"),
        (3, "3"),
        ((None, 0.1), "not defined - 0.100"),
        ({"auroc": 0.5, "ece": None}, "auroc 0.500, ece not defined"),
    ],
)
def test_figures(value: object, shown: str) -> None:
    assert figure(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [(True, "yes"), (False, "no"), ({"a": 1}, "a=1"), ({}, "none"), (["a", 2], "a, 2"), (None, UNKNOWN), (0.1, "0.1")],
)
def test_words(value: object, shown: str) -> None:
    assert word(value) == shown


def test_the_exit_code_tells_whether_all_that_was_asked_for_is_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert [exit_code(failed, total) for failed, total in ((0, 3), (1, 3), (0, 0))] == [0, 1, 1]
    assert "1 of 3 failed" in capsys.readouterr().err


def test_a_name_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    print_facts({"path": "a\x1b[2Jb.svs", "levels": [[20, 10, 1.0], [5, 2, 4.0]]})
    out = capsys.readouterr().out
    assert "\x1b" not in out and "20 x 10 (1/1), 5 x 2 (1/4)" in out


def test_a_program_reads_what_is_printed_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"name": "Müller", "values": [1, None]})
    out = capsys.readouterr().out
    assert json.loads(out) == {"name": "Müller", "values": [1, None]} and "Müller" in out


def test_a_long_path_is_one_line_however_narrow_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    path = "/a folder/" + "x" * 100
    print_facts({"path": path, "mpp": 0.5})
    assert capsys.readouterr().out.splitlines() == [path, "  mpp: 0.500"]
