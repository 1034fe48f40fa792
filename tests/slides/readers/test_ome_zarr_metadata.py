"""What an OME-Zarr says of itself: scale, unit, scenes, colours; and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.errors import ResolutionError, SlideError
from lrmil.slides.discovery import find_slides
from lrmil.slides.opening import open_slide
from support.slides import coordinate_pixels, write_ome_zarr_slide

PIXELS = coordinate_pixels(300, 410)


def described(path: Path) -> tuple[Path, dict[str, object]]:
    """Find the file that holds an OME-Zarr's attributes, and what OME says in it."""
    file = next(one for one in (path / "zarr.json", path / ".zattrs") if one.is_file())
    return file, json.loads(file.read_text())


def edit(path: Path, **changes: object) -> None:
    """Change what OME says of a picture: whole entries, or (by `multiscale`) those of its multiscale."""
    file, document = described(path)
    ome = document["attributes"]["ome"] if file.name == "zarr.json" else document  # type: ignore[index]
    ome["multiscales"][0].update(changes.pop("multiscale", {}))
    ome.update(changes)
    file.write_text(json.dumps(document))


class TestDescription:
    @pytest.mark.parametrize(
        ("scale", "unit"), [(0.5, "micrometer"), (500.0, "nanometer"), (5e-4, "millimeter"), (5e-7, "metre")]
    )
    def test_scale_in_any_unit(self, tmp_path: Path, scale: float, unit: str) -> None:
        with open_slide(write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, scale, unit=unit)) as slide:
            assert slide.mpp == pytest.approx(0.5)

    def test_a_scale_of_the_whole_multiplies_that_of_the_level(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, 0.25)
        edit(path, multiscale={"coordinateTransformations": [{"type": "scale", "scale": [1, 2, 2]}]})
        with open_slide(path) as slide:
            assert slide.mpp == 0.5

    @pytest.mark.parametrize("unit", ["um", "micron", "µm", "Âµm", "?m"])
    def test_units_as_written_in_the_wild(self, tmp_path: Path, unit: str) -> None:
        with open_slide(write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, unit=unit)) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.5, "OME-Zarr scale")

    @pytest.mark.parametrize(
        ("scale", "unit", "message"),
        [
            (0.5, None, "OME-Zarr scale says 0.5 without a unit"),
            (0.5, "parsec", "OME-Zarr scale says 0.5 'parsec', which is not a known unit"),
            (0.5, "pixel", "OME-Zarr scale says 0.5 'pixel', which is not a length"),
            (1.0, None, "um/px of the slide is unknown"),
        ],
    )
    def test_a_scale_without_a_length_is_told(
        self, tmp_path: Path, scale: float, unit: str | None, message: str
    ) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, scale, unit=unit)
        with open_slide(path) as slide, pytest.raises(ResolutionError, match=message):
            _ = slide.mpp
        with open_slide(path, 0.4) as slide:
            assert (slide.mpp, slide.mpp_source) == (0.4, "override")

    @pytest.mark.parametrize(
        ("scale", "message"), [([1, 50, 50], r"50 um \(OME-Zarr scale\)"), ([1, 0.5, 0.6], "square")]
    )
    def test_an_implausible_scale_is_refused(self, tmp_path: Path, scale: list[float], message: str) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, 1.0)
        edit(path, multiscale={"coordinateTransformations": [{"type": "scale", "scale": scale}]})
        with open_slide(path) as slide, pytest.raises(ResolutionError, match=message):
            _ = slide.mpp

    def test_a_level_that_lies_elsewhere_is_left_out_and_said(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, factors=(2, 4))
        _, document = described(path)
        datasets = document["multiscales"][0]["datasets"]  # type: ignore[index]
        datasets[1]["coordinateTransformations"].append({"type": "translation", "translation": [0, 0.25, 0.25]})
        datasets[2]["coordinateTransformations"].append({"type": "translation", "translation": [0, 9, 0]})
        edit(path, multiscale={"datasets": datasets})
        with open_slide(path) as slide:
            assert [level.downsample for level in slide.levels] == [1, 2]
            assert slide.notes == (
                "1 of 3 levels are skipped: judged by their scale, they do not match the first level.",
            )

    def test_the_largest_scene_is_read_and_said(self, tmp_path: Path) -> None:
        root = tmp_path / "a.zarr"
        zarr.create_group(root, zarr_format=2, attributes={"bioformats2raw.layout": 3})
        write_ome_zarr_slide(root / "0", PIXELS[:100, :100], name="one")
        write_ome_zarr_slide(root / "1", PIXELS, name="two")
        write_ome_zarr_slide(root / "2", PIXELS[:200, :200], name="macro image")
        with open_slide(root) as slide:
            assert slide.dimensions == (410, 300)
            assert slide.notes == ("The file has 2 scenes. Only the largest is read: scene 2 of 2.",)
        assert find_slides(tmp_path) == [root]

    @pytest.mark.parametrize("name", ["x.svs [macro image]", "label image"])
    def test_names_that_are_kept_beside_the_series_count(self, tmp_path: Path, name: str) -> None:
        root = tmp_path / "a.zarr"
        zarr.create_group(root, zarr_format=2, attributes={"bioformats2raw.layout": 3})
        write_ome_zarr_slide(root / "0", PIXELS[:100, :100])
        write_ome_zarr_slide(root / "1", PIXELS)
        images = "".join(f'<Image Name="{one}"><Pixels/></Image>' for one in ("x.svs", name))
        (root / "OME").mkdir()
        (root / "OME/METADATA.ome.xml").write_text(f"<OME>{images}</OME>")
        with open_slide(root) as slide:
            assert slide.dimensions == (100, 100) and slide.notes == ()

    def test_without_a_name_the_one_that_was_measured_is_the_scan(self, tmp_path: Path) -> None:
        root = tmp_path / "a.zarr"
        zarr.create_group(root, zarr_format=2, attributes={"bioformats2raw.layout": 3})
        write_ome_zarr_slide(root / "0", PIXELS, 1.0, unit=None)
        write_ome_zarr_slide(root / "1", PIXELS[:100, :100])
        with open_slide(root) as slide:
            assert slide.dimensions == (100, 100) and slide.mpp == 0.5

    @pytest.mark.parametrize(
        ("colours", "message"), [(["0000FF", "00FF00", "FF0000"], "DAPI, b, c"), (["FF0000", "00FF00", "0000FF"], "")]
    )
    def test_three_channels_of_fluorescence_are_refused(self, tmp_path: Path, colours: list[str], message: str) -> None:
        channels = [{"label": name, "color": colour} for name, colour in zip(("DAPI", "b", "c"), colours, strict=True)]
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, attributes={"omero": {"channels": channels}})
        if not message:
            open_slide(path).close()
            return
        with pytest.raises(SlideError, match=f"8-bit RGB brightfield.*{message}"):
            open_slide(path)

    @pytest.mark.parametrize(
        "pixels",
        [PIXELS[..., :1], np.dstack([PIXELS, PIXELS[..., :1]]), PIXELS.astype(np.uint16), PIXELS.astype(np.float32)],
        ids=["grey", "four channels", "16 bit", "float"],
    )
    def test_what_is_not_8_bit_rgb_is_refused(self, tmp_path: Path, pixels: np.ndarray) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", pixels, factors=())
        with pytest.raises(SlideError, match="8-bit RGB brightfield"):
            open_slide(path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"multiscale": {"version": "0.3"}}, "0.4 or 0.5"),
            ({"multiscale": {"axes": [{"name": "q"}]}}, "axes are q"),
            ({"multiscale": {"datasets": []}}, "is not valid"),
            ({"multiscale": {"datasets": [{"path": "../../etc"}]}}, "leads out of the folder"),
            ({"multiscale": {"datasets": [{"path": "9"}]}}, "is not valid"),
            ({"plate": {}}, "multi-well plate"),
            ({"multiscales": []}, "describes no image"),
            ({"multiscales": 7}, "is not valid"),
        ],
    )
    def test_other_descriptions_are_refused_with_a_sentence(
        self, tmp_path: Path, changes: dict[str, object], message: str
    ) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS)
        edit(path, **changes)
        with pytest.raises(SlideError, match=message):
            open_slide(path)

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"compressor": {"id": "pickle"}}, "not supported: pickle"),
            ({"filters": [{"id": "delta"}]}, "not supported"),
            ({"chunks": [3, 100_000, 100_000]}, "smaller chunks"),
            ({"chunks": [3, 0, 5]}, "in chunks of"),
            ({"shape": [3, -1, 5]}, "its shape is"),
            ({"shape": [300, 410]}, "2 axes, 3 are described|in chunks of"),
        ],
    )
    def test_arrays_are_checked_before_zarr_sees_them(
        self, tmp_path: Path, changes: dict[str, object], message: str
    ) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS)
        file = path / "0/.zarray"
        file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))
        with pytest.raises(SlideError, match=message):
            open_slide(path)

    @settings(max_examples=60, deadline=None)
    @given(st.data())
    def test_a_changed_description_reads_or_is_refused(
        self, tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
    ) -> None:
        version = data.draw(st.sampled_from(["0.4", "0.5"]))
        path = tmp_path_factory.mktemp("zarr") / "a.zarr"
        write_ome_zarr_slide(path, PIXELS[:70, :70], version=version, factors=(2,))
        file = data.draw(st.sampled_from(sorted(path.rglob("*.json" if version == "0.5" else ".z*"))))
        text = file.read_text()
        start = data.draw(st.integers(0, len(text) - 1))
        other = data.draw(st.sampled_from(["", "0", "-", '"', "null", "9" * 20, "]", "x", "true"]))
        file.write_text(text[:start] + other + text[start + data.draw(st.integers(0, 6)) :])
        try:
            slide = open_slide(path)
        except SlideError as error:
            assert str(path) in str(error)
        else:
            assert slide.pyramid()[0].shape == (70, 70, 3)
            slide.close()
