"""Embeddings of one slide's patches on disk: format lrmil.features/1 (a zarr v3 group, complete or absent)."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import zarr
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, with_config
from zarr.codecs import ZstdCodec

from lrmil.errors import FormatError
from lrmil.geometry import Grid
from lrmil.io import atomic, untrusted
from lrmil.io.ownership import is_features
from lrmil.io.plain_data import CLOSED, Number, Text, Whole, parse_plain
from lrmil.io.zarr_checks import require_safe_array
from lrmil.models.encoders.contract import EncoderContract, find_breach, read_contract
from lrmil.slides.checksums import NOT_COMPARED
from lrmil.slides.resolution import ASKED_MPP

FORMAT = "lrmil.features/1"
ROWS_PER_CHUNK = 1024
MAX_PATCH_SIZE = 65_536
MIN_MPP = 1e-4  # um/px
MAX_ORIGIN = 2**31  # level-0 pixels
COMPRESSOR = ZstdCodec(level=0, checksum=True)  # a bit that flips on the disk is an error, not another number
INDEX, FLOATS = ("int32",), ("float32", "float16")
UNREADABLE = (OSError, KeyError, ValueError, TypeError, RuntimeError)  # RuntimeError: the codec's

Mpp = Annotated[Number, Field(ge=MIN_MPP, le=ASKED_MPP[1])]
Corner = Annotated[Whole, Field(gt=-MAX_ORIGIN, lt=MAX_ORIGIN)]
Count = Annotated[Whole, Field(ge=0)]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class FeaturesCard:
    """Where a slide's features come from: stored as the group's attributes.

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
        Hash of all that the file depends on; equal keys mean that it need not be made again.
    total, failed
        Patches asked for and patches that could not be read (they are left out).
    seconds, bytes_read
        What it took to read and encode; bytes None where the reader cannot tell.
    notes
        Sentences on how the slide was read, and what of it could not be.
    checksum
        With what the slide's content was compared (`lrmil.slides.checksums.comparison`), or that it was not.
    encoder
        How the encoder makes embeddings (`lrmil.models.encoders.contract.EncoderContract`), None in earlier files.
    reading
        `lrmil.features.extraction.EXTRACTION_VERSION` when the file was written, 0 in earlier files.
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

    @property
    def grid(self) -> Grid:
        """The lattice the index refers to."""
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
    """Write the group, complete or not at all."""
    with atomic.replacing(path, is_features) as temporary:
        group = zarr.create_group(store=str(temporary), attributes={"format": FORMAT, **asdict(features.card)})
        arrays: dict[str, NDArray[np.generic]] = {"index": features.index, "features": features.embeddings}
        arrays |= {f"layers/{layer}": tokens for layer, tokens in features.layers.items()}
        for name, values in arrays.items():
            chunks = (min(ROWS_PER_CHUNK, max(1, len(values))), values.shape[1])
            group.create_array(
                name, data=values, chunks=chunks, compressors=COMPRESSOR, config={"write_empty_chunks": True}
            )


def read_features(path: Path, *, layers: bool = False) -> Features:
    """Read a slide's features, and the class tokens of the blocks when `layers` is asked for.

    Raises
    ------
    FormatError
        If it is no lrmil.features.store group, is of another version, or its arrays do not fit together.
    """
    card = read_card(path)
    try:
        index, embeddings = _array(path, "index", INDEX), _array(path, "features", FLOATS)
        tokens = {}
        if layers and (path / "layers").is_dir() and not (path / "layers").is_symlink():
            names = sorted(inner.name for inner in (path / "layers").iterdir() if inner.is_dir())
            tokens = {int(name): _array(path, f"layers/{name}", FLOATS).astype(np.float16) for name in names}
    except UNREADABLE as error:
        raise FormatError(f"Expected complete arrays in {path}. Got: {error}. Extract this slide again.") from error
    if index.shape != (len(embeddings), 2) or any(len(values) != len(index) for values in tokens.values()):
        raise FormatError(
            f"Expected arrays of one length in {path}. Got index {index.shape} and features {embeddings.shape}; "
            "extract this slide again."
        )
    if not all(np.isfinite(values).all() for values in (embeddings, *tokens.values())):
        raise FormatError(f"Expected finite embeddings in {path}. Got NaN or infinity; extract this slide again.")
    return Features(card, index.astype(np.int32), embeddings.astype(np.float32), tokens)


def read_index(path: Path) -> NDArray[np.int32]:
    """Read the (n, 2) row, col of the patches alone, without their embeddings.

    Raises
    ------
    FormatError
        As `read_features`.
    """
    read_card(path)
    try:
        return np.asarray(_array(path, "index", INDEX), np.int32)
    except UNREADABLE as error:
        raise FormatError(f"Expected a complete index in {path}. Got: {error}. Extract this slide again.") from error


