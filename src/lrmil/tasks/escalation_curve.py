"""What a closer look by the teacher brings and costs: a point of its curve over the number of regions."""

from typing_extensions import TypedDict  # pydantic reads it in Python 3.11, too

ESCALATION = "escalation"  # member of metrics.json


class Point(TypedDict):
    """Answers to the test slides, if the teacher looks into so many regions of those that it may settle; JSON-ready."""

    regions: int
    """0 for the student alone."""
    slides: int
    looked_at: int
    """Slides that the teacher looked at."""
    uncertain: int
    """Slides that are uncertain after that, those that it did not look at among them."""
    wrong_answered: int
    """Slides that are not uncertain, and whose label is wrong."""
    patches_per_slide: float
    """Mean number of patches that are read and encoded: all LR patches, and the HR patches of the closer look."""
    share_of_hr: float
    """The same, relative to all HR patches."""
