"""The contract of an encoder, as files state it: how its embedding is made, and its embedding of a fixed image.

The same weights can give different embeddings in another version of timm. The golden vector reveals this: it is stored
with features and models, and compared when they are used again.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated

import numpy as np
from pydantic import Field, TypeAdapter

from lrmil.errors import FormatError
from lrmil.io.plain_data import Number, Text, Whole, parse_plain
from lrmil.models.finite import MAX_OUTPUT

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
        Up to 64 values, evenly spaced, of the embedding of `lrmil.models.encoders.golden.golden_tile`.
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
