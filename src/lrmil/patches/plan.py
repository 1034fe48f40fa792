"""Which patches of a slide a model sees: resolution, size, children, tissue."""

from dataclasses import dataclass, replace

from lrmil.patches.layout import Patches, make_patches
from lrmil.patches.tissue import Tissue, tissue_of
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource as SlideSource


@dataclass(frozen=True, slots=True)
class PatchPlan:
    """Which patches of a slide are meant.

    Attributes
    ----------
    mpp
        LR resolution in um/px; the grid and its tissue rule are those of the LR patches.
    size
        P, patch side in pixels.
    children
        s; 1 where no HR patches are paired.
    min_tissue, min_tissue_hr
        As in `make_patches`.
    max_failed
        Fraction of unreadable patches above which the slide fails.
    """

    mpp: float
    size: int
    children: int = 1
    min_tissue: float = 0.25
    min_tissue_hr: float = 0.25
    max_failed: float = 0.2


def patches_of(slide: Slide, plan: PatchPlan, given: Tissue | None = None) -> Patches:
    """Lay the paired grid of `plan` over the tissue, which is found where it is not given."""
    tissue = tissue_of(slide, None) if given is None else given
    patches = make_patches(
        slide,
        tissue.mask,
        unread=tissue.unread,
        mpp=plan.mpp,
        size=plan.size,
        children=plan.children,
        min_tissue=plan.min_tissue,
        min_tissue_hr=plan.min_tissue_hr,
    )
    return replace(patches, notes=tissue.notes)
