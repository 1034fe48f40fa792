"""The prediction of a slide in the making: what is known before its patches are read, and what follows from them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from lrmil.features.appearance import appearance
from lrmil.features.encoding import Encoded, concatenate
from lrmil.features.slide_features import unreadable_note
from lrmil.models.bundle import Bundle
from lrmil.models.familiarity import unfamiliar
from lrmil.models.heads.head import BagOutput, MILHead, predict_bag
from lrmil.patches.layout import Patches
from lrmil.patches.tissue import Tissue
from lrmil.prediction.attention import attention_raster
from lrmil.prediction.prediction import Prediction
from lrmil.slides.slide import Slide


@dataclass(frozen=True, slots=True)
class Unfinished:
    """What is known of a slide before its patches are read.

    Attributes
    ----------
    slide, bundle
        The open slide and the model.
    mil
        The MIL of the model, on the CPU.
    patches, tissue, tissue_source
        What is to be read, and the tissue and its origin as in `Prediction`.
    bytes_before
        Bytes that had been read from the slide before.
    """

    slide: Slide
    bundle: Bundle
    mil: MILHead
    patches: Patches
    tissue: Tissue
    tissue_source: str
    bytes_before: int | None

    def partial(self, parts: Sequence[Encoded]) -> Prediction:
        """Return the prediction after some batches, with status "partial"."""
        seen = [part for part in parts if len(part.positions)]
        failed = sum(len(part.failed) for part in parts)
        if not seen:
            return self._prediction(np.zeros(0, np.int64), np.zeros(0), failed, status="partial")
        encoded = concatenate(parts)
        output = predict_bag(self.mil, torch.from_numpy(encoded.embeddings))
        return self._prediction(encoded.positions, output.attention, failed, status="partial")

    def complete(
        self, encoded: Encoded, output: BagOutput, *, uncertain_below: float, timings: dict[str, float]
    ) -> Prediction:
        """Return the prediction from all patches and what the MIL gives for them.

        Parameters
        ----------
        encoded, output
            The patches, and what the MIL gives.
        uncertain_below
            As in `PredictOptions`.
        timings
            As in `Prediction`.
        """
        task = self.bundle.task
        said = task.answer(self.bundle.values(output.logits), self.bundle.decision, uncertain_below=uncertain_below)
        look = appearance(encoded.colours, encoded.embeddings)
        failed = len(encoded.failed) + self.patches.undecided
        total = len(self.patches) + self.patches.undecided
        answer = said.with_doubts(unfamiliar(self.bundle.familiarity, look, patches=total, failed=failed))
        found = self._prediction(encoded.positions, output.attention, len(encoded.failed), status=answer.status)
        return replace(
            found,
            label=answer.label,
            probabilities=answer.values,
            timings=timings,
            threshold=self.bundle.decision.threshold,
            reasons=answer.reasons,
            plausible=answer.plausible,
            appearance=look,
        )

    def _prediction(
        self,
        positions: NDArray[np.int64],
        attention: NDArray[np.float64],
        failed: int,
        *,
        status: str,
    ) -> Prediction:
        slide, patches = self.slide, self.patches
        failed += patches.undecided
        of_all = np.full(len(patches), np.nan)
        of_all[positions] = attention
        cell_mm = [side * slide.mpp / 1000 for side in self.tissue.mask.cell_yx]
        return Prediction(
            slide_id=slide.slide_id,
            label="",
            probabilities={},
            status=status,
            attention=attention_raster(
                of_all, patches.index, step_level0=patches.size_level0, origin_yx=patches.grid.origin_yx
            ),
            patches=Patches(patches.grid, 1, patches.index[positions], patches.children_covered[positions]),
            patch_attention=attention,
            mpp=slide.mpp,
            mpp_source=str(slide.mpp_source),
            tissue_mm2=float(np.count_nonzero(self.tissue.mask.array) * cell_mm[0] * cell_mm[1]),
            tissue_source=self.tissue_source,
            timings={},
            failed_patches=failed,
            bytes_read=None if slide.bytes_read is None else slide.bytes_read - (self.bytes_before or 0),
            slide_fingerprint=slide.fingerprint,
            bundle_sha256=self.bundle.sha256,
            notes=(
                *slide.notes,
                *self.tissue.notes,
                *unreadable_note(failed, len(patches) + patches.undecided),
                *self.bundle.notes_on(slide.fingerprint, slide.scanner),
            ),
            checksum=slide.checksum,
            task=self.bundle.task,
            regions=self.tissue.regions,
        )
