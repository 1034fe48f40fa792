"""The contract of an encoder: how its embedding is made, and its embedding of a fixed image.

The same weights can give different embeddings in another version of timm. The golden vector reveals this: it is stored
with features and models, and compared when they are used again.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter
from torch import Tensor

from lrmil.errors import FormatError
from lrmil.io.plain_data import Number, Text, Whole, parse_plain
from lrmil.models.encoders.network import Encoder
from lrmil.models.encoders.terms import EncoderTerms
from lrmil.models.finite import MAX_OUTPUT, require_finite

# Relative difference above which two golden vectors differ. They are always computed on the CPU in float32, where
# processors and threads cause 1e-6 to 1e-5; the approximate GELU instead of the exact one causes about 1e-3.
TOLERANCE = 5e-4
MAX_VALUES = 64  # of an embedding, evenly spaced: any change of the computation shows in all of them
MAX_TEXT = 200

Short = Annotated[Text, Field(max_length=MAX_TEXT)]
Count = Annotated[Whole, Field(ge=1)]
Output = Annotated[Number, Field(ge=-MAX_OUTPUT, le=MAX_OUTPUT)]


@dataclass(frozen=True, slots=True)
class EncoderContract:
    """How an encoder makes embeddings.

    Attributes
    ----------
    architecture
        timm model name.
    embedding
        cls | mean | cls+mean | pooled.
    size
        Side of its patches in pixels.
    dim
        Dimension of the embedding.
    source, revision
        Name that the user passed, and the commit of the hub's repository; "" if unknown.
    timm
        Version that computed the golden vector.
    golden
        Up to 64 values, evenly spaced, of the embedding of `golden_tile`.
    """

    architecture: Short
    embedding: Short
    size: Count
    dim: Count
    source: Short
    revision: Short
    timm: Short
    golden: Annotated[tuple[Output, ...], Field(min_length=1, max_length=MAX_VALUES)]

    def to_dict(self) -> dict[str, object]:
        """JSON-ready; the inverse of `read_contract`."""
        return {**asdict(self), "golden": list(self.golden)}


_CONTRACT = TypeAdapter(EncoderContract)


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


def read_contract(values: object) -> EncoderContract | None:
    """Parse the contract in a file; return None if there is none or it is invalid."""
    try:
        return parse_plain(_CONTRACT, values) if isinstance(values, Mapping) else None
    except FormatError:
        return None


def difference(one: EncoderContract, other: EncoderContract) -> float:
    """Return the relative difference of two golden vectors; infinity if they have different shapes."""
    if (one.size, one.dim, len(one.golden)) != (other.size, other.dim, len(other.golden)):
        return math.inf
    a, b = np.array(one.golden), np.array(other.golden)
    return float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), 1e-12)


def find_breach(stated: EncoderContract | None, measured: EncoderContract) -> str:
    """Describe how an encoder differs from its stated contract.

    Parameters
    ----------
    stated
        The contract in a file; None if the file has none.
    measured
        The contract of the loaded encoder.

    Returns
    -------
    str
        The difference; "" if there is none.
    """
    if stated is None or (found := difference(stated, measured)) <= TOLERANCE:
        return ""
    amount = f"by {found:.1%}" if math.isfinite(found) else "in shape"
    return (
        f"the embedding of a fixed image differs {amount} from the one recorded with timm {stated.timm} "
        f"(installed: timm {measured.timm})"
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
