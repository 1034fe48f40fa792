"""Require that the features in a folder are of one kind: one encoder that still computes the same, and one grid."""

from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from lrmil.errors import FormatError
from lrmil.features.store import read_card
from lrmil.models.encoders.contract import EncoderContract, find_breach, read_contract


def require_same_encoder(paths: Iterable[Path], encoder_hash: str, contract: EncoderContract) -> None:
    """Require that existing features of the same weights were computed as the encoder computes them now.

    Parameters
    ----------
    paths
        Folders of features, which may be absent.
    encoder_hash, contract
        Hash of the weights, and how the encoder computes embeddings now.

    Raises
    ------
    FormatError
        With the difference and the version of timm to install.
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
                f"{stated.timm} to keep them, or choose another folder to extract all slides again."
            )
        return  # the others in the folder have passed this check before


def require_one_kind(folder: Path, *added: tuple[str, float, int]) -> None:
    """Require that all features in a folder come from one encoder and one grid.

    Parameters
    ----------
    folder
        Folder of ``<slide_id>.zarr`` folders; other files are skipped.
    added
        Hash of the encoder, um/px of the patches and their side in pixels, of each kind to be added.

    Raises
    ------
    FormatError
        With the number of features of each kind.
    """
    kinds = Counter[tuple[str, float, int]]()
    for path in sorted(folder.glob("*.zarr")):
        with suppress(FormatError):  # skip other files
            card = read_card(path)
            kinds[card.encoder_hash, card.mpp, card.size] += 1
    if len({*kinds, *added}) > 1:
        found = [f"{count} of {_kind(*kind)}" for kind, count in kinds.items()]
        found += [f"new {_kind(*kind)}" for kind in added]
        raise FormatError(
            f"Expected features of one encoder and one grid in {folder}. Got {' and '.join(found)}. "
            "Use one folder for each kind."
        )


def _kind(encoder: str, mpp: float, size: int) -> str:
    return f"{size} px at {mpp:g} um/px by encoder {encoder[:8]}"
