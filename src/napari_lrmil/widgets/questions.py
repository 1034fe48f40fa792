"""Questions before something that took work is replaced; what is asked for is the only thing that happens on a yes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication, QCheckBox, QMessageBox, QWidget

from napari_lrmil.session.session import Session
from napari_lrmil.state.known_models import name_of

NOT_AGAIN = "Do not ask again in this window"


class Answer(NamedTuple):
    """What the user pressed."""

    yes: bool
    not_again: bool
    """Whether they asked to be spared the question from now on."""


def agreed(parent: QWidget, question: str, action: str) -> bool:
    """Ask, and return whether the user pressed the button that names the action; Escape and Enter mean no.

    Parameters
    ----------
    parent
        Widget that asks.
    question
        What would happen, and how to take it back.
    action
        Words of the button, such as "Replace the mask".
    """
    return _ask(parent, question, action).yes


def ask_about_model(session: Session, folder: Path, yes: Callable[[], None], no: Callable[[], None]) -> None:
    """Ask whether another model may replace the present one, whose answers are on the screen.

    Parameters
    ----------
    session
        The session, which is told when the user wants no more questions.
    folder
        Folder of the other model.
    yes, no
        One of them is called, later: the job that loaded the model ends first, and its signals with it.
    """
    now, new = name_of(session.model_folder), name_of(folder)
    question = (
        f"Use the model {new!r}? The answers and reviews on the screen are those of {now!r}. "
        f"'Back to {now}' brings that model and them back."
    )

    def ask() -> None:
        pressed = _ask(QApplication.activeWindow(), question, f"Use {new}", offer=NOT_AGAIN)
        session.asks_about_models = not (pressed.yes and pressed.not_again)
        (yes if pressed.yes else no)()

    QTimer.singleShot(0, ask)


def _ask(parent: QWidget | None, question: str, action: str, *, offer: str = "") -> Answer:
    box = QMessageBox(QMessageBox.Icon.Question, "LRMIL", question, QMessageBox.StandardButton.Cancel, parent)
    box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    yes = box.addButton(action, QMessageBox.ButtonRole.AcceptRole)
    not_again = QCheckBox(offer, box)
    if offer:
        box.setCheckBox(not_again)
    not_again.setVisible(bool(offer))
    box.exec()
    answer = Answer(box.clickedButton() is yes, not_again.isChecked())
    box.deleteLater()
    return answer
