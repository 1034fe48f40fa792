"""Embeddings of one slide's patches on disk: format lrmil.features/1 (a zarr v3 group, complete or absent)."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, with_config
from zarr.codecs import ZstdCodec

from lrmil.errors import FormatError
from lrmil.features.appearance import LENGTH
from lrmil.geometry import Grid
from lrmil.io import atomic, untrusted
from lrmil.io.ownership import is_features
from lrmil.io.plain_data import CLOSED, Number, Text, Whole, parse_plain
from lrmil.io.zarr_checks import require_safe_array
from lrmil.models.encoders.contract import read_contract
from lrmil.slides.checksums import NOT_COMPARED
from lrmil.slides.resolution import ASKED_MPP
from lrmil.slides.scanner import Scanner

FORMAT = "lrmil.features/1"
ROWS_PER_CHUNK = 1024
MAX_PATCH_SIZE = 65_536
MIN_MPP = 1e-4  # um/px
MAX_ORIGIN = 2**31  # level-0 pixels
COMPRESSOR = ZstdCodec(
    level=0, checksum=True
)  # with a checksum, a flipped bit on the disk is an error, not another number
INDEX, FLOATS = ("int32",), ("float32", "float16")
UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError)  # RuntimeError: the codec's

Mpp = Annotated[Number, Field(ge=MIN_MPP, le=ASKED_MPP[1])]
Corner = Annotated[Whole, Field(gt=-MAX_ORIGIN, lt=MAX_ORIGIN)]
Count = Annotated[Whole, Field(ge=0)]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class FeaturesCard:
    """Where the features of a slide come from; the attributes of the group.

    Attributes
    ----------
    slide_id, slide_fingerprint
        Which slide, and the hash of its content (`files.fingerprint`).
    slide_mpp, mpp_source
        Resolution of level 0 in um/px and where it was found.
    mpp, size
        Resolution and side in pixels of the patches.
    origin_yx
        Level-0 pixel where the lattice begins.
    encoder_hash
        Which encoder made them.
    key
        Hash of everything that the file depends on. With an equal key, it need not be recomputed.
    total, failed
        Requested patches, and those of them that could not be read and were left out.
    seconds, bytes_read
        Time and bytes to read and encode; bytes are None where the reader does not count them.
    notes
        Sentences about how the slide was read, and which parts could not be.
    checksum
        The checksum that the content was compared with (`lrmil.slides.checksums.comparison`), or that it was not.
    encoder
        How the encoder computes embeddings (`lrmil.models.encoders.contract.EncoderContract`); None in earlier files.
    scanner
        Make and model, where the slide states them; None in earlier files.
    reading
        `lrmil.features.slide_features.EXTRACTION_VERSION` when the file was written, 0 in earlier files.
    appearance
        What the slide looks like (`lrmil.features.appearance`); None in earlier files.
    """

    slide_id: Text
    slide_fingerprint: Text
    slide_mpp: Mpp
    mpp_source: Text
    mpp: Mpp
    size: Annotated[Whole, Field(ge=1, le=MAX_PATCH_SIZE)]
    origin_yx: tuple[Corner, Corner]
    encoder_hash: Text
    key: Text
    total: Count
    failed: Count
    seconds: Number
    bytes_read: Whole | None
    notes: tuple[Text, ...] = ()
    checksum: Text = NOT_COMPARED
    encoder: dict[str, object] | None = None
    reading: Whole = 0
    appearance: Annotated[tuple[Number, ...], Field(min_length=LENGTH, max_length=LENGTH)] | None = None
    scanner: Scanner | None = None

    @property
    def grid(self) -> Grid:
        """The lattice that the index refers to."""
        return Grid(self.mpp, self.size, self.slide_mpp, self.origin_yx)


_CARD = TypeAdapter(FeaturesCard)


@dataclass(frozen=True, slots=True)
class Features:
    """Embeddings of n patches of one slide.

    Attributes
    ----------
    card
        Provenance.
    index
        (n, 2) int32 row, col on the card's lattice.
    embeddings
        (n, d) float32.
    layers
        Block number -> (n, d_l) float16 class tokens of that block.
    """

    card: FeaturesCard
    index: NDArray[np.int32]
    embeddings: NDArray[np.float32]
    layers: dict[int, NDArray[np.floating]] = field(default_factory=dict)


def write_features(path: Path, features: Features) -> None:
    """Write a slide's features, complete or not at all.

    Parameters
    ----------
    path
        Folder of the features, replaced if it contains features.
    features
        What to write.

    Raises
    ------
    OverwriteError
        If something else has the name `path`.
    OutputError
        If it cannot be written.
    """
    with atomic.replacing(path, is_features) as temporary:
        group = zarr.create_group(store=str(temporary), attributes={"format": FORMAT, **_stated(features.card)})
        arrays: dict[str, NDArray[np.generic]] = {"index": features.index, "features": features.embeddings}
        arrays |= {f"layers/{layer}": tokens for layer, tokens in features.layers.items()}
        for name, values in arrays.items():
            chunks = (min(ROWS_PER_CHUNK, max(1, len(values))), values.shape[1])
            group.create_array(
                name, data=values, chunks=chunks, compressors=COMPRESSOR, config={"write_empty_chunks": True}
            )


def read_features(path: Path, *, layers: bool = False) -> Features:
    """Read a slide's features.

    Parameters
    ----------
    path
        Folder of the features.
    layers
        Whether to read the class tokens of the blocks too.

    Raises
    ------
    FormatError
        If `path` contains no features, features of another version, or damaged arrays.
    """
    card = read_card(path)
    try:
        index, embeddings = _array(path, "index", INDEX), _array(path, "features", FLOATS)
        tokens = {}
        if layers and (path / "layers").is_dir() and not (path / "layers").is_symlink():
            names = sorted(inner.name for inner in (path / "layers").iterdir() if inner.is_dir())
            tokens = {int(name): _array(path, f"layers/{name}", FLOATS).astype(np.float16) for name in names}
    except UNREADABLE as error:
        raise FormatError(f"The arrays in {path} are damaged: {error}. Extract this slide again.") from error
    if index.shape != (len(embeddings), 2) or any(len(values) != len(index) for values in tokens.values()):
        raise FormatError(
            f"Expected arrays of one length in {path}. Got index {index.shape} and features {embeddings.shape}. "
            "Extract this slide again."
        )
    if not all(np.isfinite(values).all() for values in (embeddings, *tokens.values())):
        raise FormatError(f"Expected finite embeddings in {path}. Got NaN or infinity. Extract this slide again.")
    return Features(card, index.astype(np.int32), embeddings.astype(np.float32), tokens)


def read_index(path: Path) -> NDArray[np.int32]:
    """Read the (n, 2) rows and columns of the patches, without their embeddings.

    Raises
    ------
    FormatError
        As `read_features`.
    """
    read_card(path)
    try:
        return np.asarray(_array(path, "index", INDEX), np.int32)
    except UNREADABLE as error:
        raise FormatError(f"The index in {path} is damaged: {error}. Extract this slide again.") from error


def read_card(path: Path) -> FeaturesCard:
    """Read the card of a slide's features, without the arrays.

    Raises
    ------
    FormatError
        If `path` contains no features, or features of another version.
    """
    try:
        document: Any = untrusted.read_json(path / "zarr.json", printable=False)
        attributes = dict(document["attributes"])
        found = attributes.pop("format")
    except (OSError, KeyError, TypeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or (error if isinstance(error, FormatError) else "no such attributes")
        raise FormatError(
            f"There are no features of {FORMAT} in {path}: zarr.json cannot be read ({reason})."
        ) from error
    if found != FORMAT:
        raise FormatError(f"Expected the format {FORMAT} in {path}. Got {found!r}. Extract again, or update lrmil.")
    try:
        card = parse_plain(_CARD, attributes)
    except FormatError as error:
        raise FormatError(
            f"The attributes in {path} are not those of {FORMAT}: {error}; extract this slide again."
        ) from error
    if card.failed > card.total:
        raise FormatError(
            f"Expected no more failed patches than patches in {path}. Got {card.failed} of {card.total}. Extract this "
            "slide again."
        )
    if card.encoder is not None and read_contract(card.encoder) is None:
        raise FormatError(f"The description of the encoder in {path} cannot be read. Extract this slide again.")
    return card


def is_current(path: Path, *keys: str, checksum: str = NOT_COMPARED) -> bool:
    """Return whether `path` contains features with one of the keys.

    Parameters
    ----------
    path
        Folder of the features, which may be absent.
    keys
        Hashes of what the features may be made from.
    checksum
        The comparison that the slide has passed now. The features must state the same, unless there was none.
    """
    try:
        card = read_card(path)
    except FormatError:
        return False
    return card.key in keys and checksum in (NOT_COMPARED, card.checksum)


def _stated(card: FeaturesCard) -> dict[str, Any]:
    """Return the attributes of a card; a scanner that is not known is not stated."""
    return {name: value for name, value in asdict(card).items() if name != "scanner" or value is not None}


def _array(path: Path, name: str, types: tuple[str, ...]) -> NDArray[np.generic]:
    present = require_safe_array(path / name, types=types)
    array = zarr.open_array(str(path / name), mode="r", zarr_format=3)
    if present != array.nchunks:  # zarr would silently return zeros
        raise ValueError(f"{name} lacks {array.nchunks - present} of {array.nchunks} chunks")
    return np.asarray(array[:])
