"""An error's sentence can be printed, stored and shown, whatever stood in the file that it quotes."""

import pytest

from lrmil.errors import CohortError, FormatError, LrmilError, SlideError


@pytest.mark.parametrize("kind", [LrmilError, SlideError, FormatError])
def test_what_a_terminal_would_obey_is_spelled_out(kind: type[LrmilError]) -> None:
    error = kind("Expected a slide. Got \x1b[2J\r\n\0 \u202egpj\u2066 \udcff; ü and µ stay.")
    assert str(error) == r"Expected a slide. Got \x1b[2J\r\n\x00 \u202egpj\u2066 \udcff; ü and µ stay."
    assert str(error).encode()


def test_a_sentence_has_an_end() -> None:
    assert len(str(FormatError("x" * 1_000_000))) < 5_000


def test_the_problems_of_a_cohort_keep_their_lines() -> None:
    assert str(CohortError("Expected a table.\nrow 1: \x1b\nrow 2")) == "Expected a table.\nrow 1: \\x1b\nrow 2"
