"""Questions before something that took work is replaced; what is asked for is the only thing that happens on a yes."""

from qtpy.QtWidgets import QMessageBox, QWidget


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
    box = QMessageBox(QMessageBox.Icon.Question, "LRMIL", question, QMessageBox.StandardButton.Cancel, parent)
    box.setDefaultButton(QMessageBox.StandardButton.Cancel)
    yes = box.addButton(action, QMessageBox.ButtonRole.AcceptRole)
    box.exec()
    pressed = box.clickedButton() is yes
    box.deleteLater()
    return pressed
