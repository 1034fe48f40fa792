"""Read the JSON document of a saved prediction, which may have been edited since it was written."""

from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from lrmil.errors import FormatError
from lrmil.features.appearance import LENGTH
from lrmil.geometry import Grid
from lrmil.models.familiarity import Number
from lrmil.patches.drawn_regions import RegionsUsed
from lrmil.patches.layout import MAX_CELLS, Patches
from lrmil.prediction.escalation import Escalation
from lrmil.raster import Raster
from lrmil.slides.checksums import NOT_COMPARED
from lrmil.slides.resolution import ASKED_MPP
from lrmil.tasks.choice import task_in, task_of_values
from lrmil.tasks.task import Task

MAX_SIDE = 1 << 32  # level-0 pixels of a patch or an offset
MAX_MM2 = 1e6  # ten times a slide of 300 mm x 300 mm
MAX_SECONDS = 1e9
ATTENTION_ROUNDING = 1e-3  # of a sum of up to millions of float32 values
LATTICE_ROUNDING = 1e-3  # of a cell; maps are in um, patches in pixels

Text = Annotated[str, Field(max_length=1000)]
Mpp = Annotated[float, Field(ge=ASKED_MPP[0], le=ASKED_MPP[1])]
Seconds = Annotated[float, Field(ge=0, le=MAX_SECONDS)]
Corner = Annotated[int, Field(ge=-MAX_SIDE, le=MAX_SIDE)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class SavedGrid(_Strict):
    """The lattice of the patches."""

    mpp: Mpp
    slide_mpp: Mpp
    size: Annotated[int, Field(ge=1, le=MAX_SIDE)]
    origin_yx: Annotated[list[Corner], Field(min_length=2, max_length=2)]

    @property
    def grid(self) -> Grid:
        """The lattice itself."""
        return Grid(self.mpp, self.size, self.slide_mpp, (self.origin_yx[0], self.origin_yx[1]))


class SavedAnswer(_Strict):
    """The values of `lrmil.prediction.prediction.Prediction` except its arrays."""

    slide_id: Text
    label: Text
    probabilities: Annotated[dict[Text, float], Field(min_length=1, max_length=1000)]
    status: Literal["ok", "uncertain", "escalated"]
    mpp: Mpp
    mpp_source: Text
    tissue_mm2: Annotated[float, Field(ge=0, le=MAX_MM2)]
    tissue_source: Literal["segmented", "given"]
    timings: Annotated[dict[Text, Seconds], Field(max_length=100)]
    failed_patches: Annotated[int, Field(ge=0, le=MAX_CELLS)]
    bytes_read: Annotated[int, Field(ge=0)] | None
    slide_fingerprint: Text
    bundle_sha256: Text
    notes: Annotated[list[Annotated[str, Field(max_length=4000)]], Field(max_length=1000)] = []
    checksum: Text = NOT_COMPARED
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    reasons: Annotated[list[Text], Field(max_length=100)] = []
    plausible: Annotated[list[Text], Field(max_length=1000)] | None = None
    appearance: Annotated[list[Number], Field(min_length=LENGTH, max_length=LENGTH)] | None = None
    escalation: Escalation | None = None
    task: dict[str, object] | None = None
    regions: RegionsUsed | None = None

    @model_validator(mode="after")
    def _agrees(self) -> "SavedAnswer":
        task = self.answered
        if self.probabilities.keys() != set(task.names):
            raise ValueError("its values are not those of its task")
        if problem := task.answer_problem(self.label, self.probabilities, self.threshold):
            raise ValueError(problem)
        if self.reasons and self.status != "uncertain":
            raise ValueError("it has reasons to be uncertain, and is not")
        if self.escalation is None and self.status == "escalated":
            raise ValueError("it does not state what the student had answered")
        if self.escalation and (problem := self._problem_before(self.escalation)):
            raise ValueError(problem)
        if "total" not in self.timings:
            raise ValueError("its total time is missing")
        return self

    def _problem_before(self, first: Escalation) -> str:
        if first.probabilities.keys() != self.probabilities.keys():
            return "the values before the closer look are not those of its task"
        return self.answered.answer_problem(first.label, first.probabilities, first.threshold)

    @property
    def answered(self) -> Task:
        """The task; of a card that states none, the classification among the classes that have a probability."""
        return task_of_values(self.probabilities) if self.task is None else task_in(self.task)

    def is_of(self, task: Task) -> bool:
        """Return whether the answer is one of a task, whatever the order of its values."""
        return type(self.answered) is type(task) and self.probabilities.keys() == set(task.names)


class PredictionCard(_Strict):
    """The document."""

    format: Text
    key: Text
    version: Text = ""
    tissue_content: Text = ""
    grid: SavedGrid
    prediction: SavedAnswer
    notice: Text = ""


def patches_in(attention: Raster, grid: Grid) -> tuple[Patches, NDArray[np.float64]]:
    """Return the patches of a saved attention map, and their attention.

    Parameters
    ----------
    attention
        The saved map.
    grid
        The lattice of the card.

    Returns
    -------
    Patches, ndarray of float64
        The n patches, and the (n,) attention of each.

    Raises
    ------
    FormatError
        If the map has no patch, is not on the lattice, or its values do not sum to 1.
    """
    cells = np.argwhere(~np.isnan(attention.array))
    values: NDArray[np.float64] = attention.array[tuple(cells.T)].astype(float)
    first = (np.array(attention.origin_yx, float) - grid.origin_yx) / grid.step_level0
    scale = np.array(attention.cell_yx, float) / grid.step_level0
    if not len(cells) or not np.all(np.abs(first) + len(attention.array) < MAX_CELLS):
        raise FormatError("The attention map has no patch on the slide.")
    if np.abs(first - np.rint(first)).max() > LATTICE_ROUNDING or np.abs(scale - 1).max() > LATTICE_ROUNDING:
        raise FormatError("The attention map is not on the lattice of the patches.")
    if not (np.isfinite(values).all() and values.min() >= 0 and abs(values.sum() - 1) <= ATTENTION_ROUNDING):
        raise FormatError(f"Expected attention of 0 or more that sums to 1. Got a sum of {values.sum()}.")
    index = (cells + np.rint(first).astype(int)).astype(np.int32)
    return Patches(grid, 1, index, np.ones((len(cells), 1), bool)), values
