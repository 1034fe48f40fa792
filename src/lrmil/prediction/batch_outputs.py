"""Where the outputs of a batch of slides are written, and the state of one slide of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lrmil.io import hashing
from lrmil.io.locks import LOCK
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import TABLE, PredictionRow
from lrmil.slides.source import SlideSource


@dataclass(frozen=True, slots=True)
class BatchOutputs:
    """Where the outputs of a batch are written; by default all into one folder.

    Attributes
    ----------
    folder
        Folder of all outputs.
    table
        The table of all slides; None for predictions.csv in `folder`.
    slide_folders
        Slide file -> folder of that slide's files, where it is not `folder`.
    rows
        Rows that the table starts with; see `lrmil.prediction.table.PredictionTable`.
    """

    folder: Path
    table: Path | None = None
    slide_folders: Mapping[Path, Path] = field(default_factory=dict)
    rows: Sequence[PredictionRow] | None = None

    @property
    def lock(self) -> Path:
        """The lock of the table; two tables may be written in one folder at the same time."""
        path = self.table_path
        return path.with_name(f".{hashing.sha256_of(path.name)[:16]}{LOCK}")

    @property
    def table_path(self) -> Path:
        """The table of all slides."""
        return self.table or self.folder / TABLE

    def folder_of(self, source: SlideSource) -> Path:
        """Return the folder of one slide's files."""
        return self.slide_folders.get(source.path, self.folder)


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """The state of one slide of a batch.

    Attributes
    ----------
    source
        The slide.
    row
        Its row of the table; None while the slide is read.
    prediction
        Its answer; None while the slide is read, or if it failed.
    error
        The exception if it failed; None if its name was refused.
    """

    source: SlideSource
    row: PredictionRow | None = None
    prediction: Prediction | None = None
    error: Exception | None = None
