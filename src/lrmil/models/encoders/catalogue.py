"""Encoders made for pathology that timm can build, with their known properties.

Values come from the encoders' cards and from the loaders of TRIDENT, eva and STAMP. None means that these state
nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
BIOPTIMUS = ((0.707223, 0.578729, 0.703617), (0.211883, 0.230117, 0.177517))
LUNIT = ((0.70322989, 0.53606487, 0.66096631), (0.21716536, 0.26081574, 0.20723464))
Arguments = tuple[tuple[str, int | float | str | bool], ...]


@dataclass(frozen=True, slots=True)
class CatalogueEntry:
    """Known properties of an encoder; None means unknown.

    Attributes
    ----------
    title
        Name as its authors write it.
    hub_id
        Repository on the Hugging Face hub.
    architecture, arguments
        timm model name and its arguments. The architecture is None if only the configuration on the hub states it.
        Layers are names of `spec.LAYERS`.
    embedding, dim
        Embedding of a patch that its authors use (cls | mean | cls+mean | pooled), and its dimension.
    mean, std
        Normalisation of the RGB input scaled to 0..1.
    size
        Side of its input in pixels.
    mpp
        um/px of its training images, if that is one value.
    licence
        Terms of its weights.
    gated
        True if the hub requires an approved request for the weights.
    inherits
        True if its terms extend to a model that is trained on its outputs.
    revision
        Commit of the hub's repository that other tools use.
    """

    title: str
    hub_id: str
    architecture: str | None
    arguments: Arguments
    embedding: str
    dim: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    size: int
    mpp: float | None
    licence: str | None
    gated: bool | None
    inherits: bool | None
    revision: str | None = None


SCALED = ("init_values", 1e-5)  # LayerScale, which the hub's configuration does not state
DYNAMIC = ("dynamic_img_size", True)
SWIGLU = (("mlp_layer", "SwiGLUPacked"), ("act_layer", "SiLU"))
UNI2_H: Arguments = (
    ("patch_size", 14),
    ("depth", 24),
    ("num_heads", 24),
    SCALED,
    ("embed_dim", 1536),
    ("mlp_ratio", 5.33334),
    ("no_embed_class", True),
    *SWIGLU,
    ("reg_tokens", 8),
    DYNAMIC,
)
VIRCHOW: Arguments = (*SWIGLU, SCALED, ("mlp_ratio", 5.3375), ("global_pool", ""), DYNAMIC)
GIGAPATH: Arguments = (
    ("patch_size", 16),
    ("embed_dim", 1536),
    ("depth", 40),
    ("num_heads", 24),
    ("mlp_ratio", 5.33334),
)
KAIKO = "towards_large_pathology_fms"


def _kaiko(title: str, network: str, dim: int) -> CatalogueEntry:
    hub_id = f"1aurent/{network}.kaiko_ai_{KAIKO}"
    licence = "kaiko-non-commercial"
    return CatalogueEntry(
        title, hub_id, network, (DYNAMIC,), "cls", dim, *HALF, 224, None, licence, gated=False, inherits=None
    )


def _lunit(title: str, network: str) -> CatalogueEntry:
    hub_id = f"1aurent/{network}.lunit_dino"
    licence = "lunit-non-commercial"
    return CatalogueEntry(
        title, hub_id, network, (DYNAMIC,), "cls", 384, *LUNIT, 224, None, licence, gated=False, inherits=None
    )


NC_ND = "CC-BY-NC-ND-4.0"
REG4_G14 = "vit_giant_patch14_reg4_dinov2"
SMALL = "vit_small_patch16_224"
CATALOGUE: Mapping[str, CatalogueEntry] = MappingProxyType(
    {
        "uni": CatalogueEntry(
            "UNI", "MahmoodLab/uni", "vit_large_patch16_224", (SCALED, DYNAMIC), "cls", 1024, *IMAGENET, 224, 0.5,
            NC_ND, gated=True, inherits=True, revision="77ffbca1ee1cdcee6e87f6deebd2db8a5888c721",
        ),
        "uni2-h": CatalogueEntry(
            "UNI2-h", "MahmoodLab/UNI2-h", "vit_giant_patch14_224", UNI2_H, "cls", 1536, *IMAGENET, 224, 0.5,
            NC_ND, gated=True, inherits=True,
        ),
        "virchow": CatalogueEntry(
            "Virchow", "paige-ai/Virchow", "vit_huge_patch14_224", VIRCHOW, "cls+mean", 2560, *IMAGENET, 224, 0.5,
            "Apache-2.0 and the terms on its card", gated=True, inherits=None,
        ),
        "virchow2": CatalogueEntry(
            "Virchow2", "paige-ai/Virchow2", "vit_huge_patch14_224", (*VIRCHOW, ("reg_tokens", 4)), "cls+mean", 2560,
            *IMAGENET, 224, None, NC_ND, gated=True, inherits=True,
        ),
        "h-optimus-0": CatalogueEntry(
            "H-optimus-0", "bioptimus/H-optimus-0", REG4_G14, (SCALED,), "cls", 1536, *BIOPTIMUS, 224, 0.5,
            "Apache-2.0", gated=False, inherits=False,
        ),
        "h-optimus-1": CatalogueEntry(
            "H-optimus-1", "bioptimus/H-optimus-1", REG4_G14, (SCALED,), "cls", 1536, *BIOPTIMUS, 224, None,
            NC_ND, gated=True, inherits=None,
        ),
        "h0-mini": CatalogueEntry(
            "H0-mini", "bioptimus/H0-mini", None, (*SWIGLU, DYNAMIC), "cls", 768, *BIOPTIMUS, 224, 0.5,
            NC_ND, gated=True, inherits=True,
        ),
        "prov-gigapath": CatalogueEntry(
            "Prov-GigaPath, tile encoder", "prov-gigapath/prov-gigapath", "vit_giant_patch14_dinov2", GIGAPATH, "cls",
            1536, *IMAGENET, 224, 0.5, "Apache-2.0 with conditions: research only", gated=True, inherits=None,
        ),
        "phikon": CatalogueEntry(
            "Phikon, timm mirror", "1aurent/vit_base_patch16_224.owkin_pancancer", "vit_base_patch16_224", (), "cls",
            768, *IMAGENET, 224, 0.5, "Owkin non-commercial", gated=False, inherits=None,
        ),
        "gpfm": CatalogueEntry(
            "GPFM", "majiabo/GPFM", "vit_large_patch14_dinov2", (SCALED, DYNAMIC), "cls", 1024, *IMAGENET, 224, 0.5,
            NC_ND, gated=False, inherits=None,
        ),
        "kaiko-vits16": _kaiko("Kaiko ViT-S/16", SMALL, 384),
        "kaiko-vitb16": _kaiko("Kaiko ViT-B/16", "vit_base_patch16_224", 768),
        "kaiko-vits8": _kaiko("Kaiko ViT-S/8", "vit_small_patch8_224", 384),
        "kaiko-vitb8": _kaiko("Kaiko ViT-B/8", "vit_base_patch8_224", 768),
        "kaiko-vitl14": _kaiko("Kaiko ViT-L/14", "vit_large_patch14_reg4_dinov2", 1024),
        "lunit-vits16": _lunit("Lunit DINO ViT-S/16", SMALL),
        "lunit-vits8": _lunit("Lunit DINO ViT-S/8", "vit_small_patch8_224"),
        "distillpath-ks16-hopt0": CatalogueEntry(
            "DistillPath-KS16-HOpt0", "RamonK/DistillPath-KS16-HOpt0", SMALL, (), "cls", 384, *HALF, 224, None,
            None, gated=False, inherits=None,
        ),
        "distillpath-is16-hopt0": CatalogueEntry(
            "DistillPath-IS16-HOpt0", "RamonK/DistillPath-IS16-HOpt0", SMALL, (), "cls", 384, *IMAGENET, 224, None,
            None, gated=False, inherits=None,
        ),
    }
)  # fmt: skip

TRANSFORMERS = "its weights are for the transformers library, whose names differ from timm's"
OWN_CODE = "it needs code from its repository, which is never run"
UNSUPPORTED: Mapping[str, str] = MappingProxyType(
    {
        "phikon-v2": TRANSFORMERS,
        "midnight-12k": TRANSFORMERS,
        "ctranspath": "it has a layer (ConvStem) that is not part of timm",
        "xmag": OWN_CODE,
        "conch": OWN_CODE,
        "conch-v1.5": OWN_CODE,
        "hibou-b": OWN_CODE,
        "hibou-l": OWN_CODE,
        "openmidnight": "the names in its checkpoint differ from timm's",
        "resnet50-in": "its embedding comes from a truncated network; resnet50.tv_in1k is the whole network",
    }
)


def find_by_hub_id(hub_id: str) -> tuple[str, CatalogueEntry] | None:
    """Return name and entry of a repository on the hub, ignoring case; None if the catalogue lacks it."""
    wanted = hub_id.partition("@")[0].casefold()
    return next(((name, entry) for name, entry in CATALOGUE.items() if entry.hub_id.casefold() == wanted), None)


def catalogue_facts(name: str) -> dict[str, object]:
    """Return the facts that the catalogue has about one of its encoders, JSON-ready."""
    entry: CatalogueEntry = CATALOGUE[name]
    return {
        "name": name,
        "title": entry.title,
        "hub_id": entry.hub_id,
        "architecture": entry.architecture,
        "arguments": dict(entry.arguments),
        "embedding": entry.embedding,
        "dim": entry.dim,
        "mean": list(entry.mean),
        "std": list(entry.std),
        "patch_px": entry.size,
        "mpp": entry.mpp,
        "licence": entry.licence,
        "gated": entry.gated,
        "student_inherits": entry.inherits,
        "revision": entry.revision,
    }
