"""What the slides of a fold look like to its student, so that the model knows others when it sees them."""

import numpy as np

from lrmil.features.appearance import COLOURS
from lrmil.features.store import FeaturesCard, read_card
from lrmil.models.familiarity import Familiarity, learn_familiarity
from lrmil.runs.calibration import folds_to_hold_out
from lrmil.runs.fold_task import FoldTask


def learn_from_fold(task: FoldTask) -> Familiarity | None:
    """Learn from the training and validation slides of a fold; slides are left out as for the calibration.

    Parameters
    ----------
    task
        The fold, whose LR features are those of its student.

    Returns
    -------
    Familiarity or None
        None if nothing is left out, there are too few slides, or their features are of a version that did not note
        their appearance.

    Raises
    ------
    FormatError
        If the features of a slide are damaged.
    """
    held_out = folds_to_hold_out(task).held_out
    slide_ids = [slide_id for fold in held_out for slide_id in fold]
    cards = [card_of(task, slide_id) for slide_id in slide_ids]
    appearances = [card.appearance for card in cards if card.appearance is not None]
    if not slide_ids or len(appearances) < len(slide_ids):
        return None
    place = {slide_id: row for row, slide_id in enumerate(slide_ids)}
    groups = [np.array([place[slide_id] for slide_id in fold]) for fold in held_out]
    return learn_familiarity(np.array(appearances), groups, [card.total for card in cards], colours=COLOURS)


def doubts_of(task: FoldTask, familiarity: Familiarity | None, slide_id: str) -> list[str]:
    """Return why a slide of a fold is unlike the others (`Familiarity.doubts`); nothing if nothing is known of them."""
    if familiarity is None:
        return []
    card = card_of(task, slide_id)
    return familiarity.doubts(card.appearance, patches=card.total, failed=card.failed)


def card_of(task: FoldTask, slide_id: str) -> FeaturesCard:
    """Return the card of the features that the student of a fold answers by."""
    return read_card(task.encoded(task.answering("lr_student"), slide_id))
