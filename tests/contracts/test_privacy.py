"""Patient text and label images of slides never reach outputs, logs or the screen: told by a name and a colour."""

import base64
import csv
import io
import logging
import re
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from lrmil import cli
from lrmil.errors import LrmilError
from lrmil.io.settings import write_toml
from lrmil.models.encoders import loading
from lrmil.slides.opening import open_slide
from support.runs import tiny_config
from support.slides import PATIENT, coordinate_pixels, write_labelled_slide, write_ome_zarr_slide, write_pyramid
from support.vendor_slides import write_mrxs

pytestmark = pytest.mark.long

CPU = ("--device", "cpu")
LABEL = np.array([0, 255, 0])  # of what `write_labelled_slide` paints label and macro with
NEAR = 30
PICTURES = re.compile(rb"data:image/(?:png|jpeg);base64,([A-Za-z0-9+/=]+)")


class Said(NamedTuple):
    """What a command left behind, besides its files."""

    out: str
    err: str
    log: str


@pytest.fixture(scope="module")
def labelled(cohort: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cohort as SVS files with a label, a macro photo and a patient's name in every text field."""
    folder = tmp_path_factory.mktemp("labelled")
    (folder / "slides").mkdir()
    for slide in sorted((cohort / "slides").iterdir()):
        write_labelled_slide(folder / "slides" / f"{slide.name.split('.')[0]}.svs", tifffile.imread(slide, key=0))
    (folder / "labels.csv").write_bytes((cohort / "labels.csv").read_bytes())
    return folder


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture):  # type: ignore[no-untyped-def]
    """Run the command line and give all that it says."""

    def run(*arguments: object, code: int = 0) -> Said:
        capsys.readouterr()
        caplog.clear()
        with caplog.at_level(logging.DEBUG):
            assert cli.main([str(argument) for argument in arguments]) == code
        captured = capsys.readouterr()
        return Said(captured.out, captured.err, "\n".join(logging.Formatter().format(one) for one in caplog.records))

    return run


def names_the_patient(data: bytes) -> bool:
    return any(PATIENT.casefold().encode(code) in data.lower() for code in ("utf-8", "utf-16-le", "utf-16-be"))


def shows_the_label(picture: NDArray[np.uint8]) -> bool:
    return bool((np.abs(picture.astype(int) - LABEL).max(axis=-1) < NEAR).mean() > 1e-4)


def check(said: Said, folder: Path | None = None) -> None:
    assert not names_the_patient("".join(said).encode())
    for file in () if folder is None else (path for path in folder.rglob("*") if path.is_file()):
        data = file.read_bytes()
        assert not names_the_patient(data), file
        pictures = [data] if file.suffix in (".png", ".jpg") else map(base64.b64decode, PICTURES.findall(data))
        for picture in pictures:
            assert not shows_the_label(np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))), file


