"""Keep where the patches of a slide lie, so that its tissue is found once: format lrmil.patches/1 (safetensors)."""

import hashlib
import json
import time
from dataclasses import asdict, astuple, dataclass, fields
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, with_config
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from lrmil.errors import FormatError
from lrmil.geometry import Grid
from lrmil.io import atomic, hashing, untrusted
from lrmil.io.ownership import is_patches
from lrmil.io.plain_data import CLOSED, Number, Text, Whole, parse_plain
from lrmil.patches.layout import Patches
from lrmil.patches.plan import PatchPlan, patches_of
from lrmil.slides.parts import changed_at
from lrmil.slides.slide import Slide

FORMAT = "lrmil.patches/1"

Length = Annotated[Number, Field(gt=0)]
Count = Annotated[Whole, Field(ge=1)]


@with_config(CLOSED)
@dataclass(frozen=True, slots=True)
class PatchesCard:
    """What the file of a slide's patches states beside them.

    Attributes
    ----------
    slide_id
        The slide.
    key
        Hash of everything that the patches depend on.
    mpp, size, children
        Resolution in um/px and side in pixels of the LR patches, and HR children along a side.
    slide_mpp, origin_yx
        Resolution of level 0 in um/px, and its pixel where the lattice begins.
    notes
        Sentences about the tissue.
    seconds, bytes_read
        Time and bytes that it took to find the tissue; bytes are None where the reader does not count them.
    sha256
        Hash of the other attributes and of the arrays.
    """

    slide_id: Text
    key: Text
    mpp: Length
    size: Count
    children: Count
    slide_mpp: Length
    origin_yx: tuple[Whole, Whole]
    notes: tuple[Text, ...]
    seconds: Number
    bytes_read: Whole | None
    sha256: Text = ""


_CARD = TypeAdapter(PatchesCard)


class Found(NamedTuple):
    """The patches of a slide, and what it took to find them."""

    path: Path
    """Their file."""
    card: PatchesCard
    patches: Patches
    is_kept: bool
    """Whether they were read from their file."""
    is_whole: bool = True
    """Whether all of the slide could be read for them, at the level meant for that."""

    @property
    def seconds_before(self) -> float:
        """Seconds that an earlier call took to find them."""
        return self.card.seconds if self.is_kept else 0.0

    @property
    def bytes_before(self) -> int:
        """Bytes that an earlier call read to find them."""
        return (self.card.bytes_read or 0) if self.is_kept else 0


def find_patches(slide: Slide, plan: PatchPlan, path: Path, *, version: int) -> Found:
    """Return the patches of a slide: from their file if they are of the same slide and plan, else from its tissue.

    Parameters
    ----------
    slide
        An open slide with a known resolution.
    plan
        Which patches it has.
    path
        The file, which may be absent, damaged or of something else. It is not written; see `keep_patches`.
    version
        Number that changes when the same slide and plan give other patches.

    Raises
    ------
    ResolutionError, SlideError
        As `patches_of`.
    """
    made_from = [FORMAT, version, slide.fingerprint, changed_at(slide.path), slide.mpp, slide.origin_yx]
    key = hashing.sha256_of([*made_from, slide.dimensions, astuple(plan)])
    try:
        kept = read_patches(path)
        if kept.card.key == key:
            return kept
    except FormatError:
        pass  # absent, damaged or edited
    start, before = time.perf_counter(), slide.bytes_read
    patches = patches_of(slide, plan)
    read = None if before is None or slide.bytes_read is None else slide.bytes_read - before
    card = PatchesCard(
        slide_id=path.stem,
        key=key,
        mpp=plan.mpp,
        size=plan.size,
        children=plan.children,
        slide_mpp=slide.mpp,
        origin_yx=slide.origin_yx,
        notes=patches.notes,
        seconds=time.perf_counter() - start,
        bytes_read=read,
    )
    is_whole = not (slide.damaged or patches.undecided or patches.children_undecided)
    return Found(path, card, patches, is_kept=False, is_whole=is_whole)


def keep_patches(found: Found) -> None:
    """Write the patches of a slide, unless they were read from there.

    Where a repair of the slide could change them, there is no file.

    Raises
    ------
    OverwriteError
        If something else has the name of the file.
    OutputError
        If it cannot be written or removed.
    """
    patches = found.patches
    if found.is_kept:
        return
    if not found.is_whole:
        atomic.remove_ours(found.path, is_patches)
        return
    arrays: dict[str, NDArray[np.generic]] = {"index": patches.index, "children_covered": patches.children_covered}
    stated = asdict(found.card) | {"sha256": _hash_of(found.card, patches)}
    with atomic.replacing(found.path, is_patches) as temporary:
        save_file(
            {name: np.ascontiguousarray(values) for name, values in arrays.items()},
            temporary,
            {"format": FORMAT, "card": json.dumps(stated)},
        )


def read_patches(path: Path) -> Found:
    """Read the patches of a slide.

    Raises
    ------
    FormatError
        If the file is absent, damaged, edited, or of another version.
    """
    try:
        untrusted.read_header(path)
        with safe_open(path, framework="numpy") as file:
            stated: dict[str, str] = file.metadata() or {}
            index, covered = file.get_tensor("index"), file.get_tensor("children_covered")
        if stated.get("format") != FORMAT:
            raise ValueError(f"its format is {stated.get('format')!r:.80}, not {FORMAT}")
        card = parse_plain(_CARD, untrusted.parse_json(stated["card"].encode(), path))
        shapes = index.shape == (len(index), 2) and covered.shape == (len(index), card.children**2)
        if not shapes or index.dtype != np.int32 or covered.dtype != np.bool_:
            raise ValueError("its arrays have another shape or type")
        patches = Patches(_grid_of(card), card.children, index, covered, notes=card.notes)
        if card.sha256 != _hash_of(card, patches):
            raise ValueError("its content does not agree with its hash")
    except (OSError, ValueError, KeyError, SafetensorError) as error:  # errors of format are ValueErrors
        raise FormatError(
            f"The patches in {path} cannot be read: {error}. Delete this file, then rerun the same command."
        ) from error
    return Found(path, card, patches, is_kept=True)


def _grid_of(card: PatchesCard) -> Grid:
    return Grid(card.mpp, card.size, card.slide_mpp, card.origin_yx)


def _hash_of(card: PatchesCard, patches: Patches) -> str:
    stated: list[Any] = [getattr(card, one.name) for one in fields(card) if one.name != "sha256"]
    contents = (patches.index.tobytes(), patches.children_covered.tobytes())
    return hashing.sha256_of([*stated, *(hashlib.sha256(content).hexdigest() for content in contents)])
