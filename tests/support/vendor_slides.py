"""Small slides in the formats of vendors, made by hand as far as OpenSlide looks at them; none is from a scanner."""

import io
import struct
from itertools import product
from pathlib import Path

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from support.slides import PATIENT, shrink

Pixels = NDArray[np.uint8]
MPP = 0.5
JPEG: dict[str, object] = {"photometric": "rgb", "compression": "jpeg", "tile": (128, 128), "metadata": None}


def write_philips(path: Path, pixels: Pixels) -> Path:
    """Write a Philips TIFF of two levels."""
    with tifffile.TiffWriter(path) as tif:
        tif.write(pixels, software="Philips DP v1.0", description=_philips_xml(), **JPEG)
        tif.write(shrink(pixels, 2), subfiletype=1, software="Philips DP v1.0", **JPEG)
    return path


def write_scn(path: Path, pixels: Pixels, source: str = "brightfield") -> Path:
    """Write a Leica SCN of 2000 x 1500 px in which `pixels` were scanned twice: at x=100, y=200 and x=1000, y=300."""
    height, width = pixels.shape[:2]
    areas = [
        _scn_image("a", 100, 200, (width, height), 1, source),
        _scn_image("b", 1000, 300, (width, height), 3, source),
    ]
    macro = _scn_image("macro", 0, 0, (2000, 1500), 0, source)
    xml = (
        '<?xml version="1.0"?><scn xmlns="http://www.leica-microsystems.com/scn/2010/10/01" uuid="u">'
        f'<collection name="c" uuid="c" sizeX="1000000" sizeY="750000">{macro}{"".join(areas)}</collection></scn>'
    )
    options = {**JPEG, "resolution": (20_000, 20_000), "resolutionunit": 3}
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(np.zeros((150, 200, 3), np.uint8), description=xml, **options)
        for _ in areas:
            tif.write(pixels, **options)
            tif.write(shrink(pixels, 4), **options)
    return path


