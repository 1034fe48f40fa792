"""Descriptions of OME-TIFF: images with their pages, of this file or of another, and whatever else stands there."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrmil.slides.readers.ome_xml import ome_images, positive

OME = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:1">{}</OME>'
IMAGE = '<Image Name="{}"><Pixels SizeX="30" SizeY="20" PhysicalSizeX="0.5" PhysicalSizeY="0.5">{}</Pixels></Image>'


def test_images_without_pages_follow_each_other() -> None:
    found = ome_images(OME.format(IMAGE.format("scan", "") + IMAGE.format("label", "")), "a.ome.tif", 2)
    assert [(image.number, image.total, image.name, image.shape) for image in found] == [
        (1, 2, "scan", (20, 30)),
        (2, 2, "label", (20, 30)),
    ]
    assert [image.pages for image in found] == [(0,), (1,)] and not any(image.elsewhere for image in found)


@pytest.mark.parametrize(("uuid", "elsewhere"), [("urn:uuid:1", False), ("urn:uuid:2", True)])
def test_pages_of_another_file_are_told(uuid: str, elsewhere: bool) -> None:
    data = f'<TiffData IFD="0" PlaneCount="1"><UUID FileName="b.ome.tif">{uuid}</UUID></TiffData>'
    own = '<TiffData IFD="1" PlaneCount="1"><UUID FileName="a.ome.tif">urn:uuid:1</UUID></TiffData>'
    found = ome_images(OME.format(IMAGE.format("one", data) + IMAGE.format("two", own)), "a.ome.tif", 2)
    assert [image.elsewhere for image in found] == [elsewhere, False]


@given(st.text(max_size=80))
def test_no_text_raises(text: str) -> None:
    assert isinstance(ome_images(text, "a.ome.tif", 1), list)
    assert isinstance(ome_images(OME.format(text), "a.ome.tif", 1), list)


@pytest.mark.parametrize(("text", "number"), [("0.5", 0.5), ("1e-3", 1e-3), ("0", None), ("-1", None), ("inf", None)])
def test_a_size_is_finite_and_above_0(text: str, number: float | None) -> None:
    assert positive(text) == number and positive(None) is None and positive("nan") is None
