"""The answer of a model for one slide, with its provenance."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from lrmil.patches.drawn_regions import RegionsUsed
from lrmil.patches.layout import Patches
from lrmil.prediction.escalation import Escalation
from lrmil.raster import Raster
from lrmil.slides.checksums import NOT_COMPARED
from lrmil.tasks.task import Task


@dataclass(frozen=True, slots=True)
class Prediction:
    """A model's answer for one slide. Model output, not a diagnosis.

    Attributes
    ----------
    slide_id, label, probabilities
        The slide, the class that it is answered with, and the probability of every class. Of a task other than
        classification, what `Task.answer` says: the label in a word, and the values by name.
    status
        "ok", "uncertain" if the model should not answer, for the `reasons`, or "escalated" if its teacher has looked
        closer and answers. "partial" while the slide is read: then there are no label and no probabilities yet, only
        the attention among the patches read so far.
    attention
        Raster over the LR lattice of the tissue: attention (sums to 1 over the slide), NaN where no patch was read.
    patches
        The LR patches that were read, in the order of `patch_attention`.
    patch_attention
        (n,) attention of each.
    mpp, mpp_source
        Resolution of the slide's level 0 and where it was found.
    tissue_mm2, tissue_source
        Area of the tissue mask in mm2, and "segmented" or "given".
    timings
        Stage -> seconds: open, tissue, patches (reading and encoding), mil, closer (the closer look, if there was one),
        write if its files were written, total.
    failed_patches
        Patches that could not be read and were left out. Patches in areas where it is unknown whether there is tissue
        count too.
    bytes_read
        Compressed bytes read from the file; None where the reader does not count them.
    slide_fingerprint, bundle_sha256
        Hashes of the slide and the model.
    notes
        Sentences about how the slide was read, and which parts could not be.
    checksum
        The checksum that the content was compared with (`lrmil.slides.checksums.comparison`), or that it was not. Then
        damage that no decoder detects may affect the answer.
    threshold
        The probability from which on the last of two classes is the label; None for the most probable class.
    reasons
        Why it is uncertain, in the words of `lrmil.tasks.answers.Wording.doubts` and `lrmil.models.familiarity.WORDS`.
    plausible
        The classes in its conformal set; None if the model has no such sets.
    appearance
        What the slide looks like, in numbers (`lrmil.features.appearance`); None in earlier files.
    escalation
        What a closer look by the teacher cost, and what the student had answered; None without one. Label,
        probabilities, threshold, reasons and plausible are those of the teacher then, the attention the student's.
    task
        What is predicted.
    regions
        The regions that it was made in; None for the whole slide.
    """

    slide_id: str
    label: str
    probabilities: dict[str, float]
    status: str
    attention: Raster
    patches: Patches
    patch_attention: NDArray[np.float64]
    mpp: float
    mpp_source: str
    tissue_mm2: float
    tissue_source: str
    timings: dict[str, float]
    failed_patches: int
    bytes_read: int | None
    slide_fingerprint: str
    bundle_sha256: str
    notes: tuple[str, ...] = ()
    checksum: str = NOT_COMPARED
    threshold: float | None = None
    reasons: tuple[str, ...] = ()
    plausible: tuple[str, ...] | None = None
    appearance: tuple[float, ...] | None = None
    escalation: Escalation | None = None
    task: Task = field(kw_only=True)
    regions: RegionsUsed | None = None
