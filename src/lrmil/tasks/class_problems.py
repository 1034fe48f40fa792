"""What is wrong with the classes of a table, taken together."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from lrmil.errors import names_of
from lrmil.tasks.answers import LabelProblem
from lrmil.tasks.class_order import number_of


def class_problems(labels: Iterable[str], *, trained: bool, positive: str) -> Iterator[LabelProblem]:
    """Yield what is wrong with the classes of a table: too few, several spellings, an unknown positive one.

    Parameters
    ----------
    labels
        The label of each slide.
    trained
        Whether a model is trained on them.
    positive
        The class that is chosen as positive; empty if none is.
    """
    classes = sorted(set(labels))
    if trained and len(classes) == 1:
        message = f"Expected at least two classes; got only '{classes[0]}'."
        yield LabelProblem(message, "Add slides of another class; check that this is the label column.")
    spellings: dict[str, list[str]] = defaultdict(list)
    for name in classes:
        number = number_of(name)  # pandas writes 1 as 1.0
        spellings[" ".join(name.casefold().split()) if number is None else f"{number:g}"].append(name)
    for names in spellings.values():
        if len(names) > 1:
            message = f"Expected one spelling for a class; got {names_of(names)}."
            yield LabelProblem(message, "Write the class the same way in every row.")
    if positive and len(classes) > 2:
        message = f"Expected two classes where one is chosen as positive; got {len(classes)}: {names_of(classes)}."
        yield LabelProblem(
            message, "Leave --positive out: of more than two classes, each is measured against the rest."
        )
    elif positive and positive not in classes:
        message = f"Expected the positive class to be one of {names_of(classes)}; got '{positive}'."
        yield LabelProblem(message, "Write --positive as the table writes the class.")
