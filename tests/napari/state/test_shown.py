"""Where the answer of a slide is kept: one folder for each file, whatever its name and the way to it."""

from pathlib import Path

from napari_lrmil.state.answers import case_folder


def test_slides_of_one_name_have_folders_of_their_own(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.svs").touch()
    found = {case_folder(tmp_path / "results", "a", tmp_path / name / "a.svs") for name in ("one", "two")}
    assert len(found) == 2 and all(one.parent == tmp_path / "results" and one.name.startswith("a-") for one in found)


def test_a_link_to_a_slide_leads_to_its_folder(tmp_path: Path) -> None:
    (tmp_path / "a.svs").touch()
    (tmp_path / "linked").symlink_to(tmp_path)
    assert case_folder(tmp_path, "a", tmp_path / "linked/a.svs") == case_folder(tmp_path, "a", tmp_path / "a.svs")


def test_a_link_in_a_circle_has_a_folder_too(tmp_path: Path) -> None:
    (tmp_path / "a.svs").symlink_to(tmp_path / "b.svs")
    (tmp_path / "b.svs").symlink_to(tmp_path / "a.svs")
    assert case_folder(tmp_path, "a", tmp_path / "a.svs").name.startswith("a-")
