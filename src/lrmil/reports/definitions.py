"""What the figures of a report are: a sentence for each member of report.json that holds some."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict

from lrmil.reports.run_trust import RunTrust

DEFINITIONS = {
    "auroc": (
        "area under the ROC curve of the test slides; of more than two classes the mean over the classes, "
        "each against the rest"
    ),
    "auroc_ci": "95 % bootstrap percentile interval of the AUROC, cases drawn 2,000 times",
    "auroc_by_class": "AUROC of each class against the rest",
    "auroc_by_fold": "AUROC of the test slides of each fold",
    "accuracy": (
        "share of slides whose answer is right; the answer is the most probable class or, where there is an "
        "operating point, the positive class from its threshold on"
    ),
    "recall": (
        "share of the slides of each class that are answered with it; for two classes, specificity and sensitivity"
    ),
    "balanced_accuracy": "mean of the recalls",
    "confusion": "slides: a row for each class, a column for each answer",
    "brier": (
        "mean squared distance of the probabilities from the label (scikit-learn's brier_score_loss): 0 to 1 "
        "for two classes, 0 to 2 for more"
    ),
    "nll": (
        "negative log-likelihood: mean of minus the natural logarithm of the probability of the label "
        "(scikit-learn's log_loss)"
    ),
    "ece": (
        "expected calibration error: mean over bins of the distance between the mean probability of the "
        "answers and the share that is right, weighted by slides; 10 bins of as many slides, fewer so that "
        "each has 10"
    ),
    "n_slides": "test slides",
    "n_cases": "cases (patients) of the test slides",
    "by_case": "the same figures of cases: the values of the slides of a case are made one by the rule of its fold",
    "linear_head": (
        "the same figures of a logistic regression on the mean embedding of a slide, fitted to the slides "
        "that the attention network learned from"
    ),
    "seconds_per_slide": "mean time to read and encode a test slide, without the attention network",
    "bytes_per_slide": "mean compressed bytes that were read of a test slide",
    "patches_per_slide": "mean patches that were read and encoded of a test slide",
    "gap_recovered": (
        "(student - baseline) / (teacher - baseline), of AUROC; not defined where the teacher leads by less than 0.01"
    ),
    "student_minus": (
        "score of the student less that of another arm on the same slides; its interval is the 95 % bootstrap"
        " percentile interval, cases drawn 2,000 times, the same for both arms"
    ),
    "calibration": (
        "by_fold: Platt scaling of each class against the rest, and the rules for answers, both learned from "
        "slides that the student's attention network had not seen; after: the figures of the test slides with"
        " both"
    ),
    "abstention": (
        "test slides: all, those that are uncertain and for which reason, those answered wrong (wrong), those"
        " that are not uncertain and wrong (wrong_answered), and those whose class is in the conformal set "
        "(in_set)"
    ),
    "escalation": (
        "curve: for each number of regions that the teacher looks into (0: the student alone), test slides "
        "that it looked at, that are uncertain after that, and that are answered wrong without being "
        "uncertain; patches per slide that are read and encoded at both resolutions, and their share of all "
        "HR patches"
    ),
    "by_site": (
        "the figures of the test slides of each site, with the answers of the model; means: the mean "
        "probability of each class and its frequency"
    ),
    "case_rule": (
        "rule that makes one answer of the slides of a case; losses: log loss of each rule on held-out cases"
    ),
    "evidence": (
        "AUROC of teacher and baseline on slides of inner folds that they had not seen, and whether stage 2 "
        "learned from the teacher"
    ),
    "stage1": (
        "on patches of validation slides, with s the LR embedding or the linear map of it that is to match "
        "the target mu, and m the mean of the training targets: r2 is 1 - sum |s - mu|^2 / sum |mu - m|^2, "
        "cosine the mean cosine of s - m and mu - m, rank the effective rank of the embedding, the "
        "exponential of the entropy of its singular values; start: of the encoder before the first step"
    ),
    "reliability": (
        "in each bin of the ECE: mean probability of the answers (confidence), share that is right, its 95 % "
        "Wilson interval (low, high) and number of slides"
    ),
    "selective": (
        "risk: share of wrong answers among the slides that are at least as sure as confidence, which are the"
        " share coverage of all"
    ),
    "selective_area": "mean of the risk over the slides, ordered by confidence (AURC); 0 is best",
    "decision_curve": (
        "net benefit of acting from a probability t on: TP / n - FP / n * t / (1 - t); treat_all: of acting "
        "on every slide (Vickers and Elkin 2006)"
    ),
    "delong": (
        "difference of two AUROCs on the same slides with its 95 % interval and p (DeLong et al. 1988); it "
        "takes slides as independent"
    ),
    "cost_ratios": "HR teacher divided by LR student",
    "agreement": (
        "mean over the test slides of Spearman's correlation between the attention of an LR arm and of the "
        "teacher on LR patches"
    ),
}


def definitions_of(figures: Mapping[str, object], trust: RunTrust | None) -> dict[str, str]:
    """Return what the figures of a report are: name of a member of report.json, at any depth -> its definition.

    Parameters
    ----------
    figures
        Content of metrics.json.
    trust
        What its probabilities are worth.
    """
    present = {*names_in(figures), *(names_in(asdict(trust)) if trust else ()), "cost_ratios", "agreement"}
    return {name: said for name, said in DEFINITIONS.items() if name in present}


def names_in(values: object) -> Iterator[str]:
    """Yield the names of members at any depth."""
    if isinstance(values, Mapping):
        for name, inner in values.items():
            yield str(name)
            yield from names_in(inner)
    elif isinstance(values, list):
        for inner in values:
            yield from names_in(inner)
