"""How pages and windows speak of classes and their probabilities."""

from lrmil.tasks.answers import Wording
from lrmil.tasks.decision import LOW, NONE, RISK, SEVERAL

EXAMPLES = (
    "Wrong slides come first, the most confident before others, then correct ones in the order of the table; classes "
    "take turns."
)
DETAILS = (
    "Brier score: mean squared distance of the probabilities from the label; 0 is best. Log loss, the negative "
    "log-likelihood: mean of minus the logarithm of the probability of the label; 0 is best, and one answer that is "
    "sure and wrong weighs much. ECE, the expected calibration error: how far the probability of the answer is from "
    "how often such answers are right; 0 is best. Chance makes it too high where slides are few."
)
WRONG = (
    "An arm is wrong where its most probable class is not the label. Slides on which the student is wrong come first, "
    "the most confident before others."
)
DOUBTS = {
    LOW: "the highest probability is below the requested limit",
    SEVERAL: "more than one class is plausible",
    NONE: "no class is probable enough",
    RISK: "such answers are wrong too often",
}
BY_CLASS = (
    "Recall: the share of a class that is recognised; balanced accuracy is the mean of the recalls. As shipped: "
    "calibrated, and answered at the operating point."
)


def class_wording(classes: tuple[str, ...]) -> Wording:
    """Return the words for classes in the order of their probabilities; of two, the positive one is last."""
    two = len(classes) == 2
    return Wording(
        names="Classes",
        remark=f" (positive: {classes[1]})" if two else "",
        values="Class probabilities",
        brief=f"Probability of {classes[1]}" if two else "Most probable class and its probability",
        loss="cross-entropy",
        score_note="" if two else "AUROC is the mean over the classes, each against the rest.",
        details_note=DETAILS,
        by_name="Which classes are mistaken for which",
        by_name_note=BY_CLASS,
        wrong=WRONG,
        examples=EXAMPLES,
        undefined="An AUROC is not defined, because the test slides lack a class. Add test slides of every class.",
        no_curves="Not defined: all test slides have the same class.",
        doubts=DOUBTS,
    )
