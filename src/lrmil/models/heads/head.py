"""What every MIL head is: patch embeddings of one slide become logits and the attention on each patch."""

from collections.abc import Iterator
from typing import ClassVar, NamedTuple, Protocol, Self, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lrmil.models.finite import require_finite


class MILOutput(NamedTuple):
    """Named outputs of a MIL model, for one bag (n patches) or a masked batch (b, n)."""

    logits: Tensor
    """(c,) or (b, c) logits, one for each output of the task."""
    attention_logits: Tensor
    """(n,) or (b, n) attention logits e_n; softmax over the bag gives attention. -inf where masked."""
    embedding: Tensor
    """(h,) or (b, h) bag embedding z."""


@runtime_checkable
class MILHead(Protocol):
    """What the rooms above ask of a head; a head is a torch module that has these, and is listed in `heads.choice`."""

    name: ClassVar[str]
    """Name in files."""
    in_dim: int
    """Dimension of a patch embedding."""
    outputs: int
    """Number of logits."""

    def __call__(self, bag: Tensor, mask: Tensor | None = None) -> MILOutput:
        """Return what one bag (n, d) gives, or a batch (b, n, d) with `mask` (b, n) true where a patch is real."""
        ...

    def standardise(self, mean: Tensor, deviation: Tensor) -> None:
        """Fix a standardisation of the inputs: their mean and deviation (d,)."""
        ...

    def eval(self) -> Self:
        """Switch dropout off, as `torch.nn.Module.eval`."""
        ...

    def parameters(self) -> Iterator[nn.Parameter]:
        """As `torch.nn.Module.parameters`."""
        ...

    def buffers(self) -> Iterator[Tensor]:
        """As `torch.nn.Module.buffers`."""
        ...

    def modules(self) -> Iterator[nn.Module]:
        """As `torch.nn.Module.modules`."""
        ...

    def state_dict(self) -> dict[str, Tensor]:
        """Return the weights by name."""
        ...


@runtime_checkable
class HasAuxiliaryLoss(Protocol):
    """What a head offers that learns from more than the loss of its logits."""

    def auxiliary_loss(self, bag: Tensor, output: MILOutput, target: object) -> Tensor:
        """Return a loss () that is added to the others in training.

        Parameters
        ----------
        bag
            (n, d) embeddings of one slide.
        output
            What the head gave for them.
        target
            The label as the task's loss needs it; of a classification, the position of the class.
        """
        ...


class BagOutput(NamedTuple):
    """What a head gives for one slide; `lrmil.tasks.task.Task.values` says what the logits stand for."""

    logits: NDArray[np.float32]
    """(c,)"""
    attention_logits: NDArray[np.float32]
    """(n,)"""

    @property
    def attention(self) -> NDArray[np.float64]:
        """(n,) softmax of the attention logits; sums to 1."""
        weights = np.exp(self.attention_logits.astype(float) - self.attention_logits.max())
        return np.asarray(weights / weights.sum())


@torch.inference_mode()
def predict_bag(mil: MILHead, embeddings: Tensor) -> BagOutput:
    """Logits and attention logits of one slide's (n, d) embeddings.

    Raises
    ------
    ModelError
        If they are no finite numbers.
    """
    mil.eval()
    output = mil(embeddings)
    logits, attention_logits = output.logits.float().cpu().numpy(), output.attention_logits.float().cpu().numpy()
    require_finite("the attention network", logits, attention_logits)
    return BagOutput(logits, attention_logits)
