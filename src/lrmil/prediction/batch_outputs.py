"""Where the outputs of a batch of slides go, and what is known of one slide of it."""

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
    """Where the outputs of a batch go; by default all into one folder.

    Attributes
    ----------
    folder
        Folder of all outputs.
    table
        The table of all slides; None for predictions.csv in `folder`.
    slide_folders
        Slide file -> folder of that slide's files, where it is not `folder`.
    rows
        Lines that the table begins with; see `lrmil.prediction.table.PredictionTable`.
    """

    folder: Path
    table: Path | None = None
    slide_folders: Mapping[Path, Path] = field(default_factory=dict)
    rows: Sequence[PredictionRow] | None = None

    @property
    def lock(self) -> Path:
        """Lock of the table: tables with names of their own may share a folder, also while both are written."""
        path = self.table_path
        return path.with_name(f".{hashing.sha256_of(path.name)[:16]}{LOCK}")

    @property
    def table_path(self) -> Path:
        """The table of all slides."""
        return self.table or self.folder / TABLE

    def folder_of(self, source: SlideSource) -> Path:
        """Folder of one slide's files."""
        return self.slide_folders.get(source.path, self.folder)


@dataclass(frozen=True, slots=True)
class BatchOutcome:
    """What is known of one slide of a batch.

    Attributes
    ----------
    source
        The slide.
    row
        Its line of the table; None while it is read.
    prediction
        Its answer; None while it is read, or when it failed.
    error
        What it failed with; None also where its name alone was refused.
    """

    source: SlideSource
    row: PredictionRow | None = None
    prediction: Prediction | None = None
    error: Exception | None = None