def write_mrxs(path: Path, pixels: Pixels, *, slide_type: str = "SLIDE_TYPE_BRIGHTFIELD") -> Path:
    """Write an MRXS: a grid of 8 x 6 camera images of 128 px, of which those that hold `pixels` were taken.

    Two levels, no overlaps. `pixels` begin at x=256, y=256; their sides are at most 768 and 512.
    """
    folder, side, columns, rows = path.with_suffix(""), 128, 8, 6
    folder.mkdir()
    path.write_bytes(b"")  # a preview in a real one; the slide is in the folder
    whole, taken = np.full((rows * side, columns * side, 3), 255, np.uint8), np.zeros((rows, columns), bool)
    height, width = pixels.shape[:2]
    whole[256 : 256 + height, 256 : 256 + width] = pixels
    taken[2 : 2 - (-height // side), 2 : 2 - (-width // side)] = True
    data, levels = bytearray(), list[list[tuple[int, int, int, int]]]()
    for factor in (1, 2):
        level, images = shrink(whole, factor), list[tuple[int, int, int, int]]()
        for y, x in product(range(0, rows, factor), range(0, columns, factor)):
            if taken[y : y + factor, x : x + factor].any():
                top, left, jpeg = y // factor * side, x // factor * side, io.BytesIO()
                tile = level[top : top + side, left : left + side]
                Image.fromarray(tile).save(jpeg, "JPEG", quality=95, subsampling=0)
                images.append((y * columns + x, len(data), len(jpeg.getvalue()), 0))
                data += jpeg.getvalue()
        levels.append(images)
    (folder / "Data0000.dat").write_bytes(data)
    (folder / "Index.dat").write_bytes(_mrxs_index("slide", levels))
    (folder / "Slidedat.ini").write_text(_mrxs_text("slide", columns, rows, side, slide_type))
    return path


def write_trestle(path: Path, pixels: Pixels) -> Path:
    """Write a Trestle TIFF of two levels, whose resolution tags hold um/px."""
    description = "Objective Power=20;Background Color=FFFFFF;OverlapsXY=0 0 0 0"
    with tifffile.TiffWriter(path) as tif:
        for level in (pixels, shrink(pixels, 2)):
            tif.write(
                level, software="MedScan 2.2", description=description, resolution=(MPP, MPP), resolutionunit=3, **JPEG
            )
    return path


def write_bif(path: Path, pixels: Pixels) -> Path:
    """Write a Ventana BIF of two levels without overlaps."""
    rows, columns = pixels.shape[0] // 128, pixels.shape[1] // 128

    def number(row: int, column: int) -> int:
        return row * columns + (column if row % 2 == 0 else columns - 1 - column) + 1

    def joint(direction: str, first: int, second: int) -> str:
        return (
            f'<TileJointInfo FlagJoined="1" Confidence="98" Direction="{direction}" Tile1="{first}" Tile2="{second}" '
            'OverlapX="0" OverlapY="0"/>'
        )

    joints = [joint("RIGHT", number(r, c), number(r, c + 1)) for r in range(rows) for c in range(columns - 1)]
    joints += [joint("UP", number(r, c), number(r + 1, c)) for r in range(rows - 1) for c in range(columns)]
    scan = '<?xml version="1.0"?><Metadata><iScan Magnification="20" ScanRes="0.5" UnitNumber="1"/></Metadata>'
    areas = (
        '<?xml version="1.0"?><EncodeInfo Ver="2"><SlideInfo/><SlideStitchInfo><ImageInfo AOIScanned="1" AOIIndex="0" '
        f'NumRows="{rows}" NumCols="{columns}" Width="128" Height="128" Pos-X="0" Pos-Y="0">{"".join(joints)}'
        '</ImageInfo></SlideStitchInfo><AoiOrigin><AOI0 OriginX="0" OriginY="0"/></AoiOrigin></EncodeInfo>'
    )
    with tifffile.TiffWriter(path, bigtiff=True) as tif:
        tif.write(
            np.zeros((100, 100, 3), np.uint8),
            photometric="rgb",
            metadata=None,
            description="Label Image",
            software="ScanOutputManager 1",
            extratags=[_xmp(scan)],
        )
        tif.write(pixels, description="level=0 mag=20 quality=90", extratags=[_xmp(areas)], **JPEG)
        tif.write(shrink(pixels, 2), description="level=1 mag=10 quality=90", **JPEG)
    return path


def write_vms(path: Path, pixels: Pixels) -> Path:
    """Write a Hamamatsu VMS: a small text, and a JPEG of the slide and one of its map beside it."""
    height, width = pixels.shape[:2]
    Image.fromarray(pixels).save(path.with_suffix(".jpg"), quality=95, subsampling=0, restart_marker_rows=1)
    Image.fromarray(shrink(pixels, 8)).save(path.with_suffix(".map.jpg"), quality=95, restart_marker_rows=1)
    path.write_text(
        "[Virtual Microscope Specimen]\nNoLayers=1\nNoJpegColumns=1\nNoJpegRows=1\n"
        f"ImageFile={path.stem}.jpg\nMapFile={path.stem}.map.jpg\nSourceLens=20\n"
        f"PhysicalWidth={int(width * MPP * 1000)}\nPhysicalHeight={int(height * MPP * 1000)}\n"
    )
    return path


def _xmp(text: str) -> tuple[int, str, int, bytes, bool]:
    return 700, "B", len(text), text.encode(), True


def _philips_xml() -> str:
    def entry(name: str, kind: str, value: str) -> str:
        return f'<Attribute Name="{name}" Group="0x1" Element="0x1" PMSVR="{kind}">{value}</Attribute>'

    def level(number: int, mpp: float) -> str:
        spacing = f"&quot;{mpp / 1000:.6f}&quot; &quot;{mpp / 1000:.6f}&quot;"
        parts = entry("DICOM_PIXEL_SPACING", "IDoubleArray", spacing)
        parts += entry("PIIM_DP_PIXEL_DATA_REPRESENTATION_NUMBER", "IUInt16", str(number))
        return f'<DataObject ObjectType="PixelDataRepresentation">{parts}</DataObject>'

    levels = entry(
        "PIIM_PIXEL_DATA_REPRESENTATION_SEQUENCE",
        "IDataObjectArray",
        f"<Array>{level(0, MPP)}{level(1, 2 * MPP)}</Array>",
    )
    image = entry("PIM_DP_IMAGE_TYPE", "IString", "WSI")
    image += entry("DICOM_PIXEL_SPACING", "IDoubleArray", f'"{MPP / 1000}" "{MPP / 1000}"') + levels
    scanned = f'<Array><DataObject ObjectType="DPScannedImage">{image}</DataObject></Array>'
    return (
        '<?xml version="1.0" encoding="UTF-8" ?><DataObject ObjectType="DPUfsImport">'
        f"{entry('PIM_DP_SCANNED_IMAGES', 'IDataObjectArray', scanned)}</DataObject>"
    )


def _scn_image(name: str, x: int, y: int, size: tuple[int, int], ifd: int, source: str) -> str:
    width, height = size
    levels = [(width // 10, height // 10)] if name == "macro" else [(width, height), (width // 4, height // 4)]
    dimensions = "".join(
        f'<dimension sizeX="{w}" sizeY="{h}" r="{r}" ifd="{ifd + r}"/>' for r, (w, h) in enumerate(levels)
    )
    nanometres = int(MPP * 1000)
    return (
        f'<image name="{name}" uuid="urn:uuid:{name}"><creationDate>2012</creationDate>'
        f'<device model="Leica SCN400" version="1"/><pixels sizeX="{levels[0][0]}" sizeY="{levels[0][1]}">{dimensions}'
        f'</pixels><view sizeX="{width * nanometres}" sizeY="{height * nanometres}" offsetX="{x * nanometres}" '
        f'offsetY="{y * nanometres}" spacingZ="0"/><scanSettings><objectiveSettings>'
        f"<objective>{0.6 if name == 'macro' else 20}</objective></objectiveSettings><illuminationSettings>"
        f"<numericalAperture>0.4</numericalAperture><illuminationSource>{source}</illuminationSource>"
        "</illuminationSettings></scanSettings></image>"
    )


def _mrxs_index(name: str, levels: list[list[tuple[int, int, int, int]]]) -> bytes:
    """Version and name, where the list of levels is, for each level where its page of images is, and the pages."""
    root = 5 + len(name) + 8
    head, pages, place = b"", b"", root + 4 * len(levels)
    for images in levels:
        head += struct.pack("<i", place)
        page = struct.pack("<4i", 0, place + 8, len(images), 0)
        page += b"".join(struct.pack("<4i", *image) for image in images)
        pages, place = pages + page, place + len(page)
    return b"01.02" + name.encode() + struct.pack("<2i", root, root) + head + pages


def _mrxs_text(name: str, columns: int, rows: int, side: int, slide_type: str) -> str:
    text = (
        f"[GENERAL]\nSLIDE_ID={name}\nIMAGENUMBER_X={columns}\nIMAGENUMBER_Y={rows}\nOBJECTIVE_MAGNIFICATION=20\n"
        f"SLIDE_NAME={PATIENT}\nSLIDE_TYPE={slide_type}\n"
        "[HIERARCHICAL]\nHIER_COUNT=1\nNONHIER_COUNT=0\nINDEXFILE=Index.dat\nHIER_0_NAME=Slide zoom level\n"
        "HIER_0_COUNT=2\nHIER_0_VAL_0_SECTION=LEVEL_0\nHIER_0_VAL_1_SECTION=LEVEL_1\n"
        "[DATAFILE]\nFILE_COUNT=1\nFILE_0=Data0000.dat\n"
    )
    for level in (0, 1):
        text += (
            f"[LEVEL_{level}]\nIMAGE_CONCAT_FACTOR={level}\nOVERLAP_X=0\nOVERLAP_Y=0\n"
            f"MICROMETER_PER_PIXEL_X={MPP * 2**level}\nMICROMETER_PER_PIXEL_Y={MPP * 2**level}\n"
            f"IMAGE_FILL_COLOR_BGR=16777215\nDIGITIZER_WIDTH={side}\nDIGITIZER_HEIGHT={side}\nIMAGE_FORMAT=JPEG\n"
        )
    return text
