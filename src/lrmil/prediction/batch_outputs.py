"""Where the outputs of a batch of slides are written, and the state of one slide of it."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lrmil.io import atomic, hashing
from lrmil.io.locks import LOCK, exclusive, output_lock
from lrmil.prediction.prediction import Prediction
from lrmil.prediction.table import TABLE, PredictionRow
from lrmil.slides.shards import Shard
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
    shard
        The shard that the slides are, of a table that another call writes; None to write the table.
    """

    folder: Path
    table: Path | None = None
    slide_folders: Mapping[Path, Path] = field(default_factory=dict)
    rows: Sequence[PredictionRow] | None = None
    shard: Shard | None = None

    @property
    def lock(self) -> Path:
        """The lock of the table; two tables may be written in one folder at the same time."""
        path = self.table_path
        return path.with_name(f".{hashing.sha256_of(path.name)[:16]}{LOCK}")

    @property
    def table_path(self) -> Path:
        """The table of all slides."""
        return self.table or self.folder / TABLE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock during the block, and remove what killed processes leave.

        Raises
        ------
        OverwriteError, OutputError, RunError
            As `output_lock` and `exclusive`.
        """
        path = self.table_path
        busy = f"Another process is writing the table {path.name}. Wait for it, then classify these slides again."
        shard = str(self.shard or "")
        with exclusive(self.lock, busy=busy) if self.table else output_lock(self.folder, shard=shard):
            if self.table:
                atomic.remove_leftovers(path.parent, of=path.stem)
            yield

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
        Its answer; None while the slide is read, if it failed, or if another process has made it.
    error
        The exception if it failed; None if its name was refused.
    """

    source: SlideSource
    row: PredictionRow | None = None
    prediction: Prediction | None = None
    error: Exception | None = None
