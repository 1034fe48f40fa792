"""Files are complete or absent, also when the process is killed; hashes tell content apart."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lrmil.errors import OverwriteError
from lrmil.io.atomic import move_aside, remove, remove_leftovers, remove_ours, replacing, write_json, write_text
from lrmil.io.ownership import is_card


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def folder_of(path: Path, **content: str) -> Path:
    path.mkdir(parents=True)
    for name, text in content.items():
        (path / name).write_text(text)
    return path


class TestReplacing:
    @pytest.mark.parametrize("old", [None, "old"])
    def test_a_file_appears_when_the_block_ends(self, tmp_path: Path, old: str | None) -> None:
        path = tmp_path / "new folder" / "file.txt"
        if old:
            write_text(path, old)
        with replacing(path) as temporary:
            temporary.write_text("new")
            assert temporary.parent == path.parent, "a rename across disks is a copy"
            assert (path.read_text() if path.exists() else None) == old
        assert path.read_text() == "new" and names(path.parent) == ["file.txt"]

    @pytest.mark.parametrize("old", [None, "old"])
    def test_a_failing_block_changes_nothing(self, tmp_path: Path, old: str | None) -> None:
        path = tmp_path / "file.txt"
        if old:
            path.write_text(old)
        with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
            temporary.write_text("half of the n")
            raise ZeroDivisionError
        assert names(tmp_path) == (["file.txt"] if old else [])
        assert not old or path.read_text() == old

    def test_a_folder_takes_the_place_of_a_folder(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path / "run", a="old", b="old")
        with replacing(path) as temporary:
            folder_of(temporary / "deeper", a="new")
            assert names(path) == ["a", "b"]
        assert names(path) == ["deeper"] and (path / "deeper" / "a").read_text() == "new"
        assert names(tmp_path) == ["run"]

    def test_a_failing_block_keeps_the_old_folder(self, tmp_path: Path) -> None:
        path = folder_of(tmp_path / "run", a="old")
        with pytest.raises(KeyboardInterrupt), replacing(path) as temporary:
            folder_of(temporary, a="new")
            raise KeyboardInterrupt
        assert names(tmp_path) == ["run"] and (path / "a").read_text() == "old"

    def test_a_block_that_makes_nothing_keeps_the_old(self, tmp_path: Path) -> None:
        folder_of(tmp_path / "run", a="old")
        write_text(tmp_path / "file.txt", "old")
        for name in ("run", "file.txt"):
            with pytest.raises(FileNotFoundError), replacing(tmp_path / name):
                pass
        assert names(tmp_path) == ["file.txt", "run"] and names(tmp_path / "run") == ["a"]

    def test_content_is_on_the_disk_before_the_name(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        flushed = []

        def fsync(descriptor: int) -> None:
            os.write(descriptor, b"")  # Windows refuses to flush what is not open for writing
            flushed.append(os.fstat(descriptor).st_ino)
            assert not (tmp_path / "run").exists()

        monkeypatch.setattr(os, "fsync", fsync)
        with replacing(tmp_path / "run") as temporary:
            folder_of(temporary / "deeper", a="new", b="new")
            (temporary / "c").write_text("new")
        written = {path.stat().st_ino for path in (tmp_path / "run").rglob("*") if path.is_file()}
        assert set(flushed) == written and len(written) == 3


KILLED = """
import sys, time
from pathlib import Path
from lrmil.io.atomic import replacing
root = Path(sys.argv[1])
with replacing(root / "old.txt") as a, replacing(root / "absent.txt") as b, replacing(root / "folder") as c:
    a.write_text("half")
    b.write_text("half")
    (c / "deeper").mkdir(parents=True)
    (c / "deeper" / "a").write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


class TestKilled:
    def test_the_old_or_nothing_and_leftovers(self, tmp_path: Path) -> None:
        write_text(tmp_path / "old.txt", "old")
        folder_of(tmp_path / "folder", a="old")
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None and process.stdout.readline() == "writing\n"
            process.kill()
        assert [name for name in names(tmp_path) if not name.startswith(".")] == ["folder", "old.txt"]
        assert (tmp_path / "old.txt").read_text() == "old" and (tmp_path / "folder" / "a").read_text() == "old"
        assert len(names(tmp_path)) == 5, "three half-written things stay behind"
        remove_leftovers(tmp_path)
        assert names(tmp_path) == ["folder", "old.txt"] and names(tmp_path / "folder") == ["a"]

    USERS = (".bashrc.old", ".notes.tmp", ".a.txt.0123abcd.tmp", "data.tmp", "slide.old", ".hidden", "a.txt")
    NEARLY = (
        ".lrmil-0123456789abcde.tmp",
        ".lrmil-0123456789ABCDEF.tmp",
        ".lrmil-0123456789abcdef.tmp.txt",
        ".lrmil.tmp",
    )

    def test_only_leftovers_are_removed(self, tmp_path: Path) -> None:
        kept = [*self.USERS, *self.NEARLY]
        for name in (*kept, ".x.lrmil-0123456789abcdef.tmp"):
            (tmp_path / name).write_text("x")
        for folder in (".config.old", ".run.0123abcd.old"):
            folder_of(tmp_path / folder, a="the user's")
        folder_of(tmp_path / ".a.txt.lrmil-00000000000000ff.tmp", a="half")
        remove_leftovers(tmp_path)
        assert names(tmp_path) == sorted([*kept, ".config.old", ".run.0123abcd.old"])
        assert (tmp_path / ".config.old/a").read_text() == "the user's"
        remove_leftovers(tmp_path / "absent")

    @pytest.mark.parametrize("there", [False, True])
    def test_a_folder_that_was_moved_away_comes_back(self, tmp_path: Path, there: bool) -> None:
        """Killed between the two renames, or after both."""
        folder_of(tmp_path / ".model.lrmil-0123456789abcdef.old/model", a="old")
        if there:
            folder_of(tmp_path / "model", a="new")
        remove_leftovers(tmp_path)
        assert names(tmp_path) == ["model"] and (tmp_path / "model/a").read_text() == ("new" if there else "old")