def read_card(path: Path) -> FeaturesCard:
    """Read the provenance alone, without the arrays.

    Raises
    ------
    FormatError
        If it is no lrmil.features.store group or is of another version.
    """
    try:
        document: Any = untrusted.read_json(path / "zarr.json", printable=False)
        attributes = dict(document["attributes"])
        found = attributes.pop("format")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise FormatError(f"Expected a folder in the format {FORMAT} at {path}. Got: {error}") from error
    if found != FORMAT:
        raise FormatError(f"Expected the format {FORMAT} in {path}. Got {found!r}; extract again or update lrmil.")
    try:
        card = parse_plain(_CARD, attributes)
    except FormatError as error:
        raise FormatError(
            f"Expected the attributes of {FORMAT} in {path}. Got: {error}; extract this slide again."
        ) from error
    if card.failed > card.total:
        raise FormatError(
            f"Expected no more failed patches than patches in {path}. Got {card.failed} of {card.total}; extract this "
            "slide again."
        )
    if card.encoder is not None and read_contract(card.encoder) is None:
        raise FormatError(
            f"Expected how the encoder makes embeddings, with its golden vector, in {path}. Got another statement; "
            "extract this slide again."
        )
    return card


def is_current(path: Path, *keys: str, checksum: str = NOT_COMPARED) -> bool:
    """Tell whether `path` holds features that were made from just what one of `keys` stands for.

    Where the slide was compared with a `checksum`, only features of bytes that were compared with it are.
    """
    try:
        card = read_card(path)
    except FormatError:
        return False
    return card.key in keys and checksum in (NOT_COMPARED, card.checksum)


def require_same_encoder(paths: Iterable[Path], encoder_hash: str, contract: EncoderContract) -> None:
    """Refuse an encoder that gives other embeddings than when the features at `paths` were made with its weights.

    Raises
    ------
    FormatError
        With the difference and the versions of timm.
    """
    for path in paths:
        try:
            card = read_card(path)
        except FormatError:
            continue
        stated = read_contract(card.encoder)
        if card.encoder_hash != encoder_hash or stated is None:
            continue
        if breach := find_breach(stated, contract):
            raise FormatError(
                f"The features in {path.parent} were made with the same weights, but {breach}. Install timm "
                f"{stated.timm} to go on with them, or choose another folder to make all anew."
            )
        return  # all that were added to a folder passed this


def require_one_kind(folder: Path, *added: tuple[str, float, int]) -> None:
    """Refuse a folder of features, ``<slide_id>.zarr`` each, that do not all come from one encoder and one grid.

    Parameters
    ----------
    added
        Hash of the encoder, um/px and side in pixels of the patches of what is to be added.

    Raises
    ------
    FormatError
        With how many there are of each kind.
    """
    kinds = Counter[tuple[str, float, int]]()
    for path in sorted(folder.glob("*.zarr")):
        with suppress(FormatError):  # what is none is passed over
            card = read_card(path)
            kinds[card.encoder_hash, card.mpp, card.size] += 1
    if len({*kinds, *added}) > 1:
        said = [f"{count} of {_kind(*kind)}" for kind, count in kinds.items()]
        said += [f"new {_kind(*kind)}" for kind in added]
        raise FormatError(
            f"Expected features of one encoder and one grid in {folder}. Got {' and '.join(said)}. "
            "Keep each kind in a folder of its own."
        )


def _kind(encoder: str, mpp: float, size: int) -> str:
    return f"{size} px at {mpp:g} um/px by encoder {encoder[:8]}"


def positions_in(index: NDArray[np.integer], parents: NDArray[np.integer]) -> NDArray[np.int64]:
    """Row of `index` (n, 2) that equals each of `parents` (m, 2), -1 where there is none."""
    if not len(index):
        return np.full(len(parents), -1, np.int64)
    width = int(max(index[:, 1].max(), parents[:, 1].max(initial=0))) + 1
    keys = index[:, 0].astype(np.int64) * width + index[:, 1]
    wanted = parents[:, 0].astype(np.int64) * width + parents[:, 1]
    order = np.argsort(keys)
    found = order[np.minimum(np.searchsorted(keys, wanted, sorter=order), len(keys) - 1)]
    return np.where(keys[found] == wanted, found, -1)


def _array(path: Path, name: str, types: tuple[str, ...]) -> NDArray[np.generic]:
    there = require_safe_array(path / name, types=types)
    array = zarr.open_array(str(path / name), mode="r", zarr_format=3)
    if there != array.nchunks:  # zarr would silently give zeros
        raise ValueError(f"{name} lacks {array.nchunks - there} of {array.nchunks} chunks")
    return np.asarray(array[:])
