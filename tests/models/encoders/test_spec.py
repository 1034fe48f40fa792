"""The real size of each encoder, built without its weights."""

from typing import Any

import pytest
import timm
import torch

from lrmil.models.encoders.catalogue import CATALOGUE
from lrmil.models.encoders.network import Encoder
from lrmil.models.encoders.spec import EncoderSpec, built_arguments

# What H0-mini's paper and card say; its architecture is stated by the hub's configuration alone.
H0_MINI: dict[str, Any] = {"reg_tokens": 4, "mlp_ratio": 5.33334, "init_values": 1e-5, "img_size": 224}

REAL_DIMS = {"uni": 1024, "uni2-h": 1536, "virchow": 2560, "virchow2": 2560, "h-optimus-0": 1536, "h0-mini": 768}
REAL_DIMS |= {"h-optimus-1": 1536, "prov-gigapath": 1536, "phikon": 768, "gpfm": 1024, "kaiko-vits16": 384}
REAL_DIMS |= {"kaiko-vitb16": 768, "kaiko-vits8": 384, "kaiko-vitb8": 768, "kaiko-vitl14": 1024, "lunit-vits16": 384}
REAL_DIMS |= {"lunit-vits8": 384, "distillpath-ks16-hopt0": 384, "distillpath-is16-hopt0": 384}

MILLIONS = {"uni": 303, "uni2-h": 681.4, "virchow": 632, "virchow2": 632, "h-optimus-0": 1134, "prov-gigapath": 1135}
MILLIONS |= {"kaiko-vits16": 21.7, "kaiko-vitb8": 85.8, "lunit-vits8": 21.7, "h0-mini": 86, "kaiko-vitl14": 303}


def architecture_of(name: str) -> tuple[str, dict[str, Any]]:
    entry = CATALOGUE[name]
    more = {} if entry.architecture else H0_MINI
    return entry.architecture or "vit_base_patch14_reg4_dinov2", built_arguments(dict(entry.arguments)) | more


@pytest.mark.parametrize("name", CATALOGUE)
def test_its_real_size_has_the_dimension_and_the_weights_that_are_known(name: str) -> None:
    entry = CATALOGUE[name]
    architecture, arguments = architecture_of(name)
    with torch.device("meta"):
        network = timm.create_model(architecture, num_classes=0, **{"img_size": 224, **arguments})
        spec = EncoderSpec(architecture, entry.size, entry.embedding, entry.mean, entry.std, {})
        output = Encoder(spec, network)(torch.zeros(1, 3, entry.size, entry.size), (0, -1))
    assert output.embedding.shape == (1, entry.dim) and entry.dim == REAL_DIMS[name]
    if name in MILLIONS:
        assert sum(value.numel() for value in network.parameters()) / 1e6 == pytest.approx(MILLIONS[name], rel=0.01)
