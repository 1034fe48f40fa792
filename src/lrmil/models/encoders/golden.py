"""Measure the contract of an encoder, and compare it with the one that its file states."""

import copy

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.models.encoders.contract import MAX_VALUES, EncoderContract, find_breach, read_contract
from lrmil.models.encoders.network import Encoder
from lrmil.models.encoders.terms import EncoderTerms
from lrmil.models.finite import require_finite


def golden_tile(size: int) -> NDArray[np.uint8]:
    """Draw a fixed (size, size, 3) image, slanted bands of colour with noise, in integer arithmetic."""
    y, x, channel = np.meshgrid(*(np.arange(count, dtype=np.int64) for count in (size, size, 3)), indexing="ij")
    bands = ((5 * x + 3 * y) // 4 + 70 * channel) % 190 + 40
    noise = ((73_856_093 * x) ^ (19_349_663 * y) ^ (83_492_791 * (channel + 1))) >> 7 & 255
    return ((3 * bands + noise) // 4).astype(np.uint8)


def golden_pixels(size: int) -> Tensor:
    """Return `golden_tile` as a (1, 3, size, size) uint8 batch."""
    return torch.from_numpy(golden_tile(size)).permute(2, 0, 1)[None]


def contract_of(encoder: Encoder) -> EncoderContract:
    """Measure the contract of an encoder; it computes on the CPU, whichever device holds the encoder."""
    spec, terms = encoder.spec, encoder.terms
    return EncoderContract(
        architecture=spec.architecture,
        embedding=spec.embedding,
        size=spec.size,
        dim=encoder.dim,
        source=terms.name if terms else "",
        revision=terms.revision if terms else "",
        timm=str(timm.__version__),
        golden=_golden(encoder),
    )


def resume_contract(encoder: Encoder, values: object) -> str:
    """Compare a loaded encoder with the contract in its file, and set the encoder's origin from it.

    Parameters
    ----------
    encoder
        With its weights loaded.
    values
        The contract as the file states it; files of earlier versions have none.

    Returns
    -------
    str
        What differs and what to do, as in `find_breach`; "" if nothing does.
    """
    stated = read_contract(values)
    if stated is None:
        return ""
    encoder.terms = EncoderTerms(stated.source, revision=stated.revision)
    breach = find_breach(stated, contract_of(encoder))
    return f"{breach}. Its outputs would differ too: install timm {stated.timm}" if breach else ""


@torch.inference_mode()
def _golden(encoder: Encoder) -> tuple[float, ...]:
    device = next(encoder.parameters()).device
    here = encoder if device.type == "cpu" else copy.deepcopy(encoder).cpu()
    embedding = here(golden_pixels(encoder.spec.size)).embedding[0].numpy()
    require_finite(f"the encoder {encoder.spec.architecture}", embedding)
    positions = np.linspace(0, len(embedding) - 1, min(len(embedding), MAX_VALUES)).round().astype(int)
    return tuple(float(f"{value:.6g}") for value in embedding[positions])
