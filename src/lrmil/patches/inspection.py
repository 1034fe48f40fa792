"""The facts that `lrmil inspect` shows about a slide."""

from lrmil.errors import ResolutionError
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.patches.tissue import GivenMask, Tissue, tissue_of
from lrmil.slides.dicom_head import is_dicom
from lrmil.slides.discovery import slide_file
from lrmil.slides.identity import unchanged
from lrmil.slides.level_choice import far_notes
from lrmil.slides.opening import open_source
from lrmil.slides.slide import Slide
from lrmil.slides.source import SlideSource


def inspect_slide(
    source: SlideSource, *, lr: float, size: int, children: int = 4, mask: GivenMask | None = None
) -> dict[str, object]:
    """Find reader, size, levels, checksum, resolution, tissue area and patch counts of a slide.

    Parameters
    ----------
    source
        The slide, with the um/px and the checksums given for it.
    lr
        LR resolution in um/px.
    size
        Patch side in pixels.
    children
        HR patches along the side of an LR patch.
    mask
        Tissue mask to use instead of `segment_tissue`.

    Returns
    -------
    dict
        Name -> value, JSON-ready. If the resolution is missing or too coarse, "message" says so.

    Raises
    ------
    SlideError
        If the slide cannot be opened, or does not match its checksum.
    """
    with open_source(source) as slide, unchanged(slide):
        facts: dict[str, object] = {
            "format": "dcm" if is_dicom(slide_file(source.path)) else source.path.suffix.lstrip(".").lower(),
            "reader": slide.reader_name,
            "width": slide.dimensions[0],
            "height": slide.dimensions[1],
            "levels": [[level.shape[1], level.shape[0], round(level.downsample, 3)] for level in slide.levels],
            "checksum": slide.checksum,
        } | ({"scanner": str(slide.scanner)} if slide.scanner else {})
        try:
            facts |= {"mpp": slide.mpp, "mpp_source": slide.mpp_source}
        except ResolutionError as error:
            facts |= {"mpp": None, "mpp_source": None, "message": str(error)}
            return {**facts, **({"notes": " ".join(slide.notes)} if slide.notes else {})}
        found = tissue_of(slide, mask)
        facts |= _tissue_facts(slide, found)
        notes = (*slide.notes, *found.notes)
        try:
            facts["lr_level"] = _level_text(slide, lr)
            notes = (*notes, *far_notes(slide.levels, slide.mpp, [lr]))
            patches = patches_of(slide, PatchPlan(lr, size, children), found)
            facts["lr_patches"] = f"{len(patches)} of {size} px at {lr:g} um/px"
            if patches.undecided:
                facts["unreadable"] = f"{patches.undecided} more patches lie in unreadable areas and may contain tissue"
            slide.require_mpp(lr / children)
            covered = int(patches.children_covered.sum())
            facts["hr_patches"] = f"{covered} of {size} px at {lr / children:g} um/px"
        except ResolutionError as error:
            facts["message"] = str(error)
        if notes:
            facts["notes"] = " ".join(notes)
        return facts


def _tissue_facts(slide: Slide, found: Tissue) -> dict[str, object]:
    """Return the area of the tissue, and what was found that is none."""
    cell_um = [side * slide.mpp for side in found.mask.cell_yx]
    area = round(float(found.mask.array.sum()) * cell_um[0] * cell_um[1] / 1e6, 3)
    return {"tissue_mm2": area, **({"not_tissue": found.shares} if found.shares else {})}


def _level_text(slide: Slide, lr: float) -> str:
    level = slide.level_for(lr)
    return f"level {level}, {slide.mpp * slide.levels[level].downsample:.4g} um/px, for {lr:g} um/px"
