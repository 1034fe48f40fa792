"""What an answer keeps of a closer look by the teacher (`lrmil.prediction.closer_look`)."""

from dataclasses import asdict
from typing import Annotated

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass

Text = Annotated[str, Field(strict=True, max_length=1000)]
Texts = Annotated[tuple[Text, ...], Field(max_length=1000)]
Number = Annotated[float, Field(strict=True, ge=0, le=1e9)]
Share = Annotated[Number, Field(le=1)]
Count = Annotated[int, Field(strict=True, ge=0, le=1 << 40)]


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid", allow_inf_nan=False))
class Escalation:
    """What a closer look cost, and what the student had answered; JSON-ready by `to_dict`.

    Attributes
    ----------
    label, probabilities, threshold, reasons, plausible
        The student's answer, as in `lrmil.prediction.prediction.Prediction`.
    regions
        LR patches that the teacher looked into.
    mpp
        Resolution of its patches, um/px.
    patches, failed_patches
        Patches that it read, and others that could not be read.
    bytes_read
        Compressed bytes read from the file for it; None where the reader does not count them.
    seconds
        How long it took.
    """

    label: Text
    probabilities: Annotated[dict[Text, Number], Field(min_length=1, max_length=1000)]
    threshold: Share | None
    reasons: Texts
    plausible: Texts | None
    regions: Count
    mpp: Number
    patches: Count
    failed_patches: Count
    bytes_read: Count | None
    seconds: Number

    def to_dict(self) -> dict[str, object]:
        """Return it JSON-ready."""
        return asdict(self)

    @property
    def sentence(self) -> str:
        """What it cost, in words."""
        return (
            f"The teacher looked closer at {self.regions} region{'' if self.regions == 1 else 's'}: {self.patches} "
            f"patches at {self.mpp:g} um/px, {self.seconds:.1f} s."
        )
