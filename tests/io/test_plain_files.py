"""Files of unknown origin: a limit, no pipe that is waited for, no link where it could lead away."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lrmil.errors import FormatError
from lrmil.io.plain_files import is_plain, open_append, read_bytes, read_text, require_no_link, require_plain


def test_the_limit_is_the_largest_size(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"x" * 2048)
    assert read_bytes(path, max_bytes=2048) == b"x" * 2048 and require_plain(path) == 2048
    with pytest.raises(FormatError, match="at most 1 KiB"):
        read_bytes(path, max_bytes=2047)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no such pipes")
def test_a_pipe_and_a_folder_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        assert not is_plain(tmp_path / name)
        for reads in (read_text, open_append, require_plain, require_no_link):
            with pytest.raises(FormatError, match="not a plain file"):
                reads(tmp_path / name)  # type: ignore[operator]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_only_when_asked_for(tmp_path: Path, there: bool) -> None:
    if there:
        (tmp_path / "a").write_text("text")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    if there:
        assert read_text(tmp_path / "link") == "text"
    refuses: list[Callable[[], object]] = [
        lambda: read_text(tmp_path / "link", follow=False),
        lambda: open_append(tmp_path / "link"),
        lambda: require_no_link(tmp_path / "link"),
    ]
    for refuse in refuses:
        with pytest.raises(FormatError, match="is a link"):
            refuse()
    assert (tmp_path / "a").exists() is there


def test_text_is_utf_8_and_a_name_has_no_null(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(FormatError, match="UTF-8"):
        read_text(tmp_path / "a")
    with pytest.raises(FormatError, match="null"):
        read_bytes(tmp_path / "a\0", max_bytes=1)
    assert not is_plain(tmp_path / "a\0")


def test_what_is_appended_comes_last(tmp_path: Path) -> None:
    for part in (b"one ", b"two"):
        with open_append(tmp_path / "log") as file:
            file.write(part)
    assert read_text(tmp_path / "log") == "one two"
