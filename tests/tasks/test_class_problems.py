"""Classes that cannot be learned: too few, spelt in two ways, or a positive one that is none of them."""

import pytest

from lrmil.tasks.class_problems import class_problems
from lrmil.tasks.classification import Classification


@pytest.mark.parametrize(
    ("labels", "positive", "trained", "parts"),
    [
        (["a", "b"], "", True, []),
        (["a"], "", True, ["at least two"]),
        (["a"], "", False, []),
        (["1", "1.0", "2"], "", True, ["one spelling"]),
        (["Yes", "yes ", "no"], "", True, ["one spelling"]),
        (["a", "b", "c"], "a", True, ["Expected two classes"]),
        (["a", "b"], "c", True, ["positive class"]),
    ],
)
def test_labels_that_make_no_classes_are_told(
    labels: list[str], positive: str, trained: bool, parts: list[str]
) -> None:
    found = list(class_problems(labels, trained=trained, positive=positive))
    assert len(found) == len(parts) and all(part in one.message for part, one in zip(parts, found, strict=True))
    assert list(Classification.label_problems(labels, trained=trained, positive=positive)) == found
