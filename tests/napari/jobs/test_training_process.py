"""The last words of a training that ended."""

from pathlib import Path

from napari_lrmil.jobs import training_process
from napari_lrmil.jobs.training_process import last_words


def test_words_of_a_log_that_are_shown(tmp_path: Path) -> None:
    assert last_words(tmp_path) == ""
    for printed, shown in (
        ("", ""),
        ("Traceback (most recent call last):\n  File x\nValueError: no\n", "ValueError: no"),
        ("a warning\nlrmil train: Expected a. Got b;\n  row 2: c\n", "Expected a. Got b;\n  row 2: c"),
        ("x" * 5000, "x" * training_process.LONGEST),
    ):
        (tmp_path / "train.log").write_text(printed)
        assert last_words(tmp_path) == shown
