"""Which file of a folder is the mask of a slide."""

from pathlib import Path

import pytest

from lrmil.errors import ConfigError
from lrmil.patches.masks import find_masks
from lrmil.slides.source import SlideSource


class TestFinding:
    SOURCE = SlideSource("a", Path("slides/a.svs"))

    @pytest.mark.parametrize(
        "name",
        [
            "a.geojson",
            "a.svs.geojson",
            "a.geojson.gz",
            "a_mask_use.png",
            "a.svs_mask_use.png",
            "a.svs/a.svs_mask_use.png",
            "contours_geojson/a.geojson",
            "a.tissue.ome.zarr",
        ],
    )
    def test_by_the_names_of_every_tool(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.mkdir() if name.endswith(".zarr") else path.write_text("")
        assert find_masks(tmp_path, [self.SOURCE, SlideSource("b", Path("b.svs"))]) == {"a": path}

    def test_an_edited_mask_counts_before_the_map_beside_it(self, tmp_path: Path) -> None:
        (tmp_path / "a.geojson").write_text("")
        (tmp_path / "a.tissue.ome.zarr").mkdir()
        assert find_masks(tmp_path, [self.SOURCE]) == {"a": tmp_path / "a.tissue.ome.zarr"}

    def test_one_file_is_of_one_slide(self, tmp_path: Path) -> None:
        path = tmp_path / "whatever.json"
        path.write_text("")
        assert find_masks(path, [self.SOURCE]) == {"a": path}
        with pytest.raises(ConfigError, match=r"whatever\.json"):
            find_masks(path, [self.SOURCE, SlideSource("b", Path("b.svs"))])

    def test_a_folder_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"masks at .*masks"):
            find_masks(tmp_path / "masks", [self.SOURCE])

    def test_none_or_two(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"a\.tissue\.ome\.zarr"):
            find_masks(tmp_path, [self.SOURCE])
        for name in ("a.geojson", "a_mask_use.png"):
            (tmp_path / name).write_text("")
        with pytest.raises(ConfigError, match=r"a\.geojson and a_mask_use\.png"):
            find_masks(tmp_path, [self.SOURCE])