class TestOurs:
    """What is there is replaced only when it is said to be ours."""

    def test_what_is_not_ours_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("the user's")
        for write in (
            lambda: write_text(path, "new", lambda _: False),
            lambda: write_json(path, 1, lambda _: False),
        ):
            with pytest.raises(OverwriteError, match=r"did not write the file 'a\.txt' .* Move or rename"):
                write()
        assert names(tmp_path) == ["a.txt"] and path.read_text() == "the user's"
        write_text(path, "the user's", lambda _: False)  # nothing would change
        remove_ours(path, lambda _: False)
        assert path.read_text() == "the user's"
        write_text(path, "new", lambda _: True)
        remove_ours(path, lambda _: True)
        assert names(tmp_path) == []

    def test_what_is_put_there_meanwhile_stays(self, tmp_path: Path) -> None:
        with pytest.raises(OverwriteError), replacing(tmp_path / "a.txt", lambda _: False) as temporary:
            temporary.write_text("ours")
            (tmp_path / "a.txt").write_text("the user's")
        assert names(tmp_path) == ["a.txt"] and (tmp_path / "a.txt").read_text() == "the user's"

    def test_an_empty_folder_is_in_nobodys_way(self, tmp_path: Path) -> None:
        (tmp_path / "model").mkdir()
        with replacing(tmp_path / "model", lambda _: False) as temporary:
            folder_of(temporary, a="new")
        assert names(tmp_path) == ["model"] and names(tmp_path / "model") == ["a"]

    def test_links_are_never_ours(self, tmp_path: Path) -> None:
        (tmp_path / "target.json").write_text('{"format": "lrmil.prediction/2"}')
        (tmp_path / "a.json").symlink_to(tmp_path / "target.json")
        (tmp_path / "b.json").symlink_to(tmp_path / "nowhere")
        for name in ("a.json", "b.json"):
            with pytest.raises(OverwriteError, match=f"the link '{name}'"):
                write_json(tmp_path / name, {}, is_card)
        assert names(tmp_path) == ["a.json", "b.json", "target.json"]

    def test_put_aside_takes_the_first_free_number(self, tmp_path: Path) -> None:
        for number in (1, 2):
            (tmp_path / "x.1.csv").write_text(str(number))
            assert move_aside(tmp_path / "x.1.csv").name == f"x.1-{number}.csv"
        assert names(tmp_path) == ["x.1-1.csv", "x.1-2.csv"]


class TestRemove:
    def test_files_folders_links_and_nothing(self, tmp_path: Path) -> None:
        folder, file = folder_of(tmp_path / "folder", a="x"), tmp_path / "file"
        file.write_text("x")
        link = tmp_path / "link"
        link.symlink_to(folder_of(tmp_path / "elsewhere", a="x"))
        for path in (folder, file, link, tmp_path / "absent"):
            remove(path)
        assert names(tmp_path) == ["elsewhere"] and names(tmp_path / "elsewhere") == ["a"]


class TestDocuments:
    def test_text_is_utf8_with_its_own_line_ends(self, tmp_path: Path) -> None:
        write_text(tmp_path / "a.txt", "µm\nñ")
        assert (tmp_path / "a.txt").read_bytes() == "µm\nñ".encode()

    def test_json(self, tmp_path: Path) -> None:
        write_json(tmp_path / "a.json", {"b": [1, None], "µ": 0.5})
        assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"b": [1, None], "µ": 0.5}

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}])
    def test_what_json_has_not_is_refused_and_the_old_stays(self, tmp_path: Path, value: object) -> None:
        write_json(tmp_path / "a.json", 1)
        with pytest.raises((ValueError, TypeError)):
            write_json(tmp_path / "a.json", {"x": value})
        assert (tmp_path / "a.json").read_text() == "1\n" and names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [errno.ENOENT, errno.ENOTEMPTY])
def test_leftovers_that_a_process_still_writes_or_removes_are_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    (tmp_path / f".a.lrmil-{'0' * 16}.tmp").mkdir()

    def fail(path: Path) -> None:
        raise OSError(error, "at work", str(path))

    monkeypatch.setattr(shutil, "rmtree", fail)
    remove_leftovers(tmp_path)
