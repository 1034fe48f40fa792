"""The settings that decide which patches of a slide a model sees, and the patches they give."""

from dataclasses import dataclass, replace

from lrmil.patches.layout import Patches, make_patches
from lrmil.patches.tissue import Tissue, tissue_of
from lrmil.slides.slide import Slide


@dataclass(frozen=True, slots=True)
class PatchPlan:
    """Settings that decide which patches of a slide a model sees.

    Attributes
    ----------
    mpp
        LR resolution in um/px; the grid and its tissue rule are those of the LR patches.
    size
        P, patch side in pixels.
    children
        s, HR children along a side of an LR patch; 1 if no HR patches are paired.
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


def patches_of(slide: Slide, plan: PatchPlan, tissue: Tissue | None = None) -> Patches:
    """Lay the paired grid of `plan` over the tissue of a slide.

    Parameters
    ----------
    slide
        An open slide with a known resolution.
    plan
        Resolution, size and limits of the patches.
    tissue
        The tissue, as from `tissue_of`; None finds it.

    Returns
    -------
    Patches
        With the notes on the tissue.

    Raises
    ------
    ResolutionError
        If the slide has no resolution or is more than 10 % coarser than the plan's.
    SlideError
        If the slide cannot be read, or is larger than a microscope slide.
    """
    found = tissue_of(slide, None) if tissue is None else tissue
    patches = make_patches(
        slide,
        found.mask,
        unread=found.unread,
        mpp=plan.mpp,
        size=plan.size,
        children=plan.children,
        min_tissue=plan.min_tissue,
        min_tissue_hr=plan.min_tissue_hr,
    )
    return replace(patches, notes=found.notes)
