"""What an encoder promises: how its embedding is made, and the one it gives of a fixed picture.

The same weights give other embeddings when timm comes to compute them in another way. The golden vector tells: it is
kept with what an encoder made, and compared when that is used again.
"""

import copy
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.models.encoders.network import Encoder
from lrmil.models.encoders.terms import EncoderTerms
from lrmil.models.finite import MAX_OUTPUT, require_finite

# Relative difference above which a golden vector is another one. The vector is always computed on the CPU in float32:
# processors and threads differ by 1e-6 to 1e-5, the approximate GELU from the exact one by some 1e-3.
TOLERANCE = 5e-4
MAX_VALUES = 64  # of an embedding, evenly spaced: any change of the computation shows in all of them
MAX_TEXT = 200


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
        What the user called it, and the commit of the hub's repository; "" where that is not known.
    timm
        Version that computed the golden vector.
    golden
        Up to 64 values, evenly spaced, of the embedding of `golden_tile`.
    """

    architecture: str
    embedding: str
    size: int
    dim: int
    source: str
    revision: str
    timm: str
    golden: tuple[float, ...]

    def to_dict(self) -> dict[str, object]:
        """JSON-ready; the inverse of `read_contract`."""
        return {**asdict(self), "golden": list(self.golden)}


def golden_tile(size: int) -> NDArray[np.uint8]:
    """A fixed picture (size, size, 3): slanted bands of three colours with noise, by whole numbers alone."""
    y, x, channel = np.meshgrid(*(np.arange(count, dtype=np.int64) for count in (size, size, 3)), indexing="ij")
    bands = ((5 * x + 3 * y) // 4 + 70 * channel) % 190 + 40
    noise = ((73_856_093 * x) ^ (19_349_663 * y) ^ (83_492_791 * (channel + 1))) >> 7 & 255
    return ((3 * bands + noise) // 4).astype(np.uint8)


def golden_pixels(size: int) -> Tensor:
    """`golden_tile` as a batch (1, 3, size, size)."""
    return torch.from_numpy(golden_tile(size)).permute(2, 0, 1)[None]


def contract_of(encoder: Encoder) -> EncoderContract:
    """Measure an encoder; the forward is on the CPU wherever it lies."""
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
    """Contract that a file states, None where there is none or it is not such."""
    if not isinstance(values, Mapping):
        return None
    texts = {key: values.get(key) for key in ("architecture", "embedding", "source", "revision", "timm")}
    counts = {key: values.get(key) for key in ("size", "dim")}
    golden = values.get("golden")
    fits = all(isinstance(text, str) and len(text) <= MAX_TEXT for text in texts.values())
    fits &= all(type(count) is int and count > 0 for count in counts.values())
    if not fits or not isinstance(golden, list) or not 0 < len(golden) <= MAX_VALUES:
        return None
    if not all(type(value) in (int, float) and abs(value) <= MAX_OUTPUT for value in golden):
        return None
    arguments: dict[str, Any] = {**texts, **counts}
    return EncoderContract(**arguments, golden=tuple(map(float, golden)))


def difference(one: EncoderContract, other: EncoderContract) -> float:
    """Relative difference of two golden vectors; infinite when they do not belong to one encoder."""
    if (one.size, one.dim, len(one.golden)) != (other.size, other.dim, len(other.golden)):
        return math.inf
    a, b = np.array(one.golden), np.array(other.golden)
    return float(np.linalg.norm(a - b)) / max(float(np.linalg.norm(a)), float(np.linalg.norm(b)), 1e-12)


def find_breach(stated: EncoderContract | None, measured: EncoderContract) -> str:
    """What differs between a stated contract and the encoder at hand, in one sentence; "" when nothing does."""
    if stated is None or (found := difference(stated, measured)) <= TOLERANCE:
        return ""
    said = f"by {found:.1%}" if math.isfinite(found) else "in kind"
    return (
        f"the embedding of a fixed picture differs {said} from the one recorded with timm {stated.timm} "
        f"(here is timm {measured.timm})"
    )


def resume_contract(encoder: Encoder, values: object) -> str:
    """Compare a loaded encoder with the contract that its file states, and take its origin from it; see `find_breach`.

    A file of earlier versions states none, which breaks nothing.
    """
    stated = read_contract(values)
    if stated is None:
        return ""
    encoder.terms = EncoderTerms(stated.source, revision=stated.revision)
    breach = find_breach(stated, contract_of(encoder))
    return f"{breach}. Its answers would differ, too: install timm {stated.timm}" if breach else ""


@torch.inference_mode()
def _golden(encoder: Encoder) -> tuple[float, ...]:
    device = next(encoder.parameters()).device
    here = encoder if device.type == "cpu" else copy.deepcopy(encoder).cpu()
    embedding = here(golden_pixels(encoder.spec.size)).embedding[0].numpy()
    require_finite(f"the encoder {encoder.spec.architecture}", embedding)
    positions = np.linspace(0, len(embedding) - 1, min(len(embedding), MAX_VALUES)).round().astype(int)
    return tuple(float(f"{value:.6g}") for value in embedding[positions])
