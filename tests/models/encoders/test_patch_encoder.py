"""Patches are encoded in batches that fit the device."""

import logging

import numpy as np
import pytest
import torch
from torch import Tensor

from lrmil.errors import ConfigError
from lrmil.models.encoders.loading import (
    PatchEncoder,
    as_input,
)
from support.hungry import Hungry
from support.runs import tiny_encoder

CPU = torch.device("cpu")


def pixels(count: int, size: int = 64, seed: int = 0) -> Tensor:
    """(b, 3, size, size) uint8 noise on a gradient, each patch of its own brightness."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randint(0, 100, (count, 3, size, size), generator=generator)
    return (noise + torch.linspace(0, 150, count)[:, None, None, None]).to(torch.uint8)


class TestPatchEncoder:
    @pytest.mark.parametrize("name", ["test_vit", "test_convnext", "test_resnet"])
    def test_the_batch_size_does_not_matter(self, name: str) -> None:
        batch = pixels(67).permute(0, 2, 3, 1).contiguous().numpy()
        encoder = tiny_encoder(name)
        results = [PatchEncoder(encoder, CPU, batch_size=size, layers=(0, -1))(batch) for size in (1, 3, 64)]
        with torch.inference_mode():
            plain = encoder(as_input(torch.from_numpy(batch), CPU), (0, -1))
        for embeddings, tokens in results:
            assert embeddings.dtype == np.float32
            np.testing.assert_allclose(embeddings, plain.embedding.numpy(), rtol=1e-5, atol=1e-5)
            for found, expected in zip(tokens, plain.class_tokens, strict=True):
                np.testing.assert_allclose(found, expected.numpy(), rtol=1e-5, atol=1e-5)

    def test_the_batch_is_halved_until_it_fits_and_that_is_said_once(self, caplog: pytest.LogCaptureFixture) -> None:
        batch = pixels(50, 8).permute(0, 2, 3, 1).contiguous().numpy()
        plenty = PatchEncoder(Hungry(1000), CPU, batch_size=32, layers=(2,))(batch)  # type: ignore[arg-type]
        encoder = PatchEncoder(Hungry(20), CPU, batch_size=32, layers=(2,))  # type: ignore[arg-type]
        with caplog.at_level(logging.WARNING):
            first, second = encoder(batch), encoder(batch)
        assert encoder.batch_size == 16 and encoder.encoder.seen == [16, 16, 16, 2] * 2
        assert [record.getMessage() for record in caplog.records] == [
            "Not enough memory on cpu: the batch is now 16 patches."
        ]
        for found in (first, second):
            assert np.array_equal(found[0], plenty[0]) and np.array_equal(found[1][0], plenty[1][0])

    def test_one_patch_that_does_not_fit_is_an_error(self) -> None:
        batch = np.zeros((3, 8, 8, 3), np.uint8)
        with pytest.raises(ConfigError, match=r"cpu .*64 px"):
            PatchEncoder(Hungry(0), CPU, batch_size=4)(batch)  # type: ignore[arg-type]

    def test_an_empty_batch_size_is_refused(self) -> None:
        with pytest.raises(ConfigError, match=r"at least 1 .*0"):
            PatchEncoder(tiny_encoder(), CPU, batch_size=0)
