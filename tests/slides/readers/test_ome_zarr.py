"""OME-Zarr slides: 0.4 and 0.5 give the pixels that were written, and what is missing is never taken for black."""

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from lrmil.errors import ResolutionError, SlideError
from lrmil.io.raster_zarr import write_ome_zarr
from lrmil.raster import Raster
from lrmil.slides.readers.ome_zarr import OmeZarrReader
from lrmil.slides.slide import find_slides, open_slide, slide_id_of
from support.runs import write_bag
from support.slides import coordinate_pixels, shrink, write_ome_zarr_slide

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


class TestPixels:
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    @pytest.mark.parametrize("axes", ["cyx", "tczyx", "yxc", "czyx"])
    def test_levels_are_exact_whatever_the_order_of_the_axes(self, tmp_path: Path, version: str, axes: str) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.ome.zarr", PIXELS, version=version, axes=axes, factors=(2, 4))
        with open_slide(path) as slide:
            assert [level.shape for level in slide.levels] == [(300, 410), (150, 205), (75, 102)]
            assert [level.downsample for level in slide.levels] == [1, 2, 4] and slide.levels[0].tile == (64, 64)
            assert (slide.mpp, slide.mpp_source, slide.slide_id) == (0.5, "OME-Zarr scale", "a")
            assert (slide.reader_name, slide.bytes_read, slide.notes) == ("zarr", None, ())
            np.testing.assert_array_equal(slide.read_region((50, 60), (150, 170), 0.5), PIXELS[50:200, 60:230])
            np.testing.assert_array_equal(slide.read_region((40, 80), (50, 60), 2.0), shrink(PIXELS, 4)[10:60, 20:80])
            np.testing.assert_array_equal(slide.pyramid()[1].compute(), shrink(PIXELS, 2))

    @pytest.mark.parametrize("compressor", ["none", "zlib", "lz4"])
    def test_other_codecs(self, tmp_path: Path, compressor: str) -> None:
        import numcodecs

        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, factors=())
        shutil.rmtree(path / "0")
        codec = {"none": None, "zlib": numcodecs.Zlib(), "lz4": numcodecs.LZ4()}[compressor]
        array = zarr.create_array(
            path / "0", shape=(3, 300, 410), chunks=(3, 90, 100), dtype="u1", zarr_format=2, compressors=codec
        )
        array[...] = PIXELS.transpose(2, 0, 1)
        reader = OmeZarrReader(path)
        np.testing.assert_array_equal(reader.read(0, 0, 0, 300, 410), PIXELS)

    def test_threads_read_the_same_as_one(self, tmp_path: Path) -> None:
        reader = OmeZarrReader(write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version="0.5"))
        corners = [(int(y), int(x)) for y, x in np.random.default_rng(0).integers(0, 250, (60, 2))]
        with ThreadPoolExecutor(8) as pool:
            read = list(pool.map(lambda corner: reader.read(0, *corner, 50, 50), corners))
        for (y, x), got in zip(corners, read, strict=True):
            np.testing.assert_array_equal(got, PIXELS[y : y + 50, x : x + 50])

    def test_nothing_is_read_outside_or_after_close(self, tmp_path: Path) -> None:
        reader = OmeZarrReader(write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS))
        with pytest.raises(ValueError, match="inside level 0"):
            reader.read(0, 290, 0, 20, 20)
        reader.close()
        with pytest.raises(SlideError, match="closed"):
            reader.read(0, 0, 0, 2, 2)


class TestDamage:
    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    def test_a_missing_chunk_is_unreadable_and_the_rest_reads(self, tmp_path: Path, version: str) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version=version)
        (path / ("0/2.1.1" if version == "0.4" else "0/c/2/1/1")).unlink()  # the blue channel's, 64 to 128 px
        reader = OmeZarrReader(path)
        with pytest.raises(SlideError, match=r"a chunk is missing at level 0, y=100 x=100"):
            reader.read(0, 100, 100, 1, 1)
        with pytest.raises(SlideError, match="a chunk is missing"):
            reader.read(0, 0, 0, 300, 410)
        np.testing.assert_array_equal(reader.read(0, 128, 0, 172, 410), PIXELS[128:])

    def test_a_missing_chunk_of_a_shard(self, tmp_path: Path) -> None:
        black = PIXELS.copy()
        black[64:128, 64:128] = 0  # zarr leaves out chunks that equal the fill value
        path = write_ome_zarr_slide(tmp_path / "a.zarr", black, version="0.5", shards=True, factors=())
        reader = OmeZarrReader(path)
        assert reader.levels[0].tile == (64, 64)
        with pytest.raises(SlideError, match="a chunk is missing"):
            reader.read(0, 70, 70, 10, 10)
        np.testing.assert_array_equal(reader.read(0, 0, 0, 64, 410), PIXELS[:64])

    def test_black_that_was_stored_is_black(self, tmp_path: Path) -> None:
        black = PIXELS.copy()
        black[50:60, 50:60] = 0
        reader = OmeZarrReader(write_ome_zarr_slide(tmp_path / "a.zarr", black))
        np.testing.assert_array_equal(reader.read(0, 40, 40, 40, 40), black[40:80, 40:80])

    @pytest.mark.parametrize("version", ["0.4", "0.5"])
    @pytest.mark.parametrize("keep", [0, 10])
    def test_a_cut_chunk_is_unreadable(self, tmp_path: Path, version: str, keep: int) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version=version)
        chunk = path / ("0/0.1.1" if version == "0.4" else "0/c/0/1/1")
        chunk.write_bytes(chunk.read_bytes()[:keep])
        with pytest.raises(SlideError, match=r"zarr failed at level 0|a chunk is missing at level 0"):
            OmeZarrReader(path).read(0, 100, 100, 1, 1)

    def test_a_picture_without_chunks_does_not_open(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS, version="0.5")
        for level in "012":
            shutil.rmtree(path / level / "c")
        with pytest.raises(SlideError, match="a chunk is missing"):
            open_slide(path)

    def test_the_fingerprint_follows_a_chunk(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "a.zarr", PIXELS)
        prints = set()
        for change in (lambda: None, lambda: (path / "0/0.0.0").unlink(), lambda: (path / "1/0.0.0").write_bytes(b"x")):
            change()
            with open_slide(path) as slide:
                prints.add(slide.fingerprint)
        assert len(prints) == 3


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


class TestWhichFoldersAreSlides:
    def test_our_own_outputs_are_none(self, tmp_path: Path) -> None:
        write_bag(tmp_path / "features.zarr", np.array([[0, 0]]), np.ones((1, 4)))
        write_ome_zarr(tmp_path / "a.attention.ome.zarr", Raster(np.ones((2, 2)), np.eye(2, 3)), mpp=0.5)
        assert find_slides(tmp_path) == []
        for name in ("features.zarr", "a.attention.ome.zarr"):
            with pytest.raises(SlideError, match=f"{name} describes no image"):
                open_slide(tmp_path / name)

    def test_found_named_and_not_searched(self, tmp_path: Path) -> None:
        path = write_ome_zarr_slide(tmp_path / "deep/b.c.ome.zarr", PIXELS)
        (path / "hidden.svs").touch()
        (tmp_path / "broken.zarr").mkdir()
        (tmp_path / "broken.zarr/zarr.json").write_text("{")
        assert find_slides(tmp_path) == [tmp_path / "broken.zarr", path]
        assert find_slides(path) == [path] and slide_id_of(path) == "b.c"
        assert slide_id_of(tmp_path / "broken.zarr") == "broken"
        with pytest.raises(SlideError, match=r"broken\.zarr"):
            open_slide(tmp_path / "broken.zarr")
