"""Who reads the slides of a session, and what they may see before they have recorded a label of their own."""

import time
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_lrmil.session.blinding import Blinding, decide, reveal, set_read_first
from napari_lrmil.state import folders
from napari_lrmil.state.preferences import Preferences
from napari_lrmil.state.review_log import read_by

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

REVIEWER, READ_FIRST, YES = "reviewer", "read_first", "yes"  # remembered for the next start


class Reading(ABC):
    """The part of a `Session` that is about its reader; attributes and signals are described there."""

    revealed_changed = Signal()
    read_first_changed = Signal()

    def __init__(self) -> None:
        self.reviewer = self.preferences.reviewer or folders.recall(REVIEWER)
        read_first = self.preferences.read_first or folders.recall(READ_FIRST) == YES
        self.blinding = Blinding(read_first=read_first, changed_at=time.monotonic())

    @property
    @abstractmethod
    def preferences(self) -> Preferences:
        """What is chosen in napari's preferences now."""

    @property
    def review_log(self) -> Path:
        """The append-only log of reviews."""
        return self.preferences.results / "reviews.jsonl"

    @property
    def revealed(self) -> bool:
        """Whether views may show the model's output."""
        return self.blinding.revealed

    @property
    def read_first(self) -> bool:
        """Whether a slide's output is hidden until the reader has recorded a label of their own."""
        return self.blinding.read_first

    @read_first.setter
    def read_first(self, value: bool) -> None:
        folders.remember(READ_FIRST, YES if value else "")
        self._blind(set_read_first(self.blinding, self._recorded(), read_first=value, now=time.monotonic()))
        self.read_first_changed.emit()

    def decide_revealed(self) -> None:
        """Apply the read-first rule again, as after a change of the reader or of their records."""
        self._blind(decide(self.blinding, self._recorded(), now=time.monotonic()))

    def take_reviewer(self, name: str) -> None:
        """Make another person the reader, also at the next start; what they may see is decided again."""
        self.reviewer = name
        folders.remember(REVIEWER, name)
        self.decide_revealed()
        self.read_first_changed.emit()  # they may have seen what was hidden from the one before

    def reveal(self) -> None:
        """Show the output: the reader's own label of the slide is recorded."""
        self._blind(reveal(self.blinding, now=time.monotonic()))

    def _blind(self, blinding: Blinding) -> None:
        before, self.blinding = self.blinding, blinding
        if before.revealed != blinding.revealed:
            self.revealed_changed.emit()

    def _recorded(self) -> "AbstractSet[str]":
        return read_by(self.review_log, self.reviewer)
