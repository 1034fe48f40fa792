"""Each reader finds make and model where its formats state them, and never an instrument's serial number."""

from pathlib import Path

import numpy as np
import pydicom
import pytest
import tifffile

from lrmil.slides.opening import open_slide
from lrmil.slides.readers.scanners import aperio_scanner, openslide_scanner
from lrmil.slides.scanner import Scanner
from support.dicom_slides import write_series
from support.slides import coordinate_pixels, write_ome_zarr_slide
from support.vendor_slides import write_bif, write_mrxs, write_scn, write_trestle, write_vms

PIXELS = coordinate_pixels(512, 640)
GT450 = "Aperio Leica Biosystems GT450 v1.0.1 \r\n640x512 [0,0 640x512] (256x256) JPEG/RGB Q=91|AppMag = 40"


@pytest.mark.parametrize(
    ("description", "model"),
    [
        (f"{GT450}|ScanScope ID = SS45371|ScannerType = GT450 DX|MPP = 0.26", "GT450 DX"),
        (f"{GT450}|MPP = 0.26", "GT450"),
        ("Aperio Leica GT450 v1.5.1\n640x512 |AppMag = 40", "GT450"),
        ("Aperio Image Library v11.2.1\r\n640x512 |AppMag = 20|ScanScope ID = CPAPERIOCS|Filename = Smith", ""),
        ("Aperio Image Library v11.2.1\r\n640x512 |ScannerType = SN20190315", ""),
    ],
)
def test_an_aperio_states_its_model_by_its_type_and_not_by_its_instrument(description: str, model: str) -> None:
    assert aperio_scanner(description) == Scanner("Aperio", model)
    assert openslide_scanner({"openslide.vendor": "aperio", "tiff.ImageDescription": description}) == Scanner(
        "Aperio", model
    )


@pytest.mark.parametrize(
    ("properties", "found"),
    [
        ({"openslide.vendor": "hamamatsu", "tiff.Make": "Hamamatsu", "tiff.Model": "C9600-02"}, "Hamamatsu C9600-02"),
        ({"openslide.vendor": "leica", "leica.device-model": "Leica SCN400;Leica SCN"}, "Leica SCN400"),
        ({"openslide.vendor": "leica", "leica.device-version": "1"}, "None"),
        ({"openslide.vendor": "ventana", "ventana.ScannerModel": "VENTANA DP 200"}, "Ventana DP 200"),
        ({"openslide.vendor": "ventana", "ventana.UnitNumber": "BI15N7205"}, "None"),
        (
            {"openslide.vendor": "philips", "philips.DICOM_MANUFACTURER": "Hamamatsu", "tiff.Model": "other"},
            "Hamamatsu",
        ),
        ({"openslide.vendor": "mirax", "mirax.GENERAL.SCANNER_HARDWARE_ID": "P250-1"}, "None"),
        ({"openslide.vendor": "dicom", "dicom.Manufacturer": "Leica", "dicom.ManufacturerModelName": "GT"}, "Leica GT"),
    ],
)
def test_openslide_states_them_in_the_properties_of_each_vendor(properties: dict[str, str], found: str) -> None:
    assert str(openslide_scanner(properties)) == found


def test_a_tiff_states_them_in_its_tags(tmp_path: Path) -> None:
    tags = [(271, "s", 0, "Hamamatsu", True), (272, "s", 0, "NanoZoomer", True)]
    path, options = tmp_path / "a.tif", {"photometric": "rgb", "tile": (128, 128), "metadata": None}
    tifffile.imwrite(path, PIXELS, extratags=tags, **options)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.scanner == Scanner("Hamamatsu", "NanoZoomer")
    tifffile.imwrite(path, PIXELS, **options)
    with open_slide(path, mpp=0.5) as slide:
        assert slide.scanner is None


@pytest.mark.parametrize(
    ("instruments", "found"),
    [
        (
            '<Instrument ID="I:0"><Microscope Manufacturer="Zeiss" Model="Axioscan 7" SerialNumber="4"/></Instrument>',
            "Z",
        ),
        ('<Instrument ID="I:1"><Microscope Manufacturer="Leica" Model="GT"/></Instrument>', 0),  # of no image
        ('<Instrument ID="I:0"><Detector Manufacturer="Hamamatsu" Model="Orca"/></Instrument>', 0),
    ],
)
def test_an_ome_tiff_states_them_in_the_instrument_of_its_image(tmp_path: Path, instruments: str, found: int) -> None:
    xml = (
        f'<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">{instruments}'
        '<Image ID="Image:0"><InstrumentRef ID="I:0"/><Pixels ID="P:0" DimensionOrder="XYCZT" Type="uint8" SizeX="640" '
        'SizeY="512" SizeC="3" SizeZ="1" SizeT="1" PhysicalSizeX="0.5" PhysicalSizeY="0.5"><Channel ID="C:0" '
        'SamplesPerPixel="3"/><TiffData/></Pixels></Image></OME>'
    )
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, PIXELS, photometric="rgb", tile=(128, 128), metadata=None, description=xml)
    with open_slide(path) as slide:
        assert slide.mpp_source == "OME PhysicalSize"
        assert slide.scanner == (Scanner("Zeiss", "Axioscan 7") if found else None)


def test_a_dicom_states_manufacturer_and_model(tmp_path: Path) -> None:
    write_series(tmp_path / "slide")
    for path in (tmp_path / "slide").iterdir():
        about = pydicom.dcmread(path)
        about.Manufacturer, about.ManufacturerModelName, about.DeviceSerialNumber = "Leica Biosystems", "GT450", "77"
        about.save_as(path)
    with open_slide(tmp_path / "slide/level-0.dcm") as slide:
        assert slide.scanner == Scanner("Leica Biosystems", "GT450")


def test_slides_of_vendors_state_no_more_than_they_know(tmp_path: Path) -> None:
    written = [
        write_scn(tmp_path / "a.scn", PIXELS),
        write_bif(tmp_path / "b.bif", PIXELS),
        write_mrxs(tmp_path / "c.mrxs", PIXELS),
        write_trestle(tmp_path / "d.tif", PIXELS),
        write_vms(tmp_path / "e.vms", PIXELS),
    ]
    found = {}
    for path in written:
        with open_slide(path) as slide:
            found[path.suffix] = str(slide.scanner)
    assert found == {".scn": "Leica SCN400", ".bif": "None", ".mrxs": "None", ".tif": "None", ".vms": "None"}


def test_an_ome_zarr_states_them_in_the_description_beside_it(tmp_path: Path) -> None:
    path = write_ome_zarr_slide(tmp_path / "a.ome.zarr", np.ascontiguousarray(PIXELS))
    with open_slide(path) as slide:
        assert slide.scanner is None
    (path / "OME").mkdir(exist_ok=True)
    scope = '<Instrument ID="I:0"><Microscope Manufacturer="Zeiss" Model="Axioscan 7"/></Instrument>'
    (path / "OME/METADATA.ome.xml").write_text(f'<OME>{scope}<Image ID="Image:0"><Pixels/></Image></OME>')
    with open_slide(path) as slide:
        assert slide.scanner == Scanner("Zeiss", "Axioscan 7")
