"""Which files count as slides: nothing that is named like one is passed over without a word."""

from pathlib import Path

from lrmil.slide_files import find_slides


def test_what_is_named_like_a_slide_and_is_none_is_listed(tmp_path: Path) -> None:
    (tmp_path / "empty.svs").mkdir()
    (tmp_path / "notes.svs").mkdir()
    (tmp_path / "notes.svs/readme.txt").touch()
    (tmp_path / "link.svs").symlink_to(tmp_path / "unmounted/slide.svs")
    (tmp_path / "loop.svs").symlink_to(tmp_path / "loop.svs")
    assert [path.name for path in find_slides(tmp_path)] == ["empty.svs", "link.svs", "loop.svs", "notes.svs"]


def test_a_folder_that_is_named_like_the_slide_in_it_is_only_a_folder(tmp_path: Path) -> None:
    (tmp_path / "a.svs/deeper").mkdir(parents=True)
    (tmp_path / "a.svs/deeper/a.svs").touch()
    assert find_slides(tmp_path) == [tmp_path / "a.svs/deeper/a.svs"]


def test_hidden_names_stay_hidden(tmp_path: Path) -> None:
    (tmp_path / "._a.svs").symlink_to(tmp_path / "nowhere")
    (tmp_path / ".b.svs").mkdir()
    assert find_slides(tmp_path) == []
