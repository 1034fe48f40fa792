"""Encode numpy patches on a device, in batches that fit its memory."""

import logging
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lrmil.errors import ConfigError, EncoderError
from lrmil.models.devices import mixed_precision, on_device
from lrmil.models.encoders.network import Encoder
from lrmil.models.finite import require_finite

log = logging.getLogger(__name__)


class PatchEncoder:
    """An encoder on a device; it halves its batch when memory runs out, and logs that once.

    The embedding of a patch does not depend on the other patches of its batch, so results do not depend on its size.
    The encoder that was given stays as it is (`lrmil.models.devices.on_device`).
    """

    def __init__(
        self, encoder: Encoder, device: torch.device, *, batch_size: int, layers: tuple[int, ...] = ()
    ) -> None:
        if batch_size < 1:
            raise ConfigError(f"Expected a batch of at least 1 patch. Got {batch_size}.")
        self.encoder = on_device(encoder, device)
        self.device = device
        self.batch_size = batch_size
        self.layers = layers

    def __call__(self, pixels: NDArray[np.uint8]) -> tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]:
        """Encode patches.

        Parameters
        ----------
        pixels
            (b, P, P, 3) uint8 RGB.

        Returns
        -------
        tuple
            (b, d) embeddings, and the (b, d_l) class tokens of each layer.

        Raises
        ------
        ModelError
            If an output is not finite.
        ConfigError
            If one patch does not fit the memory of the device.
        EncoderError
            If the network fails on the device.
        """
        outputs = list(self._encode(torch.from_numpy(pixels)))
        embeddings = np.concatenate([embedding for embedding, _ in outputs])
        layers = tuple(np.concatenate(parts) for parts in zip(*(tokens for _, tokens in outputs), strict=True))
        require_finite(f"the encoder {self.encoder.spec.architecture}", embeddings, *layers)
        return embeddings, layers

    @torch.inference_mode()
    def _encode(self, pixels: Tensor) -> Iterator[tuple[NDArray[np.float32], tuple[NDArray[np.float32], ...]]]:
        start = 0
        while start < len(pixels):
            part = pixels[start : start + self.batch_size]
            try:
                with mixed_precision(self.device):
                    output = self.encoder(as_input(part, self.device), self.layers)
            except torch.OutOfMemoryError:
                if self.batch_size == 1:
                    raise ConfigError(
                        f"{self.device} has no memory left for one patch of {self.encoder.spec.size} px. Close other "
                        "programs that use it, or pass another device."
                    ) from None
                self.batch_size //= 2
                torch.cuda.empty_cache()
                log.warning("Not enough memory on %s: the batch is now %d patches.", self.device, self.batch_size)
                continue
            except (RuntimeError, ValueError, TypeError, LookupError, AssertionError) as error:
                if isinstance(error, EncoderError) or "memory" in str(error):
                    raise
                reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
                raise EncoderError(
                    f"The encoder {self.encoder.spec.architecture} failed on {self.device}: {reason}. The slides are "
                    "not the cause; pass another device, or install a torch that supports it."
                ) from error
            yield _to_numpy(output.embedding), tuple(map(_to_numpy, output.class_tokens))
            start += len(part)


def as_input(pixels: Tensor, device: torch.device) -> Tensor:
    """Convert patches to the input of an encoder on a device.

    Parameters
    ----------
    pixels
        (b, P, P, 3) uint8.

    Returns
    -------
    Tensor
        (b, 3, P, P) uint8, channels-last in memory, which is twice as fast on a CPU.
    """
    return pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)


def _to_numpy(values: Tensor) -> NDArray[np.float32]:
    return values.float().cpu().numpy()