class TestTheseTestsCanFail:
    def test_a_slide_has_the_name_and_the_label(self, labelled: Path) -> None:
        slide = labelled / "slides/demo-000.svs"
        assert names_the_patient(slide.read_bytes())
        with tifffile.TiffFile(slide) as tif:
            assert sum(shows_the_label(page.asarray()) for page in tif.pages) == 2

    def test_they_are_found_in_files_and_pages(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text(f"by {PATIENT.lower()}")
        with pytest.raises(AssertionError):
            check(Said("", "", ""), tmp_path)
        buffer = io.BytesIO()
        Image.new("RGB", (60, 60), (2, 250, 5)).save(buffer, "png")
        (tmp_path / "a.txt").write_text(
            f"<img src='data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}'>"
        )
        with pytest.raises(AssertionError):
            check(Said("", "", ""), tmp_path)


@pytest.fixture(scope="module")
def run(labelled: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A training on the labelled slides."""
    folder = tmp_path_factory.mktemp("training")
    write_toml(folder / "settings.toml", tiny_config())
    options = ["--out", folder / "run", "--config", folder / "settings.toml", *CPU]
    assert cli.main(list(map(str, ["train", labelled / "slides", labelled / "labels.csv", *options]))) == 0
    return folder / "run"


def test_training_and_its_report(run: Path, say, labelled: Path) -> None:  # type: ignore[no-untyped-def]
    assert (run / "report.html").exists() and (run / "steps.jsonl").exists()
    check(say("-v", "status", run), run)
    check(say("-v", "report", run), run)
    check(say("-v", "validate", labelled / "slides", labelled / "labels.csv"))


def test_what_is_said_of_slides(run: Path, say, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    slides = sorted((labelled / "slides").iterdir())[:2]
    check(say("-v", "inspect", *slides))
    check(say("-v", "inspect", *slides, "--json"))
    check(say("-v", "predict", *slides, "--model", run / "model", "--out", tmp_path / "out", *CPU), tmp_path / "out")
    assert (tmp_path / "out/demo-000.png").exists()
    check(say("-v", "case", slides[0], "--model", run / "model", "--out", tmp_path / "case", *CPU), tmp_path / "case")
    assert PICTURES.search(next((tmp_path / "case").glob("*.html")).read_bytes())
    arguments = ["--encoder", "test_resnet", "--patch-size", 64, "--out", tmp_path / "features", *CPU]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "load_encoder", partial(loading.load_encoder, pretrained=False))
        check(say("-v", "extract", slides[0], *arguments), tmp_path / "features")


def test_metrics_of_labelled_slides(run: Path, say, labelled: Path, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    arguments = [labelled / "slides", labelled / "labels.csv", "--model", run / "model", "--out", tmp_path / "out"]
    check(say("-v", "evaluate", *arguments, *CPU), tmp_path / "out")


def ome_with_broken_xml(path: Path) -> None:
    xml = f'<?xml version="1.0"?><OME><Image Name="{PATIENT}"><Pixels SizeX="{PATIENT}"'
    pixels = coordinate_pixels(600, 600)
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), description=xml, metadata=None)


def aperio_without_a_number(path: Path) -> None:
    write_labelled_slide(path, coordinate_pixels(600, 600), mpp=PATIENT)


def words_for_a_slide(path: Path) -> None:
    path.write_text(f"{PATIENT} is in the other cupboard")


def torn(path: Path) -> None:
    write_labelled_slide(path, coordinate_pixels(600, 600))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def png_with_words(path: Path) -> None:
    words = PngImagePlugin.PngInfo()
    words.add_text("Title", PATIENT)
    Image.fromarray(coordinate_pixels(600, 600)).save(path, pnginfo=words)


def jpeg_with_a_comment(path: Path) -> None:
    Image.fromarray(coordinate_pixels(600, 600)).save(path, comment=PATIENT.encode())


def ome_with_names(path: Path) -> None:
    write_pyramid(path, coordinate_pixels(600, 600), 0.5)
    named = f'<Experimenter ID="Experimenter:0" LastName="{PATIENT}"/><Image Name="{PATIENT}" '
    with tifffile.TiffFile(path, mode="r+") as tif:
        xml = (tif.ome_metadata or "").replace("<Image ", named, 1)
        tif.pages[0].tags["ImageDescription"].overwrite(xml.encode())


def ome_zarr_with_names(path: Path) -> None:
    write_ome_zarr_slide(path, coordinate_pixels(600, 600))
    for file in (*path.rglob(".zattrs"), *path.rglob("zarr.json")):
        file.write_text(re.sub(r"\{", f'{{"patient": "{PATIENT}", ', file.read_text(), count=1))


def mrxs_whose_preview_is_the_label(path: Path) -> None:
    write_mrxs(path, coordinate_pixels(512, 640))
    Image.new("RGB", (300, 200), tuple(LABEL.tolist())).save(path, "JPEG")


ODD = {
    "a.ome.tif": ome_with_broken_xml,
    "b.svs": aperio_without_a_number,
    "c.svs": words_for_a_slide,
    "d.svs": torn,
    "e.png": png_with_words,
    "f.jpg": jpeg_with_a_comment,
    "g.ome.tif": ome_with_names,
    "h.ome.zarr": ome_zarr_with_names,
    "i.mrxs": mrxs_whose_preview_is_the_label,
}


@pytest.mark.parametrize("name", ODD)
def test_odd_slides_and_their_errors(run: Path, say, name: str, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    ODD[name](tmp_path / name)
    inspected = say("-v", "inspect", tmp_path / name, "--json", code=0 if can_be_opened(tmp_path / name) else 1)
    check(inspected)
    arguments = ["-v", "predict", tmp_path / name, "--model", run / "model", "--out", tmp_path / "out", *CPU]
    code = int(failed(list(arguments), tmp_path / "again"))
    check(say(*arguments, code=code), tmp_path / "out")


def can_be_opened(path: Path) -> bool:
    try:
        with open_slide(path):
            return True
    except LrmilError:
        return False


def failed(arguments: list[object], out: Path) -> bool:
    """Whether a prediction fails; it is made into another folder."""
    changed = [out if before == "--out" else one for before, one in zip(["", *arguments], arguments, strict=False)]
    cli.main(list(map(str, changed)))
    with (out / "predictions.csv").open(newline="") as file:
        return any(row["status"] == "failed" for row in csv.DictReader(file))


def test_names_in_dicom(shared: Path, run: Path, say, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    data = (shared / "data/slides/camelyon_level_jpeg.dcm").read_bytes()
    name = PATIENT.encode().ljust(len(PATIENT) + len(PATIENT) % 2)
    tags = (b"\x10\x00\x10\x00PN", b"\x10\x00\x20\x00LO", b"\x10\x00\x00\x10LO")  # the patient's name and numbers
    place = data.index(b"\x20\x00\x0d\x00UI")
    data = data[:place] + b"".join(tag + len(name).to_bytes(2, "little") + name for tag in tags) + data[place:]
    assert names_the_patient(data)
    for name, content in (("a", data), ("b", data[: len(data) * 2 // 3])):  # in one folder, they would be one slide
        (tmp_path / f"slide-{name}").mkdir()
        (tmp_path / f"slide-{name}/{name}.dcm").write_bytes(content)
    for slide, code in ((tmp_path / "slide-a/a.dcm", 0), (tmp_path / "slide-b/b.dcm", 1)):
        check(say("-v", "inspect", slide, "--mpp", 0.5, "--json", code=code))
        arguments = [
            "-v",
            "predict",
            slide,
            "--mpp",
            0.5,
            "--model",
            run / "model",
            "--out",
            tmp_path / slide.stem,
            *CPU,
        ]
        code = int(failed(list(arguments), tmp_path / f"{slide.stem}-again"))
        check(say(*arguments, code=code), tmp_path / slide.stem)
