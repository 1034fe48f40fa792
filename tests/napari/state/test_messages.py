"""One sentence with a remedy in the window, the traceback in the log file."""

from pathlib import Path

import pytest

from lrmil.errors import SlideError, TissueError
from lrmil.slides.failures import MORE_TISSUE, OWN_MASK
from napari_lrmil.state import folders
from napari_lrmil.state.messages import explain, explain_slide


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001
        return caught


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (SlideError("Expected tissue on the slide. Got none."), "Expected tissue on the slide. Got none."),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), "choose the CPU"),
        (RuntimeError("MPS backend out of memory"), "choose the CPU"),
        (MemoryError(), "ran out of memory"),
        (OSError(28, "No space left on device"), "has room"),
        (KeyError("x"), "Something unexpected went wrong (KeyError"),
    ],
)
def test_a_sentence_says_what_to_do(error: Exception, words: str) -> None:
    sentence = explain(raised(error))
    assert words in sentence and "\n" not in sentence and "Traceback" not in sentence


def test_the_traceback_is_in_the_log(own_folders: Path) -> None:
    explain(raised(RuntimeError("first")))
    explain(raised(KeyError("second")))
    log = folders.log_file().read_text(encoding="utf-8")
    assert own_folders in folders.log_file().parents
    assert log.count("Traceback (most recent call last)") == 2
    assert "RuntimeError: first" in log and "test_messages" in log


def test_a_log_that_cannot_be_written_hides_no_message(own_folders: Path) -> None:
    own_folders.mkdir(parents=True, exist_ok=True)
    (own_folders / "log").write_text("a file where the folder should be")
    assert "has room" in explain(raised(OSError("full")))


def test_a_remedy_that_a_window_does_not_have_is_reworded() -> None:
    error = TissueError(f"The slide has no tissue. {MORE_TISSUE} No glass was found. Check it, or {OWN_MASK}.")
    for sentence in (explain(error), explain_slide(error, Path("a.svs"))):
        assert "Find tissue" in sentence and "paint a mask" in sentence
        assert "min_tissue" not in sentence and OWN_MASK not in sentence
